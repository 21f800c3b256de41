import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from pom.errors import PomError
from pom.io.mrc import MrcReader, MrcWriter


@pytest.fixture
def tiny_disk(disk_of: Callable[[str], Path]) -> Path:
    """A disk of 1 MiB."""
    return disk_of("1m")


def write(path: Path, volume: NDArray[np.generic], n_slices: int | None = None) -> None:
    with MrcWriter(path, (n_slices or len(volume), *volume.shape[1:]), volume.dtype, (30.0, 20.0, 10.0)) as writer:
        for z in range(0, len(volume), 3):
            writer.write(volume[z : z + 3])


@pytest.mark.parametrize(
    ("dtype", "low", "high", "mode"), [(np.int8, -128, 127, 0), (np.uint8, 0, 255, 6), (np.float32, -1, 3, 2)]
)
def test_round_trip_is_valid_mrc(tmp_path: Path, dtype: DTypeLike, low: int, high: int, mode: int) -> None:
    volume = np.random.default_rng(0).uniform(low, high, (7, 31, 45)).astype(dtype)
    path = tmp_path / "new folder" / "a__b.mrc"
    with MrcWriter(path, (7, 31, 45), dtype, (30.0, 20.0, 10.0), (-1.0, 2.0, 3.5)) as writer:
        writer.write(volume[:3])
        writer.write(volume[3:])
        assert not path.exists()
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        np.testing.assert_array_equal(mrc.data, volume)
        assert mrc.header.mode == mode
        assert mrc.is_volume()
        assert mrc.voxel_size.item() == (10, 20, 30)
        assert mrc.header.origin.item() == (-1, 2, 3.5)
        statistics = (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms)
    expected = (volume.min(), volume.max(), volume.mean(dtype=np.float64), volume.std(dtype=np.float64))
    assert statistics == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_memory_layouts(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)
    write(tmp_path / "a.mrc", np.asfortranarray(volume))
    write(tmp_path / "b.mrc", volume[::-1])
    with MrcReader(tmp_path / "a.mrc") as a, MrcReader(tmp_path / "b.mrc") as b:
        np.testing.assert_array_equal(a.read(0, 6), volume)
        np.testing.assert_array_equal(b.read(0, 6), volume[::-1])
    assert mrcfile.validate(tmp_path / "b.mrc")


def test_an_incomplete_volume_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only 3 of 5 slices"):
        write(tmp_path / "a.mrc", np.zeros((3, 4, 4), np.int8), n_slices=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_an_exception_leaves_the_older_file(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "a.mrc", np.ones((2, 4, 4), np.int8))
    before = (tmp_path / "a.mrc").read_bytes()
    with pytest.raises(type(error)), MrcWriter(tmp_path / "a.mrc", (2, 4, 4), np.int8, (1, 1, 1)) as writer:
        writer.write(np.zeros((2, 4, 4), np.int8))
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.mrc"]
    assert (tmp_path / "a.mrc").read_bytes() == before


@pytest.mark.parametrize(
    "slices", [np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5), np.int8), np.zeros((3, 4, 4), np.int8)]
)
def test_refuses_slices_that_do_not_fit(tmp_path: Path, slices: NDArray[np.generic]) -> None:
    with (
        pytest.raises(ValueError, match="does not fit"),
        MrcWriter(tmp_path / "a.mrc", (2, 4, 4), np.int8, (1, 1, 1)) as writer,
    ):
        writer.write(slices)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shape", "dtype"), [((2, 4, 4), np.float64), ((2, 0, 4), np.int8)])
def test_refuses_other_types_and_empty_volumes(tmp_path: Path, shape: tuple[int, int, int], dtype: DTypeLike) -> None:
    with pytest.raises(ValueError, match="is not written"):
        MrcWriter(tmp_path / "a.mrc", shape, dtype, (1, 1, 1))


def test_full_disk(tiny_disk: Path) -> None:
    with pytest.raises(PomError, match=r"The disk is full, so .*a\.mrc was not written: free some space"):
        write(tiny_disk / "a.mrc", np.zeros((9, 512, 512), np.int8))
    assert list(tiny_disk.iterdir()) == []


def test_full_disk_at_the_header(tiny_disk: Path) -> None:
    """A disk that the voxels fill leaves no room for the header, which is written last."""
    (tiny_disk / "other").write_bytes(bytes((1 << 20) - 3 * 4096))
    with pytest.raises(PomError, match="The disk is full"):
        write(tiny_disk / "a.mrc", np.zeros((4, 64, 64), np.int8))
    assert [p.name for p in tiny_disk.iterdir()] == ["other"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from pom.errors import PomError
from pom.io.mrc import MrcWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with MrcWriter(Path(sys.argv[1]), (9, 128, 128), np.int8, (1, 1, 1)) as writer:
        for z in range(9):
            writer.write(np.zeros((1, 128, 128), np.int8))
except PomError as error:
    sys.exit(str(error))
"""


def test_limited_file_size(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a.mrc")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "a.mrc would be larger than files may be here" in run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file")
    with pytest.raises(PomError, match=r"a\.mrc cannot be written"):
        write(tmp_path / "output" / "a.mrc", np.zeros((2, 4, 4), np.int8))


def test_read_only_folder(tiny_disk: Path, make_read_only: Callable[[Path], None]) -> None:
    make_read_only(tiny_disk)
    with pytest.raises(PomError, match=r"a\.mrc cannot be written because its folder is read-only"):
        write(tiny_disk / "a.mrc", np.zeros((2, 4, 4), np.int8))
