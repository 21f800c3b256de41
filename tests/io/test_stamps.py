"""Whether a file is still the one it was."""

import os
from pathlib import Path

import pytest

from pom.io.stamps import file_stamp, stamp_of, stamp_text, written_at


def test_another_time_size_or_file_is_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"12")
    status = path.stat()
    seen = [file_stamp(path)]
    assert seen == [stamp_of(status)] and seen[0][1] == 2
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.append(file_stamp(path))
    path.write_bytes(b"123")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.append(file_stamp(path))
    other.write_bytes(b"12")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    seen.append(file_stamp(path))
    assert len(set(seen)) == len({stamp_text(stamp) for stamp in seen}) == 4


def test_no_file_is_zeros(tmp_path: Path) -> None:
    assert file_stamp(tmp_path / "none") == (0, 0, 0)
    assert stamp_text((1, 16, 255), (0, 0, 0)) == "1-10-ff-0-0-0"


def test_when_a_file_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.utime(path, (1000.0, 5000.5))
    assert written_at(path) == 5000.5
    assert written_at(tmp_path / "none") is None
    assert written_at(tmp_path / ("x" * 256)) is None
    with pytest.raises(NotADirectoryError):
        written_at(path / "b")
