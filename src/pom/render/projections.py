"""Flat pictures of volumes, in grey: a slab of the density, and how much of a segmentation lies behind each pixel."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.volumes.binning import bin_mean

PERCENTILES = (0.5, 99.5)
"""Of the density: what is below the first is black, above the second white."""
BRIGHTENED = 1.5
"""White begins at the greatest depth divided by this, so that thin things are seen."""
HALF = 0.5
"""What is at least this probable counts."""

Grey = NDArray[np.uint8]


def density_picture(slab: NDArray[Any], most: int) -> Grey:
    """Draws the mean of a slab.

    Args:
        slab: (z, y, x), any real type.
        most: pixels, of the longer side.

    Returns:
        (y, x); row 0 is y = 0.
    """
    image = slab.mean(axis=0, dtype=np.float32)
    image = np.where(np.isfinite(image), image, np.float32(0))
    image = _at_most(image, most)
    low, high = np.percentile(image, PERCENTILES)
    return _grey(image - low, high - low)


def count_voxels(chunks: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How many voxels of a segmentation lie in line: along z, (y, x), and along y, (z, x).

    Args:
        chunks: (z, y, x) each, 0..1: the segmentation, some slices at a time; one at least.
    """
    along_z, along_y = np.zeros((1, 1), np.float32), []
    for chunk in chunks:
        there = chunk >= HALF
        along_z = along_z + there.sum(axis=0, dtype=np.float32)
        along_y.append(there.sum(axis=1, dtype=np.float32))
    return along_z, np.concatenate(along_y)


def draw_counts(counts: Mapping[str, NDArray[np.float32]], most: int) -> dict[str, Grey]:
    """Draws the counts of several segmentations, as bright as each other where as many voxels lie behind a pixel.

    Args:
        counts: (rows, columns) each.
        most: pixels, of the longer side.
    """
    deepest = max((float(count.max()) for count in counts.values()), default=0.0)
    return {name: _grey(_at_most(count, most), deepest / BRIGHTENED) for name, count in counts.items()}


def _at_most(image: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    factor = math.ceil(max(image.shape) / most)
    return bin_mean(image, (min(factor, image.shape[0]), factor)) if factor > 1 else image


def _grey(image: NDArray[np.float32], white: float) -> Grey:
    if not white > 0:
        return np.zeros(image.shape, np.uint8)
    grey: Grey = np.clip(image * np.float32(255 / white) + np.float32(0.5), 0, 255).astype(np.uint8)
    return grey
