"""Padding by reflection: the one way in which anything reaches over the edge of a volume."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)


def reflect_indices(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Indices into an axis of ``size`` elements for the positions ``start`` to ``stop`` - 1, mirrored at the edges.

    The edge element is not repeated: position -1 is element 1, position ``size`` is element ``size`` - 2, and so
    on back and forth, however far outside. An axis of one element gives that element everywhere.

    Args:
        start: first position, may be negative.
        stop: one after the last position, at least ``start``, may exceed ``size``.
        size: elements along the axis, at least 1.

    Returns:
        (stop - start) int64, each in 0..size - 1.
    """
    if size < 1 or stop < start:
        raise ValueError(f"no reflection of {size} elements from {start} to {stop}")
    if size == 1:
        return np.zeros(stop - start, np.int64)
    period = 2 * (size - 1)
    phase = np.arange(start, stop, dtype=np.int64) % period
    return np.minimum(phase, period - phase)


def crop_reflected(image: NDArray[Value], y0: int, x0: int, height: int, width: int) -> NDArray[Value]:
    """The window of ``height`` x ``width`` pixels at (``y0``, ``x0``), filled by reflection where it is outside.

    Args:
        image: (..., y, x), any type.
        y0: first row, may be negative or beyond the image.
        x0: first column, likewise.
        height: rows of the window.
        width: columns of the window.

    Returns:
        (..., height, width), a copy, of the type of ``image``.
    """
    rows = reflect_indices(y0, y0 + height, image.shape[-2])
    columns = reflect_indices(x0, x0 + width, image.shape[-1])
    return np.ascontiguousarray(image[..., rows[:, None], columns])
