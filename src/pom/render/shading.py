"""What lets a drawn surface be read as a shape, from depth alone: hollows are darker, and outlines are drawn."""

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(rows, columns); with each its opposite is looked at."""
REACHES = (0.004, 0.010, 0.024)
"""How far to look for what shuts light out, in parts of the picture's side."""
DARKEST = 0.58
"""So much of its light the deepest hollow loses."""
CLOSEST = 2.5
"""What stands out by more than so many times its distance hangs free in front, and shuts no light out."""


def hollows(depth: Image, pixel: float) -> Image:
    """How much light reaches each pixel: less where what lies round it stands out.

    It looks at pairs of pixels on opposite sides: a slope has one in front and one behind, a hollow has both in front.

    Args:
        depth: (height, width), infinite where there is nothing.
        pixel: the width of a pixel at the depth of the scene, in the unit of ``depth``.

    Returns:
        (height, width), 0..1.
    """
    shut = np.zeros_like(depth)
    there = np.isfinite(depth)
    solid = np.where(there, depth, _farthest(depth))
    steps = [max(1, round(reach * len(depth))) for reach in REACHES]
    around = _Around(solid, max(steps))
    for step in steps:
        for rows, columns in DIRECTIONS:
            ahead = np.zeros_like(depth)
            for side in (1, -1):
                near = solid - around.at(side * rows * step, side * columns * step)
                near *= np.float32(1 / (step * pixel * math.hypot(rows, columns)))
                near *= near < CLOSEST
                ahead += np.maximum(near, -1, out=near)
            ahead *= 0.5
            shut += np.clip(ahead, 0, 1)
    shut *= np.float32(1.6 / (len(REACHES) * len(DIRECTIONS)))
    light: Image = 1 - np.float32(DARKEST) * np.clip(shut, 0, 1)
    light[~there] = 1
    return light


def outlines(depth: Image, threshold: float) -> Image:
    """Where a thing ends in front of something that lies farther back.

    Args:
        depth: (height, width), infinite where there is nothing.
        threshold: how much farther, in the unit of ``depth``, for a faint line; twice that makes a full one.

    Returns:
        (height, width), 0..1, of the pixels on the nearer side.
    """
    solid = np.minimum(depth, _farthest(depth) + np.float32(10 * threshold))
    around, most = _Around(solid, 1), np.zeros_like(solid)
    for rows, columns in DIRECTIONS:
        behind = around.at(rows, columns) + around.at(-rows, -columns)
        behind -= 2 * solid
        np.maximum(most, behind, out=most)
    line: Image = np.clip(most / np.float32(threshold) - 1, 0, 1)
    line[~np.isfinite(depth)] = 0
    return line


def _farthest(depth: Image) -> np.float32:
    return np.float32(np.max(depth, where=np.isfinite(depth), initial=0))


class _Around:
    """An image and what lies so many pixels from each of its own; beyond the border it goes on as it ends."""

    def __init__(self, image: Image, reach: int) -> None:
        self._padded = np.pad(image, reach, mode="edge")
        self._reach = reach
        self._shape = image.shape

    def at(self, rows: int, columns: int) -> Image:
        """(height, width), a view."""
        height, width = self._shape
        top, left = self._reach + rows, self._reach + columns
        return self._padded[top : top + height, left : left + width]
