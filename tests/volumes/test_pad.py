import numpy as np
import pytest

from pom.volumes.pad import crop_reflected, reflect_indices


def test_reflects_without_repeating_the_edge() -> None:
    assert reflect_indices(-3, 7, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_equals_numpy_pad_however_far_outside(size: int) -> None:
    expected = np.pad(np.arange(size), (25, 31), mode="reflect")
    indices = reflect_indices(-25, size + 31, size)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, expected)


def test_entirely_outside() -> None:
    assert reflect_indices(100, 103, 3).tolist() == [0, 1, 2]


def test_one_element_is_everywhere() -> None:
    assert reflect_indices(-2, 3, 1).tolist() == [0] * 5


@pytest.mark.parametrize("arguments", [(0, 3, 0), (3, 2, 5)])
def test_refuses_nonsense(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no reflection"):
        reflect_indices(*arguments)


def test_crop_inside_is_a_copy_of_the_window() -> None:
    image = np.arange(2 * 5 * 6, dtype=np.int16).reshape(2, 5, 6)
    crop = crop_reflected(image, 1, 2, 3, 4)
    np.testing.assert_array_equal(crop, image[:, 1:4, 2:6])
    assert crop.dtype == np.int16
    crop[:] = -1
    assert image.min() == 0


def test_crop_over_every_edge_equals_padding() -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (0, 0), (9, 8), (7, 11)), mode="reflect")
    np.testing.assert_array_equal(crop_reflected(image, -9, -7, 22, 24), padded)
