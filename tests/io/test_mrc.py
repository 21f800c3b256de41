import bz2
import ctypes
import gzip
import logging
import mmap
import os
import struct
import sys
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcHeader, MrcReader, MrcWriter, is_placeholder, read_header, resolve_voxel_size

VALUES = np.arange(3 * 4 * 5).reshape(3, 4, 5)


def write(path: Path, data: NDArray[np.generic], voxel_size: tuple[float, float, float] = (10.0, 10.0, 10.0)) -> Path:
    """Writes an MRC file with the library; ``voxel_size`` is (x, y, z)."""
    with mrcfile.new(path, data, overwrite=True) as mrc:
        mrc.voxel_size = voxel_size
    return path


def patch(path: Path, offset: int, *numbers: int | float, order: str = "<") -> None:
    """Overwrites header fields, ``offset`` in bytes."""
    content = bytearray(path.read_bytes())
    for k, number in enumerate(numbers):
        struct.pack_into(f"{order}{'i' if isinstance(number, int) else 'f'}", content, offset + 4 * k, number)
    path.write_bytes(content)


def to_big_endian(path: Path) -> None:
    with mrcfile.open(path) as mrc:
        header, data = mrc.header.copy(), mrc.data.copy()
    header = header.byteswap()
    header["machst"] = [0x11, 0x11, 0, 0]
    path.write_bytes(header.tobytes() + data.byteswap().tobytes())


def header_with(voxel_size: tuple[float, float, float], path: Path) -> MrcHeader:
    return MrcHeader(path, (3, 4, 5), np.dtype(np.int8), voxel_size, (0, 0, 0), 1024)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.uint16, np.float16])
def test_all_modes_and_byte_orders_give_the_same_values(
    tmp_path: Path, dtype: type[np.generic], big_endian: bool
) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(dtype), (12, 11, 10))
    if big_endian:
        to_big_endian(path)
    with MrcReader(path) as reader:
        assert reader.header.shape == (3, 4, 5)
        assert reader.header.voxel_size == pytest.approx((10, 11, 12))
        assert reader.header.dtype.isnative == (not big_endian or dtype == np.int8)
        slices = reader.read(0, 3)
        assert slices.dtype == dtype and slices.dtype.isnative
        np.testing.assert_array_equal(slices, VALUES)
        np.testing.assert_array_equal(reader.read(1, 2), VALUES[1:2])
        assert reader.read(3, 3).shape == (0, 4, 5)


@pytest.mark.parametrize("stop", [-1, 4])
def test_slices_that_do_not_exist(tmp_path: Path, stop: int) -> None:
    with (
        MrcReader(write(tmp_path / "a.mrc", VALUES.astype(np.int8))) as reader,
        pytest.raises(ValueError, match="no sl"),
    ):
        reader.read(0, stop)


@pytest.mark.parametrize(("flags", "expected"), [(0, np.uint8), (1, np.int8), (4, np.uint8)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_unsigned_bytes_of_imod(tmp_path: Path, flags: int, expected: type[np.generic], big_endian: bool) -> None:
    path = write(tmp_path / "a.mrc", np.full((2, 2, 2), -56, np.int8))
    if big_endian:
        to_big_endian(path)
    patch(path, 152, 1146047817, flags, order=">" if big_endian else "<")
    with MrcReader(path) as reader:
        assert reader.header.dtype == expected
        assert reader.read(0, 2).max() == (200 if expected == np.uint8 else -56)


@pytest.mark.parametrize("stamp", [(0x11, 0x11, 0, 0), (0, 0, 0, 0), (0x44, 0x44, 0, 0)])
def test_a_wrong_machine_stamp_is_seen_through(tmp_path: Path, stamp: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int8))
    content = bytearray(path.read_bytes())
    content[212:216] = bytes(stamp)
    path.write_bytes(content)
    assert read_header(path).shape == (3, 4, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages are in memory")
def test_slices_are_fetched_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    volume = np.arange(64 * 256 * 256, dtype=np.uint32).view(np.int8).reshape(-1, 256, 256)
    with MrcWriter(path, (256, 256, 256), np.int8, (1.0, 1.0, 1.0)) as writer:
        writer.write(volume)
    with path.open("rb") as file, MrcReader(path) as reader:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        disk_is_memory = is_in_memory(path)[200]
        reader.fetch_ahead(100, 200)
        deadline = time.monotonic() + 30
        while not is_in_memory(path)[100:200].all() and time.monotonic() < deadline:
            time.sleep(0.01)
        there = is_in_memory(path)
        assert there[100:200].all()
        assert disk_is_memory or not (there[:90].any() or there[210:].any())
        np.testing.assert_array_equal(reader.read(100, 200), volume[100:200])


def is_in_memory(path: Path) -> NDArray[np.bool_]:
    """Whether the kernel has the file's whole slices of 256 x 256 bytes, none of them asked for by this."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), np.uint8)
        content = np.frombuffer(mapped, np.uint8)
        address, length = ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(mapped))
        assert ctypes.CDLL(None).mincore(address, length, ctypes.c_void_p(pages.ctypes.data)) == 0
        del content
    # The header's 1,024 bytes shift the slices, so that each begins in the last page of the one before.
    per_slice = 256 * 256 // mmap.PAGESIZE
    return np.asarray((pages[1:] & 1).reshape(-1, per_slice)[:, :-1].all(axis=1))


def test_an_image_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    with MrcReader(write(tmp_path / "a.mrc", VALUES[0].astype(np.float32))) as reader:
        assert reader.header.shape == (1, 4, 5)
        np.testing.assert_array_equal(reader.read(0, 1), VALUES[:1])


def test_extended_header_and_longer_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int16))
    with mrcfile.open(path, "r+") as mrc:
        mrc.set_extended_header(np.full(200, 7, np.uint8))
        mrc.header.exttyp = b"SERI"
    path.write_bytes(path.read_bytes() + b"more")
    with MrcReader(path) as reader:
        assert reader.header.data_offset == 1224
        np.testing.assert_array_equal(reader.read(2, 3), VALUES[2:])


def test_origin_is_x_y_z(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int8))
    patch(path, 196, 1.5, float("nan"), -3.0)
    assert read_header(path).origin == (1.5, 0.0, -3.0)


@pytest.mark.parametrize(
    ("m", "cell", "expected"),
    [
        ((5, 4, 3), (50.0, 40.0, 60.0), (20, 10, 10)),
        ((5, 4, 1), (50.0, 40.0, 30.0), (10, 10, 10)),  # mz left at 1, height of the volume
        ((5, 4, 1), (50.0, 40.0, 10.0), (10, 10, 10)),  # mz left at 1, height of one slice
        ((5, 4, 1), (0.0, 0.0, 10.0), (0, 0, 0)),  # cannot be told which
        ((0, 0, 0), (50.0, 40.0, 30.0), (10, 10, 10)),
        ((5, 4, 3), (0.0, float("nan"), -30.0), (0, 0, 0)),
        ((5, 4, 3), (50.0, float("inf"), 30.0), (10, 0, 10)),
    ],
)
def test_voxel_size(
    tmp_path: Path, m: tuple[int, ...], cell: tuple[float, ...], expected: tuple[float, float, float]
) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int8))
    patch(path, 28, *m, *cell)
    assert read_header(path).voxel_size == pytest.approx(expected)


def test_the_header_counts_and_apix_is_the_fallback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mrc"
    assert resolve_voxel_size(header_with((500, 16, 15), path), 15.68) == (500, 16, 15)
    assert not caplog.records
    for _ in range(2):
        assert resolve_voxel_size(header_with((0, 0, 15), path), 15.68) == (15.68, 15.68, 15)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"{path} has no voxel size along z, y in its header, so apix 15.68 is used."


def test_header_and_apix_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert resolve_voxel_size(header_with((10, 10, 10), tmp_path / "b.mrc"), 15.68) == (10, 10, 10)
    assert resolve_voxel_size(header_with((10, 10, 10), tmp_path / "c.mrc"), 11.0) == (10, 10, 10)
    (record,) = caplog.records
    assert "b.mrc has pixels of 10 x 10 A by its header, which counts, but apix is 15.68" in record.getMessage()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"There is no file .*a\.mrc: check the name"):
        read_header(tmp_path / "a.mrc")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="is a folder, not an MRC file"):
        read_header(tmp_path)


def test_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mrc")
    with pytest.raises(PomError, match="is not an ordinary file"):
        read_header(tmp_path / "a.mrc")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x00" * 100, "is no MRC file: it has 100 bytes where the header alone takes 1024"),
        (b"text" * 1000, "is no MRC file: its header lacks the mark MAP"),
        (gzip.compress(bytes(5000), mtime=0), "is compressed with gzip: unpack it with gunzip"),
        (bz2.compress(bytes(5000)), "is compressed with bzip2: unpack it with bunzip2"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(content)
    with pytest.raises(PomError, match=rf"a\.mrc {message}"):
        read_header(path)


def test_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-17])
    with pytest.raises(
        PomError, match="is cut short: 17 bytes are missing for 3 x 4 x 5 voxels of float32; copy or re"
    ):
        read_header(path)
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(PomError, match="is cut short: 240 bytes are missing"):
        read_header(path)


def test_truncated_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.float32))
    with MrcReader(path) as reader:
        os.truncate(path, 1024 + 100)
        with pytest.raises(PomError, match="is cut short: 140 bytes are missing"):
            reader.read(0, 3)


@pytest.mark.parametrize("mode", [3, 4, 101, -1])
def test_unsupported_mode(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int16))
    patch(path, 12, mode)
    with pytest.raises(PomError, match=f"is of MRC mode {mode}, which Pom does not read: convert it to mode 0"):
        read_header(path)


@pytest.mark.parametrize(("offset", "value"), [(0, 0), (4, -4), (8, 0), (92, -2000)])
def test_damaged_header(tmp_path: Path, offset: int, value: int) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int16))
    patch(path, offset, value)
    with pytest.raises(PomError, match="has a damaged header"):
        read_header(path)


def test_gigabytes_announced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int16))
    patch(path, 0, 1 << 20, 1 << 20, 1 << 20)
    with pytest.raises(PomError, match="is cut short: 2305843009213693832 bytes are missing"):
        read_header(path)


def test_no_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", VALUES.astype(np.int16))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read everything, so be somebody else meanwhile
            os.seteuid(65534)
        with pytest.raises(PomError, match=r"a\.mrc cannot be read for lack of permission"):
            read_header(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int16])
def test_placeholder_of_the_published_pom(tmp_path: Path, dtype: type[np.generic]) -> None:
    assert is_placeholder(write(tmp_path / "a.mrc", np.full((10, 10, 10), -1, dtype)))


def test_other_files_are_no_placeholders(tmp_path: Path) -> None:
    assert not is_placeholder(tmp_path / "missing.mrc")
    assert not is_placeholder(write(tmp_path / "a.mrc", np.full((10, 10, 11), -1, np.int8)))
    almost = np.full((10, 10, 10), -1, np.int8)
    almost[9, 9, 9] = 0
    assert not is_placeholder(write(tmp_path / "b.mrc", almost))
    (tmp_path / "c.mrc").write_text("text")
    assert not is_placeholder(tmp_path / "c.mrc")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with MrcWriter(tmp_path / "a.mrc", (3, 4, 5), np.int8, (30, 20, 10), (1, 2, 3)) as writer:
        writer.write(VALUES.astype(np.int8))
    header = read_header(tmp_path / "a.mrc")
    assert header == MrcHeader(tmp_path / "a.mrc", (3, 4, 5), np.dtype(np.int8), (30, 20, 10), (1, 2, 3), 1024)
