"""How well a segmentation agrees with the truth."""

import math

import numpy as np
from numpy.typing import NDArray


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice coefficient, 2 |A and B| / (|A| + |B|).

    Args:
        predicted: bool, of any shape.
        truth: bool, of the same shape.

    Returns:
        0..1; NaN where both are empty, since then there is nothing to agree about.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"a prediction of shape {predicted.shape} cannot be compared with a truth of {truth.shape}")
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return 2.0 * np.count_nonzero(predicted & truth) / total if total else math.nan


def majority_labels(labels: NDArray[np.integer], binning: tuple[int, int, int], n_labels: int) -> NDArray[np.uint8]:
    """The most frequent label of every bin.

    Args:
        labels: (z, y, x), each in 0..``n_labels`` - 1.
        binning: (z, y, x), each at least 1.
        n_labels: how many labels there are, at most 256.

    Returns:
        (ceil(z / bin_z), ceil(y / bin_y), ceil(x / bin_x)) uint8. Of labels equally frequent the lowest wins; the
        last bin along an axis goes by the voxels that there are.

    Raises:
        ValueError: a label is out of range.
    """
    if not 1 <= n_labels <= 256:
        raise ValueError(f"{n_labels} labels do not fit into uint8")
    if labels.size and not 0 <= labels.min() <= labels.max() < n_labels:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} are not all in 0..{n_labels - 1}")
    shape = tuple(-(-n // factor) for n, factor in zip(labels.shape, binning, strict=True))
    winner, most = np.zeros(shape, np.uint8), np.zeros(shape, np.uint32)
    for label in range(n_labels):
        count = _count(labels == label, binning)
        winner[count > most] = label
        np.maximum(most, count, out=most)
    return winner


def _count(mask: NDArray[np.bool_], binning: tuple[int, int, int]) -> NDArray[np.uint32]:
    """How many voxels of ``mask`` (z, y, x) are set in each bin; counts and not means, so that ties are exact."""
    count: NDArray[np.uint32] = mask.view(np.uint8)
    # along x first: what is left to do for the other axes is then smallest
    for axis in (2, 1, 0):
        starts = np.arange(0, mask.shape[axis], binning[axis])
        count = np.add.reduceat(count, starts, axis=axis, dtype=np.uint32)
    return count
