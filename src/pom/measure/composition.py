"""What a segmentation holds: share, volume, pieces and confidence, in one pass over the file."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.feature_library import LEVELS
from pom.io.mrc import MrcHeader, MrcReader, VolumeHeader
from pom.io.ome_zarr import CHUNK
from pom.io.summary_files import Figures, Settings
from pom.io.volume_files import VolumeReader, top_between
from pom.volumes.normalise import full_scale
from pom.volumes.pieces import PieceCounter, least_voxels

CHUNK_BYTES = 1 << 20
"""Read at a time: what is worked on then stays in a processor's cache, and a disk does not mind."""
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
    right_top = top_of(reader, (z_start, z_stop), (found.low, found.high), may_be_mask=may_be_mask)
    if right_top != top:
        top = right_top
        found = _Counted(reader, z_start, z_stop, settings.level / LEVELS * top)
    voxel = math.prod(reader.header.voxel_size_or(settings.voxel_size))  # cubic Angstrom
    least = least_voxels(settings.dust, voxel * NM3_PER_CUBIC_ANGSTROM)
    return Figures(
        percent=found.total / top / found.n_voxels * 100,
        volume=found.inside * voxel * UM3_PER_CUBIC_ANGSTROM,
        components=int(np.count_nonzero(found.pieces.sizes() >= least)),
        confidence=found.total_inside / top / found.inside if found.inside else None,
    )


def fetch_ahead(reader: VolumeReader, settings: Settings) -> None:
    """Has the disk begin to read what ``measure`` will ask for, while something else is measured."""
    if isinstance(reader, MrcReader):
        reader.fetch_ahead(*inner_slices(reader.header.shape[0], settings.margin))


def inner_slices(n_slices: int, margin: float) -> tuple[int, int]:
    """The slices that count, from the first to behind the last: ``margin`` of them are left out above, and below.

    Rounded down, and at least one slice is left.
    """
    left_out = min(int(margin * n_slices), (n_slices - 1) // 2)
    return left_out, n_slices - left_out


def top_of(reader: VolumeReader, inner: tuple[int, int], ends: tuple[float, float], *, may_be_mask: bool) -> float:
    """The value that stands for 1 in a segmentation of which only the inner slices count.

    Whether it is a mask of 0 and 1 the margins say too, which are read where the inner slices leave that open.

    Args:
        reader: of the segmentation.
        inner: the slices that count, from the first to behind the last.
        ends: their lowest and highest value.
        may_be_mask: as for ``measure``.

    Raises:
        PomError: a segmentation of this type has no such values, or the file cannot be read.
    """
    header = reader.header
    top = full_scale(header.dtype)
    right_top = top_between(header, *ends)
    if right_top == top or not may_be_mask:
        return top
    margins = (*_chunks(header, 0, inner[0]), *_chunks(header, inner[1], header.shape[0]))
    return top if any(reader.read(start, stop).max() > 1 for start, stop in margins) else right_top


class _Counted:
    """Sums over the slices ``z_start`` to ``z_stop`` - 1 of a volume, and over its voxels at or above a threshold.

    The connected pieces of those voxels are counted in the same pass.
    """

    def __init__(self, reader: VolumeReader, z_start: int, z_stop: int, threshold: float) -> None:
        is_float = reader.header.dtype.kind == "f"
        least = threshold if is_float else math.ceil(threshold - 1e-9)
        self.pieces = PieceCounter()
        self.n_voxels = (z_stop - z_start) * math.prod(reader.header.shape[1:])
        self.low, self.high = math.inf, -math.inf
        self.total = self.total_inside = 0.0
        self.inside = 0
        for z, stop in _chunks(reader.header, z_start, z_stop):
            self._add(reader.read(z, stop), least)
            if not math.isfinite(self.low + self.high + self.total):
                raise PomError(f"{reader.header.path} holds NaN or infinite values: segment the tomogram again.")

    def _add(self, values: NDArray[Any], least: float) -> None:
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        mask = values >= (values.dtype.type(least) if values.dtype.kind == "f" else int(least))
        self.pieces.add(mask)
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
