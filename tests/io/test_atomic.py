import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pom.errors import PomError
from pom.io import atomic
from pom.io.atomic import (
    atomic_folder,
    atomic_path,
    discard_folder,
    remove_file,
    write_error,
    write_json,
    write_text,
)


@pytest.fixture
def tiny_disk(disk_of: Callable[[str], Path]) -> Path:
    """A disk of 64 KiB."""
    return disk_of("64k")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_at_the_end_and_only_then(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.npz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".npz"
        np.savez(temporary, a=np.arange(3))
        assert not target.exists()
    assert names(target.parent) == ["a.npz"]
    assert np.load(target)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), PomError("no")])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(type(error)), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "old"


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as first, atomic_path(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # it was renamed last


def test_text_and_json_round_trip(tmp_path: Path) -> None:
    write_text(tmp_path / "a b.txt", "5 Å\r\n")
    assert (tmp_path / "a b.txt").read_bytes() == "5 Å\r\n".encode()
    write_json(tmp_path / "a.json", {"name": "Zellhülle", "sizes": (1, 2)})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Zellhülle", "sizes": [1, 2]}
    assert "Zellhülle" in text and text.endswith("}\n")


def test_a_body_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"a\.txt cannot be written"), atomic_path(tmp_path / "a.txt"):
        pass


def test_errors_about_other_files_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        (tmp_path / "elsewhere.txt").read_text()
    assert names(tmp_path) == []


def test_full_disk(tiny_disk: Path) -> None:
    write_text(tiny_disk / "a.txt", "old")
    with pytest.raises(PomError, match=r"The disk is full, so .*a\.txt was not written: free some space"):
        write_text(tiny_disk / "a.txt", "x" * 1_000_000)
    assert names(tiny_disk) == ["a.txt"]
    assert (tiny_disk / "a.txt").read_text() == "old"


def test_read_only_disk(tiny_disk: Path, make_read_only: Callable[[Path], None]) -> None:
    make_read_only(tiny_disk)
    with pytest.raises(PomError, match=r"a\.txt cannot be written because its folder is read-only"):
        write_text(tiny_disk / "a.txt", "text")


def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    try:
        if user == 0:  # root may write everywhere, so be somebody else meanwhile
            os.seteuid(65534)
        with pytest.raises(PomError, match=r"a\.txt cannot be written because its folder is read-only"):
            write_text(tmp_path / "a.txt", "text")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file")
    with pytest.raises(PomError, match=r"a\.txt cannot be written"):
        write_text(tmp_path / "output" / "a.txt", "text")


def test_a_folder_where_the_file_goes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(PomError, match=r"a\.txt cannot be written"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == ["a.txt"]


def test_other_reasons_are_named() -> None:
    assert "ulimit" in str(write_error(Path("a"), OSError(errno.EFBIG, "File too large")))
    assert "(Input/output error)" in str(write_error(Path("a"), OSError(errno.EIO, "Input/output error")))


KILLED = """
import os, sys
from pathlib import Path
from pom.io.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_the_leftover_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert killed.returncode == -9
    (leftover,) = names(tmp_path)
    assert leftover.startswith(".a.pom-")
    write_text(tmp_path / "b.txt", "text")
    assert names(tmp_path) == ["b.txt"]


def test_only_stale_leftovers_are_removed(tmp_path: Path) -> None:
    ours = f".a.pom-{atomic._place()}-{os.getpid()}-01234567.mrc"
    elsewhere = ".a.pom-00000000-999999999-01234567.mrc"
    old = ".b.pom-00000000-1-01234567"
    foreign = ".profile"
    for name in (ours, elsewhere, old, foreign):
        (tmp_path / name).touch()
    day_ago = time.time() - 25 * 3600
    os.utime(tmp_path / old, (day_ago, day_ago))
    os.utime(tmp_path / foreign, (day_ago, day_ago))
    write_text(tmp_path / "c.txt", "text")
    assert names(tmp_path) == sorted([ours, elsewhere, foreign, "c.txt"])


# Folders.


def test_a_folder_appears_at_the_end_with_all_that_is_in_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "new" / "folder.x") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "new" / "folder.x").exists()
        assert folder.name.startswith(".folder.pom-")
    assert names(tmp_path / "new") == ["folder.x"]
    assert (tmp_path / "new" / "folder.x" / "a").read_text() == "1"


def test_a_folder_that_fails_leaves_nothing_and_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=rf"^{tmp_path}/folder/a is bad$"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
        raise PomError(f"{folder / 'a'} is bad")
    assert names(tmp_path) == []


def test_a_folder_is_not_put_over_another(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(PomError, match="folder cannot be written"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["old"]


def test_the_folder_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; from pom.io.atomic import atomic_folder\n"
        f"with atomic_folder(pathlib.Path({str(tmp_path)!r}) / 'folder') as folder:\n"
        "    (folder / 'a').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(names(tmp_path)) == 1
    with atomic_folder(tmp_path / "other"):
        pass
    assert names(tmp_path) == ["other"]


def test_a_discarded_folder_is_gone_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "folder.x" / "deep").mkdir(parents=True)
    (tmp_path / "folder.x" / "deep" / "a").touch()
    discard_folder(tmp_path / "folder.x")
    assert names(tmp_path) == []
    discard_folder(tmp_path / "folder.x")


def test_a_discarded_folder_whose_remains_cannot_be_removed_is_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.x").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("pom.io.atomic.shutil.rmtree", lambda *_, **__: None)  # as if killed between
        discard_folder(tmp_path / "folder.x")
    (left,) = names(tmp_path)
    assert left.startswith(".folder.pom-")
    assert left.endswith(".x")


def test_a_file_is_removed_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    remove_file(tmp_path / "a")
    remove_file(tmp_path / "a")
    assert names(tmp_path) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(PomError, match="folder cannot be"):
        remove_file(tmp_path / "folder")
