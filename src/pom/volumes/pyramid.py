"""Smaller and smaller copies of a volume, for looking at it from afar."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 64
"""An axis of so many voxels is not halved any more."""

Factors = tuple[int, int, int]


def level_factors(shape: tuple[int, int, int], at_least: int = 0) -> list[Factors]:
    """By how much each smaller copy of a volume (z, y, x) is binned from the copy before it, (z, y, x).

    By 2, and not at all along axes that are short; until all are. ``at_least``: so many copies, however short they get.
    """
    factors: list[Factors] = []
    while max(shape) > LARGEST_SIDE or len(factors) < at_least:
        # Beyond what is needed, axes of about the same length stay of about the same length.
        longest = LARGEST_SIDE if max(shape) > LARGEST_SIDE else max(1, max(shape) // 2)
        z, y, x = (2 if n > longest else 1 for n in shape)
        factors.append((z, y, x))
        shape = binned_shape(shape, (z, y, x))
    return factors


def binned_shape(shape: tuple[int, int, int], factors: Factors) -> tuple[int, int, int]:
    """The shape (z, y, x) after binning; the last bin of an axis may be of fewer voxels."""
    z, y, x = (-(-n // factor) for n, factor in zip(shape, factors, strict=True))
    return z, y, x


def bin_labels(labels: NDArray[np.uint8], factors: Factors) -> NDArray[np.uint8]:
    """The most frequent label of each bin; of labels equally frequent the one that comes first in (z, y, x) order.

    Args:
        labels: (z, y, x).
        factors: (z, y, x), each at least 1.

    Returns:
        (ceil(z / f_z), ceil(y / f_y), ceil(x / f_x)). Where a factor does not divide the size, the last voxels of the
        axis count for those that are missing.
    """
    sizes = binned_shape((labels.shape[0], labels.shape[1], labels.shape[2]), factors)
    missing = [(0, n * factor - size) for n, factor, size in zip(sizes, factors, labels.shape, strict=True)]
    whole = np.pad(labels, missing, mode="edge") if any(after for _, after in missing) else labels
    z, y, x = factors
    voxels = [whole[k::z, j::y, i::x] for k, j, i in product(range(z), range(y), range(x))]
    winner, most = voxels[0].copy(), np.zeros(sizes, np.uint8)
    for voxel in voxels:
        # Counting pairs of eight voxels is far quicker than counting each of twenty labels.
        count = np.zeros(sizes, np.uint8)
        for other in voxels:
            count += voxel == other
        more = count > most
        winner[more] = voxel[more]
        np.maximum(most, count, out=most)
    return winner
