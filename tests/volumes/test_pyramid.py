import numpy as np
import pytest

from pom.volumes.pyramid import Factors, bin_labels, binned_shape, level_factors


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((64, 64, 64), []),
        ((65, 64, 1), [(2, 1, 1)]),
        ((40, 130, 260), [(1, 2, 2), (1, 2, 2), (1, 1, 2)]),
    ],
)
def test_axes_are_halved_until_all_are_short(shape: tuple[int, int, int], factors: list[Factors]) -> None:
    assert level_factors(shape) == factors
    for step in factors:
        shape = binned_shape(shape, step)
    assert max(shape) <= 64


def test_more_copies_than_are_needed() -> None:
    assert level_factors((4, 8, 8), at_least=4) == [(1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1)]


def test_the_most_frequent_label_of_a_bin() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0, :2, :2] = [[3, 3], [3, 1]]
    labels[1, :2, :2] = [[1, 2], [2, 3]]  # 4 of 3
    labels[:, :2, 2:] = 7
    labels[0, 2:, :2] = 9  # 4 of 9 come before 4 of 0
    labels[1, 2:, 2:] = 9  # 4 of 0 come before 4 of 9
    assert bin_labels(labels, (2, 2, 2)).tolist() == [[[3, 7], [9, 0]]]


def test_an_odd_end_counts_its_last_voxels_again() -> None:
    labels = np.array([[[1, 1, 2], [1, 1, 4], [5, 6, 6]]], np.uint8)
    assert bin_labels(labels, (1, 2, 2)).tolist() == [[[1, 2], [5, 6]]]


def test_bins_of_one_voxel_are_the_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 9, (3, 5, 7), np.uint8)
    np.testing.assert_array_equal(bin_labels(labels, (1, 1, 1)), labels)


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 2, 2), (2, 1, 3)])
def test_as_counting_gives_it(factors: Factors) -> None:
    labels = np.random.default_rng(1).integers(0, 3, (4, 6, 12), np.uint8)
    binned = bin_labels(labels, factors)
    for place in np.ndindex(binned.shape):
        corner = tuple(slice(p * f, (p + 1) * f) for p, f in zip(place, factors, strict=True))
        counts = np.bincount(labels[corner].ravel(), minlength=3)
        assert counts[binned[place]] == counts.max()
