"""Grey values on one scale: density by its own statistics, segmentations by their type."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT_TOLERANCE = 0.05
"""How far a float segmentation may overshoot 0..1 (interpolation does that) before it counts as wrong."""


class RunningStatistics:
    """Minimum, maximum, mean and standard deviation of all images so far, without holding them.

    Sums run in float32 along a row and in float64 over rows and images.
    """

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.mean = 0.0
        self._n = 0
        self._squares = 0.0

    def add(self, image: NDArray[np.generic]) -> None:
        """Takes (y, x) of any real type into account."""
        values = image.astype(np.float32)
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        mean = float(values.mean(axis=1, dtype=np.float64).mean())
        values -= np.float32(mean)
        squares = float(np.einsum("yx,yx->y", values, values).sum(dtype=np.float64))
        n = self._n + values.size
        # two sums of squares about two means make one about the common mean (Chan, Golub and LeVeque)
        self._squares += squares + (mean - self.mean) ** 2 * self._n * values.size / n
        self.mean += (mean - self.mean) * values.size / n
        self._n = n

    @property
    def std(self) -> float:
        """The standard deviation over all voxels, 0 before the first image."""
        return math.sqrt(self._squares / max(self._n, 1))


def normalise(
    volume: NDArray[np.generic], mean: float, std: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(volume - mean) / std as float32, of any shape; ``out`` may be ``volume`` itself.

    Raises:
        ValueError: ``std`` is not above 0.
    """
    if not std > 0:
        raise ValueError(f"cannot normalise by a standard deviation of {std}")
    out = np.subtract(volume, np.float32(mean), out=out, dtype=np.float32)
    out *= np.float32(1 / std)
    return out


def full_scale(dtype: np.dtype[Any]) -> float:
    """The value that stands for 1 in a network's output of this type: 1 of floats, 127 of int8, 255 of the others.

    MRC has no uint8, so 0..255 are stored wider.
    """
    return 1.0 if dtype.kind == "f" else 127.0 if dtype == np.int8 else 255.0


def segmentation_top(dtype: np.dtype[Any], low: float, high: float) -> float | None:
    """The value that stands for 1 in a segmentation of this type with values from ``low`` to ``high``.

    uint8, uint16 and int16 reach from 0 to 255 (MRC has no uint8, so it is stored wider), int8 from 0 to 127,
    floats from 0 to 1. A segmentation of only 0 and 1 is a mask, whatever its type: there 1 stands for 1.
    None means that the values are out of the type's range.
    """
    if dtype.kind == "f":
        return 1.0 if low >= -FLOAT_TOLERANCE and high <= 1 + FLOAT_TOLERANCE else None
    top = full_scale(dtype)
    if low < 0 or high > top:
        return None
    return 1.0 if high <= 1 else top


def scale_segmentation(volume: NDArray[np.float32], top: float) -> None:
    """Maps 0..``top`` to -1..1 in place and clips what overshoots."""
    volume *= np.float32(2 / top)
    volume -= 1
    np.clip(volume, -1, 1, out=volume)
