"""Files and folders that appear whole or not at all: write beside the target, fsync, rename.

A process that is killed (SIGKILL, power) can leave its temporary file behind. Such a leftover is hidden, never
read, and removed by the next process that writes into that folder: at once if the process that made it ran on
this machine, since that was started, and is gone, else when it has not been touched for a day. What was set aside for
a new folder that never came is put back then.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pom.errors import DiskError, PomError
from pom.io.processes import is_running, place

SECONDS_UNTIL_STALE = 24 * 3600.0
_ASIDE = "-aside"
_LEFTOVER = re.compile(
    r"^\.(?P<stem>.*)\.pom-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}"
    rf"(?P<aside>{_ASIDE})?(?P<suffix>\.[^.]*)?$",
    re.DOTALL,
)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}

_swept: set[Path] = set()


@contextmanager
def atomic_path(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``; what is written there becomes ``path`` at the end.

    The temporary name starts with a dot and keeps the suffix of ``path`` (some writers go by it). Missing parent
    folders are made. On success the file is flushed to disk and renamed over ``path``; on any exception it is
    removed, and an older ``path`` stays as it was.

    Args:
        path: the file.
        lasting: whether it must be there after a power failure too; waiting for the disk takes a while.

    Raises:
        PomError: the file cannot be written (full disk, read-only folder, ...). An OSError of the body that
            names another file passes unchanged.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        yield temporary
        if lasting:
            _flush_to_disk(temporary)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and _concerns(error, path, temporary):
            raise write_error(path, error) from error
        raise
    if lasting:
        _flush_folder(path.parent)


@contextmanager
def atomic_folder(path: Path, *, instead_of: Sequence[Path] | None = None) -> Iterator[Path]:
    """Yields a new temporary folder beside ``path``, which becomes ``path`` at the end.

    On any exception the temporary folder is removed with all that is in it. The files in it are flushed to disk by
    whoever writes them.

    Args:
        path: the folder.
        instead_of: files beside ``path`` that it takes the place of, and of an older ``path`` too: they are set aside,
            the new folder gets its name, and only then are they removed. A process that is killed meanwhile leaves
            either the old or the new. Without it, ``path`` must be free.

    Raises:
        PomError: the folder cannot be written, or ``path`` is there at the end and must not be; one of the body names
            ``path`` where it named the temporary folder.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        temporary.mkdir()
        yield temporary
        if instead_of is None:
            temporary.rename(path)
        else:
            _replace(temporary, path, instead_of)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and _concerns(error, path, temporary):
            raise write_error(path, error) from error
        if isinstance(error, PomError) and str(temporary) in str(error):
            raise type(error)(str(error).replace(str(temporary), str(path))) from error
        raise
    _flush_folder(path.parent)


def remove_file(path: Path) -> None:
    """Removes a file, if it is there.

    Raises:
        PomError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def write_bytes(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Writes ``content`` to ``path``, whole or not at all; see ``atomic_path``.

    Raises:
        PomError: the file cannot be written.
    """
    with atomic_path(path, lasting=lasting) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, lasting: bool = True) -> None:
    """Writes ``text`` (UTF-8, line ends as they are) to ``path``, whole or not at all; see ``atomic_path``.

    Raises:
        PomError: the file cannot be written.
    """
    write_bytes(path, text.encode(), lasting=lasting)


def write_json(path: Path, obj: object, *, lasting: bool = True) -> None:
    """Writes ``obj`` as indented JSON to ``path``, whole or not at all; see ``atomic_path``.

    Raises:
        PomError: the file cannot be written.
        TypeError: ``obj`` holds something that JSON has no form for.
    """
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False) + "\n", lasting=lasting)


def write_error(path: Path, error: OSError) -> PomError:
    """Says in one sentence why ``path`` cannot be written and what to do."""
    if error.errno in _NO_SPACE:
        return DiskError(f"The disk is full, so {path} was not written: free some space there and run this again.")
    if error.errno in _NO_PERMISSION:
        return DiskError(
            f"{path} cannot be written because its folder is read-only for you: "
            "change the folder's permissions or work in another folder."
        )
    if error.errno == errno.EFBIG:
        return PomError(f"{path} would be larger than files may be here: raise the file size limit (ulimit -f).")
    reason = error.strerror or str(error)
    return PomError(f"{path} cannot be written ({reason}): check that folder and its disk.")


def _concerns(error: OSError, path: Path, temporary: Path) -> bool:
    """Whether the error comes from writing ``path``: a failed write names no file, a failed open names its own."""
    if not isinstance(error.filename, str | bytes):
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (path, temporary) or named in path.parents


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Makes the rename itself last; some network file systems cannot, and the file is there all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, path: Path, others: Sequence[Path]) -> None:
    """Renames the temporary folder to ``path``, and removes what was there and the other files.

    All that was there waits in one hidden folder. Whether ``path`` is there tells what is to become of it: so the old
    ``path`` goes first, and comes back last.

    Raises:
        PomError: one of them cannot be renamed; then all are as they were.
    """
    aside = _temporary(path, _ASIDE)
    try:
        aside.mkdir()
        for old in (path, *others):
            with contextlib.suppress(FileNotFoundError):
                old.rename(aside / old.name)
        temporary.rename(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the next process tries again
            if temporary.exists():
                _put_back(aside, path.name)
            else:  # Ctrl-C came right behind the last rename
                shutil.rmtree(aside)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise
    _flush_folder(path.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(aside: Path, last: str) -> None:
    """Gives what was set aside its place again, unless something has come there since; ``last`` last.

    Raises:
        OSError: that cannot be; what was not put back is still set aside.
    """
    for old in sorted(aside.iterdir(), key=lambda old: old.name == last):
        if not os.path.lexists(aside.parent / old.name):
            old.rename(aside.parent / old.name)
    shutil.rmtree(aside, ignore_errors=True)


def _temporary(path: Path, mark: str = "") -> Path:
    return path.with_name(f".{path.stem}.pom-{_place()}-{os.getpid()}-{secrets.token_hex(4)}{mark}{path.suffix}")


def _place() -> str:
    """Where a process number means something, in eight letters."""
    return f"{zlib.crc32(place().encode()):08x}"


def _sweep(folder: Path) -> None:
    """Removes the leftovers of killed processes, once per folder and process: a listing for every file is slow."""
    folder = folder.resolve()
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            leftover = _LEFTOVER.match(entry.name)
            if leftover and _is_stale(entry, leftover["place"], int(leftover["pid"])):
                with contextlib.suppress(OSError):
                    _clear(entry, leftover)


def _clear(entry: os.DirEntry[str], leftover: re.Match[str]) -> None:
    """Removes a leftover, or puts back what was set aside for a folder that never came."""
    made_for = f"{leftover['stem']}{leftover['suffix'] or ''}"
    path = Path(entry.path)
    if leftover["aside"] and not os.path.lexists(path.with_name(made_for)):
        _put_back(path, made_for)
    elif entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        Path(entry.path).unlink()


def _is_stale(entry: os.DirEntry[str], made_at: str, pid: int) -> bool:
    if made_at == _place():
        return not is_running(pid)
    return time.time() - entry.stat().st_mtime > SECONDS_UNTIL_STALE
