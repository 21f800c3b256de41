"""Writes a tomogram and its segmentations as one OME-Zarr 0.5.

The folder is an image of the tomogram, axes (z, y, x). In it lie ``labels/segmentation``, which has a number for each
class, and, where wanted, ``probabilities``, an image with a channel for each output, axes (c, z, y, x).
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom import __version__
from pom.errors import PomError
from pom.io import ome_zarr_metadata as ome
from pom.io.ome_zarr_metadata import Colour, Grid, Triple
from pom.io.volume_files import POM, PROBABILITIES, VolumeReader, read_segmentation
from pom.io.zarr_files import read_metadata, whole_file_store, write_group
from pom.volumes.binning import bin_mean
from pom.volumes.pyramid import Factors, bin_labels, binned_shape, level_factors

if TYPE_CHECKING:
    import zarr

SEGMENTATION = "segmentation"

CHUNK = (16, 128, 128)
"""(z, y, x). Slices are what is read most: of chunks so flat a slice takes a quarter of the reading that it takes of
cubes of as many voxels, and a view along y or x no more than twice as much."""
SHARD_BYTES = 64 << 20
"""Chunks lie together in files of about this size, before compression: a cluster's disk does not like a million files.
Writing takes this much memory, several times over."""
READ_VOXELS = 1 << 21
"""That are read at a time, but for whole chunks."""
SHOWN = (0.5, 99.5)
"""Percentiles of the density that are shown black and white."""
WHITE = (1.0, 1.0, 1.0)

Read = Callable[[int, int], NDArray[Any]]
"""Gives slices start to stop - 1, (z, y, x)."""
Reduce = Callable[[NDArray[Any], Factors], NDArray[Any]]


@dataclass(frozen=True)
class Contents:
    """What goes into a store.

    Attributes:
        name: the tomogram's.
        density: the tomogram.
        voxel_size: the tomogram's, (z, y, x) in Angstrom.
        density_bins: (z, y, x) by which the image of the tomogram is binned; (1, 1, 1) for all its voxels.
        outputs: by name, all of one shape (z, y, x).
        output_voxel_size: theirs, (z, y, x) in Angstrom.
        labels: gives slices of the label image, uint8, of the outputs' shape.
        titles: by number in the label image the name; 0 is what is not shown.
        colours: of the outputs, by name.
        probabilities: whether the outputs themselves are stored.
        quantised: whether those of float32 are then stored as uint8.
        made_from: what tells whether the store must be made again; JSON.
    """

    name: str
    density: VolumeReader
    voxel_size: Triple
    density_bins: Factors
    outputs: Mapping[str, VolumeReader]
    output_voxel_size: Triple
    labels: Read
    titles: Mapping[int, str]
    colours: Mapping[str, Colour]
    probabilities: bool
    quantised: bool
    made_from: Mapping[str, Any]


def write_ome_zarr(folder: Path, contents: Contents) -> None:
    """Writes a store into an empty folder; whoever calls makes it appear whole (``pom.io.atomic.atomic_folder``).

    Beside the voxels of one file of a store, little is in memory.

    Raises:
        PomError: a volume cannot be read, or the disk is full.
    """
    # Label images are to have as many levels as the image that they belong to, even if that is the larger one.
    n_smaller = len(level_factors(binned_shape(contents.density.header.shape, contents.density_bins)))
    _write_labels(folder / "labels", contents, n_smaller)
    if contents.probabilities:
        _write_probabilities(folder / PROBABILITIES, contents, n_smaller)
    _write_density(folder, contents, n_smaller)


def made_from(store: Path) -> Any:
    """What a store says that it was made from, as ``Contents`` gave it; None if Pom did not write it.

    Raises:
        PomError: there is no store, or it is damaged.
    """
    about = _about(store)
    return None if about is None else about.get("made_from")


def check_own(store: Path) -> None:
    """Makes sure that nothing but what Pom wrote would be replaced by a store, or an empty folder.

    Raises:
        PomError: something else has that name.
    """
    if not os.path.lexists(store) or _is_own(store):
        return
    raise PomError(f"{store} is damaged, or not one that Pom wrote, so it is not replaced: move it away.")


def _is_own(store: Path) -> bool:
    try:
        return next(store.iterdir(), None) is None or _about(store) is not None
    except (OSError, PomError):
        return False


def _about(store: Path) -> dict[str, Any] | None:
    """Pom's own part of the attributes; what other programs write there may be anything."""
    attributes = read_metadata(store).get("attributes")
    about = attributes.get(POM) if isinstance(attributes, dict) else None
    return about if isinstance(about, dict) else None


def _write_density(folder: Path, contents: Contents, n_smaller: int) -> None:
    header, bins = contents.density.header, contents.density_bins
    # What viewers read; the header of an MRC file may say float16 or the other byte order.
    dtype = np.dtype(np.float32) if header.dtype.kind == "f" else header.dtype.newbyteorder("=")
    n_slices = header.shape[0]

    def read(start: int, stop: int) -> NDArray[Any]:
        block = contents.density.read(start * bins[0], min(stop * bins[0], n_slices))
        return block.astype(dtype, copy=False) if max(bins) == 1 else _binned(block, bins)

    middle = binned_shape(header.shape, bins)[0] // 2
    grid = Grid(contents.voxel_size, _reversed(header.origin)).binned(bins)
    grids = _write_image(folder, [read], binned_shape(header.shape, bins), dtype, grid, _binned, ome.SPACE, n_smaller)
    low, high = _shown(read(middle, middle + 1))
    limits = (low, high) if dtype.kind == "f" else _range(dtype)
    channel = ome.channel("Density", WHITE, (low, high), limits, active=True)
    attributes = ome.image(ome.multiscales(contents.name, grids, "mean"), [channel])
    about = {"version": __version__, "origin": list(header.origin), "made_from": contents.made_from}
    write_group(folder, {"ome": attributes, POM: about})


def _write_labels(folder: Path, contents: Contents, n_smaller: int) -> None:
    shape, grid = _outputs_lie(contents)
    dtype = np.dtype(np.uint8)
    grids = _write_image(folder / SEGMENTATION, [contents.labels], shape, dtype, grid, bin_labels, ome.SPACE, n_smaller)
    classes = {number: (title, contents.colours[title]) for number, title in contents.titles.items()}
    scales = ome.multiscales(SEGMENTATION, grids, "mode")
    write_group(folder / SEGMENTATION, {"ome": ome.label_image(scales, classes)})
    write_group(folder, {"ome": ome.labels_group([SEGMENTATION])})


def _write_probabilities(folder: Path, contents: Contents, n_smaller: int) -> None:
    shape, grid = _outputs_lie(contents)
    first = next(iter(contents.outputs.values())).header
    dtype = _probability_type(first.dtype, quantised=contents.quantised)

    def reader(source: VolumeReader) -> Read:
        return lambda start, stop: _as(read_segmentation(source, start, stop), dtype)

    reads = [reader(source) for source in contents.outputs.values()]
    grids = _write_image(folder, reads, shape, dtype, grid, _binned, (ome.CHANNEL, *ome.SPACE), n_smaller)
    limits = (0.0, 1.0) if dtype.kind == "f" else (0.0, 127.0 if dtype == np.int8 else 255.0)
    channels = [
        ome.channel(name, contents.colours[name], limits, limits, active=place < 3)
        for place, name in enumerate(contents.outputs)
    ]
    attributes = ome.image(ome.multiscales(PROBABILITIES, grids, "mean", channels=True), channels)
    write_group(folder, {"ome": attributes, POM: {"channels": list(contents.outputs), "origin": list(first.origin)}})


def _outputs_lie(contents: Contents) -> tuple[tuple[int, int, int], Grid]:
    """The shape of the outputs, and where their voxels lie: their header gives the corner that all binnings share."""
    header = next(iter(contents.outputs.values())).header
    corner = _reversed(header.origin)
    parts = zip(corner, contents.output_voxel_size, contents.voxel_size, strict=True)
    z, y, x = (first + (size - unbinned) / 2 for first, size, unbinned in parts)
    return header.shape, Grid(contents.output_voxel_size, (z, y, x))


def _write_image(
    folder: Path,
    reads: Sequence[Read],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    grid: Grid,
    reduce: Reduce,
    axes: Sequence[str],
    n_smaller: int,
) -> list[Grid]:
    """Writes the arrays of an image, a channel for each of ``reads``; gives where the voxels of each level lie."""
    grids, shapes, steps = [grid], [shape], level_factors(shape, n_smaller)
    for factors in steps:
        grids.append(grids[-1].binned(factors))
        shapes.append(binned_shape(shapes[-1], factors))
    n_channels = len(reads) if len(axes) > 3 else None
    levels = [_create(folder / str(k), size, dtype, axes, n_channels) for k, size in enumerate(shapes)]
    for channel, read in enumerate(reads):
        index = () if n_channels is None else (channel,)
        _write_level(levels[0], index, read)
        for above, level, factors in zip(levels, levels[1:], steps, strict=False):
            _write_level(level, index, _reduced(above, index, factors, reduce))
    return grids


def _reduced(above: "zarr.Array[Any]", index: tuple[int, ...], factors: Factors, reduce: Reduce) -> Read:
    depth = factors[0]
    return lambda start, stop: reduce(np.asarray(above[_at(index, start * depth, stop * depth)]), factors)


def _at(index: tuple[int, ...], start: int, stop: int) -> Any:
    return (*index, slice(start, stop))


def _write_level(array: "zarr.Array[Any]", index: tuple[int, ...], read: Read) -> None:
    n_slices, height, width = array.shape[-3:]
    depth = (array.shards or array.chunks)[-3]
    step = CHUNK[0] * max(1, READ_VOXELS // (CHUNK[0] * height * width))
    for start in range(0, n_slices, depth):
        stop = min(start + depth, n_slices)
        shard = np.empty((stop - start, height, width), array.dtype)
        for k in range(start, stop, step):
            until = min(k + step, stop)
            shard[k - start : until - start] = read(k, until)
        array[_at(index, start, stop)] = shard


def _create(
    folder: Path, shape: tuple[int, int, int], dtype: np.dtype[Any], axes: Sequence[str], n_channels: int | None
) -> "zarr.Array[Any]":
    import zarr
    from zarr.codecs import ZstdCodec

    z, y, x = (min(n, most) for n, most in zip(shape, CHUNK, strict=True))
    height, width = (math.ceil(n / side) * side for n, side in zip(shape[1:], (y, x), strict=True))
    depth = z * min(math.ceil(shape[0] / z), max(1, SHARD_BYTES // (z * height * width * dtype.itemsize)))
    lead = () if n_channels is None else (1,)
    return zarr.create_array(
        whole_file_store(folder),
        shape=shape if n_channels is None else (n_channels, *shape),
        chunks=(*lead, z, y, x),
        shards=(*lead, depth, height, width),
        dtype=dtype,
        compressors=ZstdCodec(level=3, checksum=True),
        fill_value=0,
        dimension_names=list(axes),
        # An ontology that is nowhere has its files all the same, so that one that is lost is noticed.
        config={"write_empty_chunks": True},
    )


def _binned(block: NDArray[Any], factors: Factors) -> NDArray[Any]:
    """The mean over bins in the type of ``block``, rounded where that has steps."""
    means = bin_mean(block, factors)
    return means if block.dtype.kind == "f" else np.rint(means).astype(block.dtype)


def _probability_type(stored: np.dtype[Any], *, quantised: bool) -> np.dtype[Any]:
    if stored.kind == "f" and not quantised:
        return np.dtype(np.float32)
    return np.dtype(np.int8 if stored == np.int8 else np.uint8)


def _as(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of an output in the type they are stored in: as they are, or 0..1 as 0..255."""
    if values.dtype.kind == "f" and dtype.kind != "f":
        values = np.rint(np.clip(values, 0.0, 1.0) * 255)
    quantised: NDArray[Any] = values.astype(dtype, copy=False)
    return quantised


def _shown(image: NDArray[Any]) -> tuple[float, float]:
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, SHOWN))
    return (low, high) if high > low else (low, low + 1.0)


def _range(dtype: np.dtype[Any]) -> tuple[float, float]:
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def _reversed(origin: tuple[float, float, float]) -> Triple:
    x, y, z = origin
    return z, y, x
