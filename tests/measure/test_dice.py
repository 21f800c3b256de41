import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.measure.dice import dice, majority_labels


def test_dice_of_known_overlaps() -> None:
    truth = np.array([[True, True, False, False]])
    assert dice(truth, truth) == 1.0
    assert dice(~truth, truth) == 0.0
    assert dice(np.array([[True, False, False, False]]), truth) == pytest.approx(2 / 3)
    assert dice(np.array([[False, True, True, True]]), truth) == pytest.approx(2 / 5)


def test_dice_is_zero_where_one_is_empty_and_undefined_where_both_are() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert dice(empty, full) == 0.0
    assert dice(full, empty) == 0.0
    assert math.isnan(dice(empty, empty))


def test_dice_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="shape"):
        dice(np.ones((1, 4), bool), np.ones((3, 4), bool))


def test_majority_of_a_bin_and_of_the_partial_bins_at_the_ends() -> None:
    labels = np.array([[[1, 1, 2], [3, 2, 2], [3, 3, 0]]])
    assert majority_labels(labels, (1, 2, 2), 4).tolist() == [[[1, 2], [3, 0]]]
    assert majority_labels(labels, (4, 9, 9), 4).tolist() == [[[2]]]


def test_bins_span_slices() -> None:
    labels = np.array([[[0, 1]], [[2, 1]], [[2, 3]]], np.int8)
    assert majority_labels(labels, (3, 1, 1), 4).tolist() == [[[2, 1]]]


def test_the_lowest_of_equally_frequent_labels_wins_wherever_its_voxels_lie() -> None:
    # 4 voxels each of 5 and 6 in a 3 x 3 bin: in float means their order of addition would decide
    labels = np.array([[[6, 6, 6], [6, 5, 5], [5, 5, 7]]], np.uint8)
    assert majority_labels(labels, (1, 3, 3), 8).item() == 5


def test_without_binning_labels_stay() -> None:
    labels = np.random.default_rng(1).integers(0, 256, (3, 4, 5))
    binned = majority_labels(labels, (1, 1, 1), 256)
    assert binned.dtype == np.uint8
    assert np.array_equal(binned, labels)


@pytest.mark.parametrize("binning", [(2, 2, 2), (1, 3, 2), (4, 5, 7)])
def test_every_bin_agrees_with_a_count_of_its_own(binning: tuple[int, int, int]) -> None:
    labels: NDArray[np.int8] = np.random.default_rng(2).integers(0, 5, (5, 8, 9)).astype(np.int8)
    binned = majority_labels(labels, binning, 5)
    assert binned.shape == tuple(-(-n // f) for n, f in zip(labels.shape, binning, strict=True))
    for place in np.ndindex(binned.shape):
        part = labels[tuple(slice(k * f, (k + 1) * f) for k, f in zip(place, binning, strict=True))]
        assert binned[place] == np.bincount(part.ravel(), minlength=5).argmax()


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_out_of_range_are_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.2"):
        majority_labels(np.array([[[0, wrong]]]), (1, 1, 1), 3)
