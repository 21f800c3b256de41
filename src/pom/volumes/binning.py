"""Binning: the mean over blocks of voxels."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)


def bin_mean(array: NDArray[np.generic], factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Mean over blocks along the last ``len(factors)`` axes of a real-valued array.

    Args:
        array: (..., n_1, ..., n_k), any real type, k = ``len(factors)``.
        factors: k block sizes, each at least 1, in the order of the axes.

    Returns:
        (..., ceil(n_1 / f_1), ..., ceil(n_k / f_k)) float32. Where a factor does not divide the size, the last
        block is the mean of the voxels that there are.
    """
    if not 1 <= len(factors) <= array.ndim or min(factors) < 1:
        raise ValueError(f"binning factors {factors} do not suit an array of shape {array.shape}")
    lead = array.shape[: array.ndim - len(factors)]
    sizes = array.shape[array.ndim - len(factors) :]
    out = np.empty((*lead, *(-(-n // f) for n, f in zip(sizes, factors, strict=True))), np.float32)
    for index in np.ndindex(lead):
        _bin_into(out[index], array[index], factors)
    return out


def unbin(image: NDArray[Value], factors: tuple[int, int], shape: tuple[int, int]) -> NDArray[Value]:
    """Gives every pixel the value of its bin.

    Args:
        image: (ceil(y / f_y), ceil(x / f_x)), any type.
        factors: (f_y, f_x), each at least 1.
        shape: (y, x).

    Returns:
        (y, x), of the type of ``image``, a copy.
    """
    if image.shape != tuple(-(-n // factor) for n, factor in zip(shape, factors, strict=True)):
        raise ValueError(f"an image of {image.shape} bins is not one of {shape} pixels binned by {factors}")
    rows, columns = (np.arange(n) // factor for n, factor in zip(shape, factors, strict=True))
    return np.ascontiguousarray(image[rows][:, columns])


def _bin_into(out: NDArray[np.float32], array: NDArray[np.generic], factors: tuple[int, ...]) -> None:
    """Bins every axis of ``array``, one image at a time: what is added up stays in the processor's cache."""
    if array.ndim > 2:
        for k in range(len(out)):
            block = array[k * factors[0] : (k + 1) * factors[0]]
            _bin_into(out[k], _bin_first_axis(block.astype(np.float32, copy=False), factors[0])[0], factors[1:])
        return
    image = array.astype(np.float32, copy=False)
    # rows first: they are added as they lie in memory, and the strided adds along x then have less to do
    image = _bin_first_axis(image, factors[0])
    if array.ndim == 2:
        image = _bin_first_axis(image.T, factors[1]).T
    out[...] = image


def _bin_first_axis(array: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """(n, ...) -> (ceil(n / factor), ...), with the memory layout of ``array``."""
    if factor == 1:
        return array
    n_whole, rest = divmod(len(array), factor)
    whole = array[: n_whole * factor]
    out = np.empty_like(array, shape=(n_whole + (rest > 0), *array.shape[1:]))
    total = out[:n_whole]
    np.add(whole[0::factor], whole[1::factor], out=total)
    for offset in range(2, factor):
        total += whole[offset::factor]
    total *= np.float32(1 / factor)
    if rest:
        out[-1] = array[n_whole * factor :].mean(axis=0)
    return out
