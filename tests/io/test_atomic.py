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


def old_and_files(folder: Path) -> list[Path]:
    """Something for a new ``store.x`` to take the place of: the old one, and two files beside it."""
    (folder / "store.x" / "deep").mkdir(parents=True)
    (folder / "store.x" / "deep" / "old").touch()
    files = [folder / "a.mrc", folder / "b.mrc"]
    for path in files:
        path.write_text("old")
    return files


def test_a_new_folder_takes_the_place_of_the_old_and_of_files(tmp_path: Path) -> None:
    files = old_and_files(tmp_path)
    with atomic_folder(tmp_path / "store.x", instead_of=[*files, tmp_path / "gone"]) as folder:
        (folder / "new").touch()
        assert names(tmp_path)[1:] == ["a.mrc", "b.mrc", "store.x"]
    assert names(tmp_path) == ["store.x"]
    assert names(tmp_path / "store.x") == ["new"]
    with atomic_folder(tmp_path / "other", instead_of=()):  # where nothing is
        pass
    assert names(tmp_path) == ["other", "store.x"]


def test_a_link_in_its_place_goes_but_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").touch()
    (tmp_path / "store.x").symlink_to(tmp_path / "elsewhere")
    with atomic_folder(tmp_path / "store.x", instead_of=()):
        pass
    assert names(tmp_path) == ["elsewhere", "store.x"]
    assert not (tmp_path / "store.x").is_symlink()
    assert names(tmp_path / "elsewhere") == ["a"]


@pytest.mark.parametrize("fails", ["store.x", "a.mrc", "b.mrc", ".store"])
def test_all_is_as_it_was_if_something_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    files = old_and_files(tmp_path)
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        to_its_place = path.parent.name.startswith(".")
        if path.name.startswith(fails) and not to_its_place:
            raise OSError(errno.EBUSY, "busy", str(path), None, str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    message = r"store\.x cannot be written \(busy\)"
    with pytest.raises(PomError, match=message), atomic_folder(tmp_path / "store.x", instead_of=files) as folder:
        (folder / "new").touch()
    assert names(tmp_path) == ["a.mrc", "b.mrc", "store.x"]
    assert names(tmp_path / "store.x") == ["deep"]
    assert [path.read_text() for path in files] == ["old", "old"]


def test_ctrl_c_right_behind_the_last_rename_leaves_the_new_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = old_and_files(tmp_path)
    rename = Path.rename

    def renamed(path: Path, target: Path) -> Path:
        new = rename(path, target)
        if target == tmp_path / "store.x":
            raise KeyboardInterrupt
        return new

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "store.x", instead_of=files) as folder:
            (folder / "new").touch()
    # Files beside it would be read in its place, and the store that was there before is gone.
    assert names(tmp_path) == ["store.x"]
    assert names(tmp_path / "store.x") == ["new"]


KILLED_WHILE_REPLACING = """
import os, pathlib, shutil, sys
from pom.io.atomic import atomic_folder

folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rename, remove = pathlib.Path.rename, shutil.rmtree

def step():
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), 9)

def renamed(path, target):
    step()
    return rename(path, target)

def removed(*arguments, **options):
    step()
    return remove(*arguments, **options)

pathlib.Path.rename, shutil.rmtree = renamed, removed
with atomic_folder(folder / "store.x", instead_of=[folder / "a.mrc", folder / "b.mrc"]) as new:
    (new / "new").touch()
"""


@pytest.mark.parametrize(("steps", "is_new"), [(0, False), (1, False), (2, False), (3, False), (4, True)])
def test_a_kill_while_it_is_replaced_leaves_the_old_or_the_new(tmp_path: Path, steps: int, is_new: bool) -> None:
    """Three are set aside, the new one is renamed, the old are removed: killed before each of these steps."""
    files = old_and_files(tmp_path)
    command = [sys.executable, "-c", KILLED_WHILE_REPLACING, str(tmp_path), str(steps)]
    assert subprocess.run(command, check=False).returncode == -9
    assert (names(tmp_path)[-1] == "store.x") == (steps in (0, 4))
    atomic._swept.discard(tmp_path.resolve())
    write_text(tmp_path / "z", "the next that writes here")
    if is_new:
        assert names(tmp_path) == ["store.x", "z"]
        assert names(tmp_path / "store.x") == ["new"]
    else:
        assert names(tmp_path) == ["a.mrc", "b.mrc", "store.x", "z"]
        assert names(tmp_path / "store.x" / "deep") == ["old"]
        assert [path.read_text() for path in files] == ["old", "old"]


def test_what_was_made_again_since_is_not_put_back(tmp_path: Path) -> None:
    files = old_and_files(tmp_path)
    command = [sys.executable, "-c", KILLED_WHILE_REPLACING, str(tmp_path), "3"]
    assert subprocess.run(command, check=False).returncode == -9
    files[0].write_text("made again")
    write_text(tmp_path / "z", "the next that writes here")
    assert names(tmp_path) == ["a.mrc", "b.mrc", "store.x", "z"]
    assert [path.read_text() for path in files] == ["made again", "old"]


def test_old_ones_that_cannot_be_removed_are_out_of_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = old_and_files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pom.io.atomic.shutil.rmtree", lambda *_, **__: None)  # as if killed between
        with atomic_folder(tmp_path / "store.x", instead_of=files):
            pass
    left, new = names(tmp_path)
    assert new == "store.x"
    assert left.startswith(".store.pom-")
    assert left.endswith(".x")


def test_a_file_is_removed_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    remove_file(tmp_path / "a")
    remove_file(tmp_path / "a")
    assert names(tmp_path) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(PomError, match="folder cannot be"):
        remove_file(tmp_path / "folder")
