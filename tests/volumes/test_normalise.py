import numpy as np
import pytest

from pom.volumes.normalise import RunningStatistics, normalise, scale_segmentation, segmentation_top


def test_running_statistics_equal_those_of_the_whole() -> None:
    volume = np.random.default_rng(0).normal(30_000, 5, (7, 40, 31)).astype(np.float32)
    volume[3] += 100
    statistics = RunningStatistics()
    for image in volume:
        statistics.add(image)
    assert statistics.mean == pytest.approx(volume.mean(dtype=np.float64), rel=1e-9)
    assert statistics.std == pytest.approx(volume.std(dtype=np.float64), rel=1e-6)
    assert (statistics.low, statistics.high) == (volume.min(), volume.max())


def test_running_statistics_leave_the_image_alone() -> None:
    image = np.ones((2, 2), np.float32)
    statistics = RunningStatistics()
    assert statistics.std == 0
    statistics.add(image)
    assert (statistics.mean, statistics.std, image.sum()) == (1, 0, 4)


def test_normalise_gives_mean_zero_and_std_one() -> None:
    volume = np.array([[1, 3], [5, 7]], np.int16)
    normalised = normalise(volume, 4.0, 2.0)
    assert normalised.dtype == np.float32
    assert normalised.tolist() == [[-1.5, -0.5], [0.5, 1.5]]


def test_normalise_in_place() -> None:
    volume = np.array([1.0, 3.0], np.float32)
    assert normalise(volume, 2.0, 0.5, out=volume) is volume
    assert volume.tolist() == [-2, 2]


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_normalise_refuses_a_constant_volume(std: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        normalise(np.zeros(3), 0.0, std)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "top"),
    [
        (np.uint8, 0, 200, 255),
        (np.uint16, 0, 255, 255),
        (np.uint16, 0, 256, None),
        (np.int16, 3, 90, 255),
        (np.int16, -1, 90, None),
        (np.int8, 0, 100, 127),
        (np.int8, -1, 100, None),
        (np.int8, 0, 1, 1),
        (np.uint16, 0, 1, 1),
        (np.int16, 0, 0, 1),
        (np.float32, 0, 0.4, 1),
        (np.float16, -0.04, 1.04, 1),
        (np.float32, -0.06, 1, None),
        (np.float32, 0, 1.06, None),
        (np.float32, 0, 255, None),
    ],
)
def test_what_stands_for_one(dtype: type[np.generic], low: float, high: float, top: float | None) -> None:
    assert segmentation_top(np.dtype(dtype), low, high) == top


def test_big_endian_types_count_as_the_same() -> None:
    assert segmentation_top(np.dtype(">u2"), 0, 255) == 255


def test_segmentation_maps_to_minus_one_and_one_and_is_clipped() -> None:
    volume = np.array([[[0, 127.5, 255, 260, -3]]], np.float32)
    scale_segmentation(volume, 255)
    np.testing.assert_allclose(volume, [[[-1, 0, 1, 1, -1]]], atol=1e-6)
