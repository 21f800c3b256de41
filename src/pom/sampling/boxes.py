"""From annotated boxes to training patches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pom.io.channels import NetworkInput
from pom.io.scns import Feature
from pom.volumes.binning import bin_mean
from pom.volumes.pad import crop_reflected

OUTSIDE = "outside the tomogram"

CONTEXT = 48
"""Binned pixels, at least, on each side of a box: what a training step may show of its surroundings."""
PATCH_MULTIPLE = 16
"""Patch sides are multiples of this, so that networks of four levels take them as they are."""


@dataclass(frozen=True)
class Patch:
    """One patch; the fields are those of ``PatchSet`` without the first axis."""

    image: NDArray[np.float32]
    drawn: NDArray[np.bool_]
    boxed: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    centre: tuple[int, int, int]
    corner: tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """The part of a box that one patch learns from; pixels of the tomogram, stops excluded."""

    z: int
    y0: int
    x0: int
    y1: int
    x1: int


def patch_side(box_size: int, bin_factor: int) -> int:
    """Side of the patches in binned pixels: a box and its context, rounded up to a multiple of ``PATCH_MULTIPLE``."""
    side = math.ceil(box_size / bin_factor) + 2 * CONTEXT
    return math.ceil(side / PATCH_MULTIPLE) * PATCH_MULTIPLE


def tiles_of(feature: Feature, box_size: int, binning: tuple[int, int, int]) -> Iterator[Tile]:
    """The tiles of a feature's boxes: one for each box, more where the box is larger than ``box_size``.

    Args:
        feature: its ``box_size`` is the side of the square that was annotated.
        box_size: the side that one patch can learn from, in pixels of the tomogram.
        binning: (z, y, x).
    """
    half = feature.box_size / 2
    for z, centres in sorted(feature.boxes.items()):
        for x, y in centres:
            rows = _divide(math.floor(y - half), feature.box_size, box_size, binning[1])
            columns = _divide(math.floor(x - half), feature.box_size, box_size, binning[2])
            for y0, y1 in pairwise(rows):
                for x0, x1 in pairwise(columns):
                    yield Tile(z, y0, x0, y1, x1)


def _divide(start: int, size: int, most: int, factor: int) -> list[int]:
    """The edges of the pieces, of about ``most`` pixels or fewer, of a box along one axis.

    Those within the box lie between binned pixels: one that two tiles shared would be wholly in neither.
    """
    pieces = max(1, math.ceil(size / most))
    inner = [round((start + size * piece / pieces) / factor) * factor for piece in range(1, pieces)]
    return [start, *inner, start + size]


class PatchCutter:
    """Cuts the patches of one feature in one tomogram.

    A patch lies on the grid of the binned volume, so that its image is exactly what inference sees there.
    A binned pixel is drawn where at least half of it is, and counts as within the box only where all of it is.

    Args:
        network_input: the tomogram as the networks see it.
        binning: (z, y, x).
        box_size: side of the square that one patch learns from, in pixels of the tomogram.
        feature: what was annotated.
    """

    def __init__(
        self, network_input: NetworkInput, binning: tuple[int, int, int], box_size: int, feature: Feature
    ) -> None:
        self._input = network_input
        self._binning = binning
        self._sides = tuple(patch_side(box_size, factor) for factor in binning[1:])
        self._feature = feature
        self._drawn_in_slice = cache(self._bin_drawn)

    def cut(self, tile: Tile) -> Patch | None:
        """The patch of a tile, or None where the tile lies outside the tomogram."""
        n_slices, height, width = self._input.full_shape
        if not (0 <= tile.z < n_slices and tile.y0 < height and tile.y1 > 0 and tile.x0 < width and tile.x1 > 0):
            return None
        rows, columns = self._sides
        y0 = self._start(tile.y0, tile.y1, self._binning[1], rows)
        x0 = self._start(tile.x0, tile.x1, self._binning[2], columns)
        section = self._input.data[:, tile.z // self._binning[0]]
        inside_y = _within(y0, rows, section.shape[1])
        inside_x = _within(x0, columns, section.shape[2])
        boxed_y = inside_y & whole_pixels(tile.y0, tile.y1, height, self._binning[1], y0, rows)
        boxed_x = inside_x & whole_pixels(tile.x0, tile.x1, width, self._binning[2], x0, columns)
        inside = np.outer(inside_y, inside_x)
        return Patch(
            image=crop_reflected(section, y0, x0, rows, columns),
            drawn=crop_reflected(self._drawn_in_slice(tile.z), y0, x0, rows, columns) & inside,
            boxed=np.outer(boxed_y, boxed_x),
            inside=inside,
            centre=(tile.z, (tile.y0 + tile.y1) // 2, (tile.x0 + tile.x1) // 2),
            corner=(tile.z // self._binning[0], y0, x0),
        )

    def _bin_drawn(self, z: int) -> NDArray[np.bool_]:
        """What was drawn in slice z, (y, x) binned."""
        drawn = self._feature.slices.get(z)
        if drawn is None:
            return np.zeros(self._input.data.shape[2:], np.bool_)
        return bin_drawn(drawn, self._binning)

    @staticmethod
    def _start(start: int, stop: int, factor: int, side: int) -> int:
        """First binned pixel of a patch of ``side`` with the tile ``start``..``stop`` in its middle."""
        first = start // factor
        return first - (side - math.ceil((stop - start) / factor)) // 2


def bin_drawn(drawn: NDArray[np.uint8], binning: tuple[int, int, int]) -> NDArray[np.bool_]:
    """What was drawn in a slice, (y, x), on the binned grid: drawn where at least half of a binned pixel is."""
    binned: NDArray[np.bool_] = bin_mean((drawn > 0).astype(np.uint8), binning[1:]) >= 0.5
    return binned


def whole_pixels(start: int, stop: int, size: int, factor: int, first: int, side: int) -> NDArray[np.bool_]:
    """Along one axis, which of the ``side`` binned pixels from ``first`` lie wholly within ``start``..``stop``.

    ``start`` and ``stop`` are pixels of a tomogram of ``size``; where its last bin is partial, the pixels that
    exist decide.
    """
    lower = np.arange(first, first + side) * factor
    upper = np.minimum(lower + factor, size)
    return (lower >= start) & (upper <= stop)


def _within(start: int, side: int, size: int) -> NDArray[np.bool_]:
    """Which of the positions from ``start`` lie in 0..size - 1."""
    positions = np.arange(start, start + side)
    return (positions >= 0) & (positions < size)
