"""What a network sees: density and macromolecules, preprocessed once and alike for training and inference."""

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from pom.errors import PomError
from pom.io.mrc import MrcHeader, MrcReader, is_placeholder, read_header, resolve_voxel_size
from pom.volumes.binning import bin_mean
from pom.volumes.normalise import RunningStatistics, normalise, scale_segmentation, segmentation_top
from pom.volumes.slab import slab_weights

DENSITY = "Density"
EMPTY = "_"
EMPTY_VALUE = -1.0

CHUNK_BYTES = 32 << 20
TILE_ROWS = 16
TILE_PRODUCTS = 1 << 18
SMALLEST_CONTRAST = 1e-6
"""Standard deviation over mean below which a density is constant but for rounding."""


class Preprocessing(BaseModel):
    """How the channels are made from the files; kept with every network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Annotated[tuple[str, ...], Field(min_length=1)]
    """``Density``, macromolecules, and ``_`` for an input left empty (-1)."""
    z_sum: NonNegativeInt
    """Slices on either side that belong to a slab."""
    binning: tuple[PositiveInt, PositiveInt, PositiveInt]
    """(z, y, x)."""


@dataclass(frozen=True)
class NetworkInput:
    """The channels of one tomogram, and where they lie."""

    data: NDArray[np.float32]
    """(channel, z, y, x), binned; density with mean 0 and standard deviation 1, the others in -1..1."""
    full_shape: tuple[int, int, int]
    """(z, y, x) before binning."""
    voxel_size: tuple[float, float, float]
    """(z, y, x) of the binned voxels, in Angstrom."""
    origin: tuple[float, float, float]
    """(x, y, z) as in the tomogram's header, in Angstrom."""


@dataclass(frozen=True)
class DensityScale:
    """Density is normalised by the mean and standard deviation of the preprocessed tomogram."""

    mean: float
    std: float

    def apply(self, volume: NDArray[np.float32]) -> None:
        """Normalises an array of any shape in place."""
        normalise(volume, self.mean, self.std, out=volume)


@dataclass(frozen=True)
class SegmentationScale:
    """Any other channel is mapped from 0..``top`` to -1..1."""

    top: float

    def apply(self, volume: NDArray[np.float32]) -> None:
        """Scales an array of any shape in place."""
        scale_segmentation(volume, self.top)


Scale = DensityScale | SegmentationScale


def read_network_input(files: Mapping[str, Path], preprocessing: Preprocessing, apix: float) -> NetworkInput:
    """Reads and preprocesses the channels of one tomogram, in bounded memory beside the result.

    Per channel: slab mean along z, mean over the bins, then density by its own mean and standard deviation, and
    every other channel by its type from 0..1 to -1..1 (see ``segmentation_top``).

    Args:
        files: the MRC file of each channel but ``_``.
        preprocessing: channels, slab and binning.
        apix: pixel size in Angstrom to check the header against, and to use where it has none.

    Raises:
        PomError: a file is missing or cannot be read, the volumes differ in shape, NaN or infinite values, a
            constant density, segmentation values outside their range, or no channel with a file.
    """
    headers, reference = _headers(files, preprocessing)
    shape = _binned_shape(reference, preprocessing)
    # zeros that nobody has touched take no memory yet, and the slabs are added onto them
    data = np.zeros((len(preprocessing.channels), *shape), np.float32)
    for name, volume in zip(preprocessing.channels, data, strict=True):
        if name == EMPTY:
            volume.fill(EMPTY_VALUE)
        elif name == DENSITY:
            _read_density(headers[name].path, preprocessing, volume)
        else:
            _read_segmentation(headers[name].path, preprocessing, volume)
    z, y, x = resolve_voxel_size(reference, apix)
    bin_z, bin_y, bin_x = preprocessing.binning
    return NetworkInput(data, reference.shape, (z * bin_z, y * bin_y, x * bin_x), reference.origin)


def measure_scale(channel: str, path: Path, preprocessing: Preprocessing) -> Scale:
    """What puts one channel of a tomogram on the networks' scale; takes a pass over its file, in little memory.

    ``read_network_input`` finds the same, but for rounding.

    Raises:
        PomError: the file cannot be read, or holds what ``read_network_input`` does not take.
    """
    with MrcReader(_channel_header(channel, {channel: path}).path) as reader:
        if channel == DENSITY:
            return _density_scale(path, _slabs(reader, preprocessing))
        ranges = [(float(chunk.min()), float(chunk.max())) for _, chunk, _ in _binned_chunks(reader, preprocessing)]
        return _segmentation_scale(reader.header, min(low for low, _ in ranges), max(high for _, high in ranges))


def read_slab(
    files: Mapping[str, Path], preprocessing: Preprocessing, scales: Mapping[str, Scale], k: int
) -> NDArray[np.float32]:
    """One preprocessed slice of one tomogram; no more of the files is read than that takes.

    Args:
        files: the MRC file of each channel but ``_``.
        preprocessing: channels, slab and binning.
        scales: of each channel but ``_``, as ``measure_scale`` gives them.
        k: which binned slice.

    Returns:
        (channel, y, x), binned: ``read_network_input(...).data[:, k]``, but for rounding.

    Raises:
        PomError: as ``read_network_input``.
        ValueError: there is no such slice.
    """
    headers, reference = _headers(files, preprocessing)
    n_binned, *shape = _binned_shape(reference, preprocessing)
    if not 0 <= k < n_binned:
        raise ValueError(f"no slice {k} among {n_binned}")
    weights = slab_weights(reference.shape[0], preprocessing.z_sum, preprocessing.binning[0])[k : k + 1]
    used = np.flatnonzero(weights[0])
    data = np.zeros((len(preprocessing.channels), *shape), np.float32)
    for index, name in enumerate(preprocessing.channels):
        volume = data[index : index + 1]
        if name == EMPTY:
            volume.fill(EMPTY_VALUE)
            continue
        with MrcReader(headers[name].path) as reader:
            for z, _, binned in _binned_chunks(reader, preprocessing, int(used[0]), int(used[-1]) + 1):
                _add_product(volume, weights[:, z : z + len(binned)], binned)
        scales[name].apply(volume)
    return data


def _headers(files: Mapping[str, Path], preprocessing: Preprocessing) -> tuple[dict[str, MrcHeader], MrcHeader]:
    """The header of each channel with a file, all of one shape; and the one that says where the tomogram lies."""
    headers = {name: _channel_header(name, files) for name in preprocessing.channels if name != EMPTY}
    if not headers:
        raise PomError("No channel has a file: name Density or a macromolecule in 'macromolecules'.")
    reference = headers.get(DENSITY) or next(iter(headers.values()))
    for header in headers.values():
        if header.shape != reference.shape:
            raise PomError(
                f"{header.path} has the shape {header.shape} but {reference.path} has {reference.shape} (z, y, x): "
                "segment the tomogram again, at its present size."
            )
    return headers, reference


def _binned_shape(header: MrcHeader, preprocessing: Preprocessing) -> tuple[int, int, int]:
    z, y, x = (-(-n // factor) for n, factor in zip(header.shape, preprocessing.binning, strict=True))
    return z, y, x


def _channel_header(name: str, files: Mapping[str, Path]) -> MrcHeader:
    path = files.get(name)
    if path is None:
        raise PomError(f"The channel {name} has no file: give one, or take it out of 'macromolecules'.")
    if name != DENSITY and not path.exists():
        raise PomError(f"{path} is missing: segment {name} in this tomogram, or take it out of 'macromolecules'.")
    if is_placeholder(path):
        raise PomError(f"{path} is only the placeholder of an unfinished run: delete it and make {name} again.")
    return read_header(path)


def _read_density(path: Path, preprocessing: Preprocessing, out: NDArray[np.float32]) -> None:
    with MrcReader(path) as reader:
        for _ in _add_slabs(reader, preprocessing, out):
            pass
    _density_scale(path, out).apply(out)


def _density_scale(path: Path, slabs: Iterable[NDArray[np.float32]]) -> DensityScale:
    """By the statistics of all preprocessed slices (y, x)."""
    statistics = RunningStatistics()
    for image in slabs:
        statistics.add(image)
    if not statistics.std > SMALLEST_CONTRAST * abs(statistics.mean):
        raise PomError(f"{path} is constant ({statistics.mean:g} everywhere): reconstruct this tomogram again.")
    return DensityScale(statistics.mean, statistics.std)


def _read_segmentation(path: Path, preprocessing: Preprocessing, out: NDArray[np.float32]) -> None:
    low, high = math.inf, -math.inf
    with MrcReader(path) as reader:
        for chunk in _add_slabs(reader, preprocessing, out):
            low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    _segmentation_scale(reader.header, low, high).apply(out)


def _segmentation_scale(header: MrcHeader, low: float, high: float) -> SegmentationScale:
    """By the type, and the lowest and the highest value."""
    top = segmentation_top(header.dtype, low, high)
    if top is None:
        raise PomError(
            f"{header.path} has values from {low:g} to {high:g}, which a segmentation of {header.dtype.name} cannot "
            "have: save it as uint8 or uint16 from 0 to 255, int8 from 0 to 127, or float from 0 to 1."
        )
    return SegmentationScale(top)


def _add_slabs(
    reader: MrcReader, preprocessing: Preprocessing, out: NDArray[np.float32]
) -> Iterator[NDArray[np.generic]]:
    """Adds the slab means, binned, onto ``out`` (zeros), and yields each chunk of slices as it was read.

    The mean over slices and the mean over bins commute: each chunk is binned in the plane, then multiplied by its
    columns of the slab weights, so that no more than a chunk is held at any z_sum.
    """
    weights = slab_weights(reader.header.shape[0], preprocessing.z_sum, preprocessing.binning[0])
    for z, chunk, binned in _binned_chunks(reader, preprocessing):
        _add_product(out, weights[:, z : z + len(chunk)], binned)
        yield chunk


def _slabs(reader: MrcReader, preprocessing: Preprocessing) -> Iterator[NDArray[np.float32]]:
    """Yields the slab means, binned, (y, x) each, from first to last; holds only those that are not complete yet."""
    _, *shape = _binned_shape(reader.header, preprocessing)
    weights = slab_weights(reader.header.shape[0], preprocessing.z_sum, preprocessing.binning[0])
    # of each slab one after the last slice that belongs to it
    ends = weights.shape[1] - np.argmax(weights[:, ::-1] > 0, axis=1)
    first, begun = 0, np.zeros((0, *shape), np.float32)
    for z, chunk, binned in _binned_chunks(reader, preprocessing):
        columns = weights[first:, z : z + len(chunk)]
        n_open = int(np.flatnonzero(columns.any(axis=1))[-1]) + 1
        begun = np.concatenate([begun, np.zeros((n_open - len(begun), *shape), np.float32)])
        _add_product(begun, columns[:n_open], binned)
        n_complete = int(np.count_nonzero(ends[first : first + n_open] <= z + len(chunk)))
        yield from begun[:n_complete]
        first, begun = first + n_complete, begun[n_complete:]


def _binned_chunks(
    reader: MrcReader, preprocessing: Preprocessing, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.float32]]]:
    """Yields (z, slices as they are read, the same binned in the plane), of slices ``start`` to ``stop`` - 1 or all.

    Raises:
        PomError: there are NaN or infinite values; only said once they are counted, and nothing after the first of
            them is yielded.
    """
    n_bad = 0
    for z, chunk in _read_ahead(reader, start, reader.header.shape[0] if stop is None else stop):
        with np.errstate(invalid="ignore", over="ignore"):
            binned = bin_mean(chunk, preprocessing.binning[1:])
            if not np.isfinite(binned.sum()):
                n_bad += chunk.size - int(np.isfinite(chunk).sum())
        if n_bad == 0:
            yield z, chunk, binned
    if n_bad:
        path = reader.header.path
        raise PomError(f"{path} holds {n_bad} NaN or infinite values: replace them or make the file again.")


def _add_product(out: NDArray[np.float32], weights: NDArray[np.float32], images: NDArray[np.float32]) -> None:
    """Adds ``weights`` (k, n) times ``images`` (n, y, x) onto ``out`` (k, y, x).

    In tiles that fit the processor's cache, and are too small for the matrix library to spread over threads that
    other work needs; a tile leaves out the images on which its rows have no weight.
    """
    rows = np.flatnonzero(weights.any(axis=1))
    sums, pixels = out.reshape(len(out), -1), images.reshape(len(images), -1)
    for start in range(rows[0], rows[-1] + 1, TILE_ROWS):
        row = slice(start, min(start + TILE_ROWS, rows[-1] + 1))
        used = np.flatnonzero(weights[row].any(axis=0))
        image = slice(used[0], used[-1] + 1)
        width = max(1, TILE_PRODUCTS // ((row.stop - row.start) * (image.stop - image.start)))
        for first in range(0, pixels.shape[1], width):
            tile = slice(first, first + width)
            sums[row, tile] += weights[row, image] @ pixels[image, tile]


def _read_ahead(reader: MrcReader, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields (z, slices) from ``start`` on; the next chunk is read while the caller works on this one."""
    _, height, width = reader.header.shape
    n_chunk = max(1, CHUNK_BYTES // (height * width * reader.header.dtype.itemsize))
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reading:
        ahead = reading.submit(reader.read, start, min(start + n_chunk, stop))
        for z in range(start, stop, n_chunk):
            chunk = ahead.result()
            if z + n_chunk < stop:
                ahead = reading.submit(reader.read, z + n_chunk, min(z + 2 * n_chunk, stop))
            yield z, chunk
