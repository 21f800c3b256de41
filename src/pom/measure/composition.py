"""What a segmentation holds: share, volume, pieces and confidence, in one pass over the file."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcHeader, VolumeHeader
from pom.io.ome_zarr import CHUNK
from pom.io.summary_files import Figures, Settings
from pom.io.volume_files import VolumeReader
from pom.volumes.normalise import full_scale, segmentation_top
from pom.volumes.pieces import bounding_box, label_pieces

LEVELS = 256
"""A level of so many is full scale."""
CHUNK_BYTES = 1 << 20
"""Read at a time: what is worked on then stays in a processor's cache, and a disk does not mind."""
FEW_LABELS = 4096
"""Up to so many pieces are counted a slice at a time; of more, several slices at a time."""
UM3_PER_CUBIC_ANGSTROM = 1e-12
NM3_PER_CUBIC_ANGSTROM = 1e-3


def measure(reader: VolumeReader, settings: Settings, *, may_be_mask: bool) -> Figures:
    """Measures a segmentation, without its margins.

    Args:
        reader: of int8 (0..127), uint8, uint16 or int16 (0..255), or float (0..1).
        settings: level, dust, margin, and the voxel size to go by along axes where the file has none.
        may_be_mask: whether integers of only 0 and 1 mean a mask, as for a macromolecule; in a network's output they
            are next to nothing.

    Raises:
        PomError: the file cannot be read, or holds values that a segmentation of its type cannot have.
    """
    z_start, z_stop = inner_slices(reader.header.shape[0], settings.margin)
    top = full_scale(reader.header.dtype)
    found = _Counted(reader, z_start, z_stop, settings.level / LEVELS * top)
    right_top = segmentation_top(reader.header.dtype, found.low, found.high)
    if right_top is None:
        raise PomError(
            f"{reader.header.path} has values from {found.low:g} to {found.high:g}, which a segmentation of"
            f" {reader.header.dtype.name} cannot have: make it again."
        )
    if may_be_mask and right_top != top:
        top = right_top
        found = _Counted(reader, z_start, z_stop, settings.level / LEVELS * top)
    sizes = [size or usual for size, usual in zip(reader.header.voxel_size, settings.voxel_size, strict=True)]
    voxel = math.prod(sizes)  # cubic Angstrom
    n_voxels = found.mask.size
    # A billionth less, since a piece may be exactly as large as what is dust.
    least_voxels = settings.dust / (voxel * NM3_PER_CUBIC_ANGSTROM) * (1 - 1e-9)
    return Figures(
        percent=found.total / top / n_voxels * 100,
        volume=found.inside * voxel * UM3_PER_CUBIC_ANGSTROM,
        components=count_components(found.mask, least_voxels),
        confidence=found.total_inside / top / found.inside if found.inside else None,
    )


def inner_slices(n_slices: int, margin: float) -> tuple[int, int]:
    """The slices that count, from the first to behind the last: ``margin`` of them are left out above, and below.

    Rounded down, and at least one slice is left.
    """
    left_out = min(int(margin * n_slices), (n_slices - 1) // 2)
    return left_out, n_slices - left_out


def count_components(mask: NDArray[np.bool_], least: float = 1.0) -> int:
    """How many connected pieces of at least so many voxels a mask (z, y, x) has; sharing a corner connects voxels."""
    inner = bounding_box(mask)
    if inner is None:
        return 0
    labels, n = label_pieces(mask[inner])
    return n if least <= 1 else int((_sizes(labels, n) >= least).sum())


def _sizes(labels: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """The voxels of the pieces 1 to ``n``."""
    sizes = np.zeros(n + 1, np.int64)
    step = 1 + n // FEW_LABELS
    for start in range(0, len(labels), step):
        # Runs of one label are far fewer than voxels.
        flat = labels[start : start + step].reshape(-1)
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
        lengths = np.diff(ends, prepend=-1)
        sizes += np.bincount(flat[ends], weights=lengths, minlength=n + 1).astype(np.int64)
    return sizes[1:]


class _Counted:
    """Sums over the slices ``z_start`` to ``z_stop`` - 1 of a volume, and over its voxels at or above a threshold."""

    def __init__(self, reader: VolumeReader, z_start: int, z_stop: int, threshold: float) -> None:
        _, height, width = reader.header.shape
        is_float = reader.header.dtype.kind == "f"
        least = threshold if is_float else math.ceil(threshold - 1e-9)
        self.mask = np.empty((z_stop - z_start, height, width), np.bool_)
        self.low, self.high = math.inf, -math.inf
        self.total = self.total_inside = 0.0
        self.inside = 0
        for z, stop in _chunks(reader.header, z_start, z_stop):
            self._add(reader.read(z, stop), least, self.mask[z - z_start : stop - z_start])
            if not math.isfinite(self.low + self.high + self.total):
                raise PomError(f"{reader.header.path} holds NaN or infinite values: segment the tomogram again.")

    def _add(self, values: NDArray[Any], least: float, mask: NDArray[np.bool_]) -> None:
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if values.dtype.kind == "f":
            np.greater_equal(values, values.dtype.type(least), out=mask)
        else:
            np.greater_equal(values, int(least), out=mask)
        inside = int(np.count_nonzero(mask))
        self.inside += inside
        # 32 bits are three times as fast as 64.
        is_small = max(abs(low), abs(high)) * values.size < np.iinfo(np.int32).max
        kind = np.float64 if values.dtype.kind == "f" else np.int32 if is_small else np.int64
        self.total += float(values.sum(dtype=kind))
        if inside:
            self.total_inside += float((values * mask).sum(dtype=kind))


def _chunks(header: VolumeHeader, z_start: int, z_stop: int) -> Iterator[tuple[int, int]]:
    """Divides slices into those that are read at a time, (start, stop)."""
    step = max(1, CHUNK_BYTES // (header.shape[1] * header.shape[2] * header.dtype.itemsize))
    if not isinstance(header, MrcHeader):
        # Slices lie packed together, and what is read of a pack costs as much as all of it.
        step = math.ceil(step / CHUNK[0]) * CHUNK[0]
    while z_start < z_stop:
        stop = min((z_start // step + 1) * step, z_stop)
        yield z_start, stop
        z_start = stop
