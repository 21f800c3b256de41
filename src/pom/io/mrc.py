"""MRC volumes: headers as they are found in the wild, voxels by plain reads and writes.

Nothing is memory-mapped: mapped pages count as resident memory, and on a full disk a write to them kills the
process where a plain write raises an error.
"""

import logging
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, machine_stamp_from_byte_order, mode_from_dtype
from numpy.typing import DTypeLike, NDArray

from pom import __version__
from pom.errors import PomError
from pom.io.atomic import atomic_path, write_error
from pom.volumes.normalise import RunningStatistics

log = logging.getLogger(__name__)

HEADER_BYTES = 1024
DTYPES: Mapping[int, type[np.generic]] = MappingProxyType(
    {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}
)
"""The modes that are read."""

LARGEST_SIDE = 1 << 24
MOST_AHEAD = 256 << 20
"""Bytes that a disk is asked to read ahead: more take memory from others and let whoever asks wait."""
ADVICE_BYTES = 1 << 20
"""Asked for in one go; Linux forgets what goes far beyond a megabyte or two."""
APIX_TOLERANCE = 0.1
IMOD_STAMP = 1146047817
ANGSTROM_PER_NM = 10.0
PLACEHOLDER_SHAPE = (10, 10, 10)

_warned: set[Path] = set()


@dataclass(frozen=True)
class VolumeHeader:
    """What is known of a volume before any voxel is read."""

    path: Path
    shape: tuple[int, int, int]
    """(z, y, x), each at least 1."""
    dtype: np.dtype[Any]
    """As the voxels lie in the file, byte order included."""
    voxel_size: tuple[float, float, float]
    """(z, y, x) in Angstrom; 0.0 where the file has none."""
    origin: tuple[float, float, float]
    """(x, y, z) in Angstrom, as in the header of an MRC file."""

    def voxel_size_or(self, usual: tuple[float, float, float]) -> tuple[float, float, float]:
        """The voxel size (z, y, x) in Angstrom; ``usual`` along axes where the file has none."""
        z, y, x = (size or other for size, other in zip(self.voxel_size, usual, strict=True))
        return z, y, x


@dataclass(frozen=True)
class MrcHeader(VolumeHeader):
    """What the header of an MRC file says, put right where programs are known to differ."""

    data_offset: int
    """Bytes before the first voxel."""


def read_header(path: Path) -> MrcHeader:
    """Reads the header of an MRC file and checks that the file holds all its voxels.

    Modes 0, 1, 2, 6 and 12 in either byte order; a 2-D image is a volume of one slice. Mode 0 is int8, or uint8
    where IMOD says so. A file longer than its header says is fine.

    Raises:
        PomError: no such file, no permission, a folder, empty, compressed, cut short, not an MRC file, of a
            mode without real numbers, or without voxels.
    """
    path = Path(path)
    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise PomError(f"{path} is a folder, not an MRC file: give the path of the file in it.")
        if not S_ISREG(status.st_mode):
            raise PomError(f"{path} is not an ordinary file: copy the volume to a file on disk.")
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise _read_error(path, error) from error
    _check_is_mrc(path, head)
    order, record = _in_its_byte_order(head)
    dtype = _data_type(path, record, order)
    shape = (int(record["nz"]), int(record["ny"]), int(record["nx"]))
    data_offset = HEADER_BYTES + int(record["nsymbt"])
    if min(shape) < 1 or data_offset < HEADER_BYTES:
        raise PomError(f"{path} has a damaged header ({_sides(shape)} voxels): write or copy the file again.")
    missing = data_offset + math.prod(shape) * dtype.itemsize - status.st_size
    if missing > 0:
        raise PomError(
            f"{path} is cut short: {missing} bytes are missing for {_sides(shape)} voxels of {dtype.name}; "
            f"{_how_to_replace(path)}."
        )
    origin = tuple(_number(record["origin"][axis]) for axis in "xyz")
    return MrcHeader(path, shape, dtype, _voxel_size(record), (origin[0], origin[1], origin[2]), data_offset)


class MrcReader:
    """Reads slices of an MRC file, in any order; a context manager.

    Raises:
        PomError: on opening, as ``read_header``.
    """

    def __init__(self, path: Path) -> None:
        self.header = read_header(path)
        try:
            self._file = self.header.path.open("rb", buffering=0)
        except OSError as error:
            raise _read_error(self.header.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, z_start: int, z_stop: int) -> NDArray[Any]:
        """Slices ``z_start`` to ``z_stop`` - 1 as (z, y, x), in the file's type and the machine's byte order.

        Raises:
            PomError: the disk fails or the file has become shorter.
            ValueError: slices that the volume does not have.
        """
        header = self.header
        if not 0 <= z_start <= z_stop <= header.shape[0]:
            raise ValueError(f"no slices {z_start} to {z_stop} in a volume of {header.shape[0]}")
        slices = np.empty((z_stop - z_start, *header.shape[1:]), header.dtype)
        rest = slices.reshape(-1).view(np.uint8).data
        try:
            self._file.seek(header.data_offset + z_start * math.prod(header.shape[1:]) * header.dtype.itemsize)
            while rest:
                n_bytes = self._file.readinto(rest)
                if not n_bytes:
                    raise PomError(f"{header.path} is cut short: {len(rest)} bytes are missing; copy it again.")
                rest = rest[n_bytes:]
        except OSError as error:
            raise _read_error(header.path, error) from error
        if header.dtype.isnative:
            return slices
        return slices.byteswap(inplace=True).view(header.dtype.newbyteorder("="))

    def fetch_ahead(self, z_start: int, z_stop: int) -> None:
        """Has the disk begin to read slices that will be asked for soon, the first 256 MiB of them, and goes on.

        Where a system cannot do that, nothing happens.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        slice_bytes = math.prod(self.header.shape[1:]) * self.header.dtype.itemsize
        start = self.header.data_offset + z_start * slice_bytes
        stop = start + min((z_stop - z_start) * slice_bytes, MOST_AHEAD)
        with suppress(OSError):  # what cannot be read is found out when it is read
            for offset in range(start, stop, ADVICE_BYTES):
                length = min(ADVICE_BYTES, stop - offset)
                os.posix_fadvise(self._file.fileno(), offset, length, os.POSIX_FADV_WILLNEED)


class MrcWriter:
    """Writes an MRC volume slice after slice; the file appears, whole, when the context ends.

    Args:
        path: where it appears; missing folders are made.
        shape: (z, y, x), each at least 1.
        dtype: int8 (mode 0), float32 (mode 2), or uint8, which MRC does not have: its 0..255 are stored as
            uint16 (mode 6), as other programs do.
        voxel_size: (z, y, x) in Angstrom.
        origin: (x, y, z) in Angstrom.

    Raises:
        PomError: on entering, writing or leaving, where the disk is full, the folder read-only, and so on;
            nothing stays behind.
        ValueError: another type or shape, or leaving before all slices are written.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: DTypeLike,
        voxel_size: tuple[float, float, float],
        origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self.path = Path(path)
        self.shape = shape
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.int8, np.uint8, np.float32) or min(shape) < 1:
            raise ValueError(f"an MRC volume of {self.dtype} and shape {shape} is not written")
        self._stored = np.dtype(np.uint16 if self.dtype == np.uint8 else self.dtype).newbyteorder("<")
        self._voxel_size = voxel_size
        self._origin = origin
        self._statistics = RunningStatistics()
        self._n_written = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            # unbuffered: a failed write is then reported once, by the write itself
            self._file = stack.enter_context(temporary.open("wb", buffering=0))
            self._file.seek(HEADER_BYTES)
            self._stack = stack.pop_all()
        return self

    def write(self, slices: NDArray[Any]) -> None:
        """Appends (n, y, x) slices of the writer's type."""
        n_after = self._n_written + len(slices)
        if slices.dtype != self.dtype or slices.shape[1:] != self.shape[1:] or n_after > self.shape[0]:
            raise ValueError(f"{slices.dtype} {slices.shape} at slice {self._n_written} does not fit {self.shape}")
        for image in slices:
            self._statistics.add(image)
        self._write_all(np.ascontiguousarray(slices, self._stored))
        self._n_written = n_after

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        if self._n_written < self.shape[0]:
            raise ValueError(f"{self.path}: only {self._n_written} of {self.shape[0]} slices were written")
        self._file.seek(0)
        header = _new_header(self.shape, self._stored, self._voxel_size, self._origin, self._statistics)
        self._write_all(header.view(np.uint8))

    def _write_all(self, array: NDArray[Any]) -> None:
        rest = array.reshape(-1).view(np.uint8).data
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise write_error(self.path, error) from error


def resolve_voxel_size(header: MrcHeader, apix: float) -> tuple[float, float, float]:
    """The voxel size (z, y, x) in Angstrom to go by: the header's, or ``apix`` where the header has none.

    Warns where ``apix`` steps in, and where the header and ``apix`` are more than 10 % apart in the plane (the
    header counts); once per file. Along z nothing is compared: sections may be thicker than pixels are wide.
    """
    missing = [axis for axis, size in zip("zyx", header.voxel_size, strict=True) if size == 0]
    z, y, x = (size or apix for size in header.voxel_size)
    complaints = []
    if missing:
        complaints.append(f"has no voxel size along {', '.join(missing)} in its header, so apix {apix:g} is used")
    if max(abs(y - apix), abs(x - apix)) > APIX_TOLERANCE * apix:
        complaints.append(f"has pixels of {y:.4g} x {x:.4g} A by its header, which counts, but apix is {apix:g}")
    if complaints and header.path not in _warned:
        _warned.add(header.path)
        log.warning("%s %s.", header.path, " and ".join(complaints))
    return z, y, x


def pixel_size_nm(header: MrcHeader, apix: float) -> float:
    """The size of a pixel in the plane in nm, along x, from what ``resolve_voxel_size`` gives."""
    return resolve_voxel_size(header, apix)[2] / ANGSTROM_PER_NM


def is_placeholder(path: Path) -> bool:
    """Whether ``path`` is what the published Pom puts in an output's place: 10 x 10 x 10 voxels of -1."""
    try:
        with MrcReader(path) as reader:
            shape = reader.header.shape
            return shape == PLACEHOLDER_SHAPE and bool((reader.read(0, shape[0]) == -1).all())
    except PomError:
        return False


def _check_is_mrc(path: Path, head: bytes) -> None:
    if not head:
        raise PomError(f"{path} is empty: copy or write it again.")
    for magic, name, program in ((b"\x1f\x8b", "gzip", "gunzip"), (b"BZh", "bzip2", "bunzip2")):
        if head.startswith(magic):
            raise PomError(f"{path} is compressed with {name}: unpack it with {program} first.")
    if len(head) < HEADER_BYTES:
        raise PomError(f"{path} is no MRC file: it has {len(head)} bytes where the header alone takes {HEADER_BYTES}.")
    if head[208:211] != b"MAP":
        raise PomError(f"{path} is no MRC file: its header lacks the mark MAP; convert it to MRC first.")


def _in_its_byte_order(head: bytes) -> tuple[str, Any]:
    """Byte order and record; where the machine stamp is wrong, the order that makes sense of the numbers."""
    records = {order: np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0] for order in "<>"}
    try:
        stamped = byte_order_from_machine_stamp(records["<"]["machst"])
    except ValueError:
        stamped = "<"
    other = "<" if stamped == ">" else ">"
    order = other if _is_plausible(records[other]) and not _is_plausible(records[stamped]) else stamped
    return order, records[order]


def _is_plausible(record: Any) -> bool:
    return int(record["mode"]) in DTYPES and all(0 < record[side] < LARGEST_SIDE for side in ("nx", "ny", "nz"))


def _data_type(path: Path, record: Any, order: str) -> np.dtype[Any]:
    mode = int(record["mode"])
    if mode not in DTYPES:
        raise PomError(
            f"{path} is of MRC mode {mode}, which Pom does not read: "
            "convert it to mode 0, 1, 2, 6 or 12 (for example with newstack -mode 2)."
        )
    stamp, flags = np.frombuffer(record["extra2"].tobytes()[40:48], f"{order}i4")  # bytes 152 and 156 of the file
    if mode == 0 and stamp == IMOD_STAMP and not flags & 1:
        return np.dtype(np.uint8)
    return np.dtype(DTYPES[mode]).newbyteorder("<" if order == "<" else ">")


def _voxel_size(record: Any) -> tuple[float, float, float]:
    """(z, y, x) in Angstrom; 0.0 where the header gives no sensible number."""
    n = {axis: int(record[f"n{axis}"]) for axis in "xyz"}
    cell = {axis: _number(record["cella"][axis]) for axis in "xyz"}
    intervals = {axis: int(record[f"m{axis}"]) for axis in "xyz"}
    x, y, z = (max(cell[axis], 0.0) / (intervals[axis] if intervals[axis] > 0 else n[axis]) for axis in "xyz")
    if intervals["z"] == 1 and n["z"] > 1 and z > 0:
        # Some programs leave mz at 1 and give the height of the whole volume, others that of one slice.
        # Without a pixel width to compare with, it cannot be told which.
        z = min((z, z / n["z"]), key=lambda size: abs(math.log(size / x))) if x > 0 else 0.0
    return z, y, x


def _new_header(
    shape: tuple[int, int, int],
    stored: np.dtype[Any],
    voxel_size: tuple[float, float, float],
    origin: tuple[float, float, float],
    statistics: RunningStatistics,
) -> NDArray[Any]:
    header = np.zeros(1, HEADER_DTYPE.newbyteorder("<"))
    record = header[0]
    for axis, n, size in zip("zyx", shape, voxel_size, strict=True):
        record[f"n{axis}"] = record[f"m{axis}"] = n
        record["cella"][axis] = n * size
    record["mode"] = mode_from_dtype(stored)
    record["cellb"] = (90, 90, 90)
    record["mapc"], record["mapr"], record["maps"] = 1, 2, 3
    record["dmin"], record["dmax"] = statistics.low, statistics.high
    record["dmean"], record["rms"] = statistics.mean, statistics.std
    record["ispg"] = 1
    record["nversion"] = 20141
    record["origin"] = origin
    record["map"] = b"MAP "
    record["machst"] = tuple(machine_stamp_from_byte_order("<"))
    record["nlabl"] = 1
    record["label"][0] = f"Pom {__version__}".encode()
    return header


def _number(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else 0.0


def _how_to_replace(path: Path) -> str:
    """What to do about a damaged file, as the end of a sentence; ``__`` marks a segmentation."""
    if "__" in path.stem:
        return "copy it again, or remove it and segment again, outputs of networks with 'pom shared process'"
    return "copy or reconstruct it again"


def _sides(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))


def _read_error(path: Path, error: OSError) -> PomError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return PomError(f"There is no file {path}: check the name and the folders in project_configuration.json.")
    if isinstance(error, PermissionError):
        return PomError(f"{path} cannot be read for lack of permission: make it readable (chmod +r).")
    return PomError(f"{path} cannot be read ({error.strerror or error}): check that disk.")
