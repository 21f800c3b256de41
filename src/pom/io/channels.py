"""What a network sees: density and macromolecules, preprocessed once and alike for training and inference."""

import math
from collections.abc import Iterator, Mapping
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
    shape = tuple(-(-n // factor) for n, factor in zip(reference.shape, preprocessing.binning, strict=True))
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
    statistics = RunningStatistics()
    for image in out:
        statistics.add(image)
    if not statistics.std > SMALLEST_CONTRAST * abs(statistics.mean):
        raise PomError(f"{path} is constant ({statistics.mean:g} everywhere): reconstruct this tomogram again.")
    normalise(out, statistics.mean, statistics.std, out=out)


def _read_segmentation(path: Path, preprocessing: Preprocessing, out: NDArray[np.float32]) -> None:
    low, high = math.inf, -math.inf
    with MrcReader(path) as reader:
        dtype = reader.header.dtype
        for chunk in _add_slabs(reader, preprocessing, out):
            low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    top = segmentation_top(dtype, low, high)
    if top is None:
        raise PomError(
            f"{path} has values from {low:g} to {high:g}, which a segmentation of {dtype.name} cannot have: "
            "save it as uint8 or uint16 from 0 to 255, int8 from 0 to 127, or float from 0 to 1."
        )
    scale_segmentation(out, top)


def _add_slabs(
    reader: MrcReader, preprocessing: Preprocessing, out: NDArray[np.float32]
) -> Iterator[NDArray[np.generic]]:
    """Adds the slab means, binned, onto ``out`` (zeros), and yields each chunk of slices as it was read.

    The mean over slices and the mean over bins commute: each chunk is binned in the plane, then multiplied by its
    columns of the slab weights, so that no more than a chunk is held at any z_sum.
    """
    header = reader.header
    weights = slab_weights(header.shape[0], preprocessing.z_sum, preprocessing.binning[0])
    n_bad = 0
    for z, chunk in _read_ahead(reader):
        with np.errstate(invalid="ignore", over="ignore"):
            binned = bin_mean(chunk, preprocessing.binning[1:])
            if not np.isfinite(binned.sum()):
                n_bad += chunk.size - int(np.isfinite(chunk).sum())
        if n_bad == 0:
            _add_product(out, weights[:, z : z + len(chunk)], binned)
            yield chunk
    if n_bad:
        raise PomError(f"{header.path} holds {n_bad} NaN or infinite values: replace them or make the file again.")


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


def _read_ahead(reader: MrcReader) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yields (z, slices) from first to last; the next chunk is read while the caller works on this one."""
    n_slices, height, width = reader.header.shape
    n_chunk = max(1, CHUNK_BYTES // (height * width * reader.header.dtype.itemsize))
    starts = range(0, n_slices, n_chunk)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reading:
        ahead = reading.submit(reader.read, 0, min(n_chunk, n_slices))
        for z in starts:
            chunk = ahead.result()
            if z + n_chunk < n_slices:
                ahead = reading.submit(reader.read, z + n_chunk, min(z + 2 * n_chunk, n_slices))
            yield z, chunk
