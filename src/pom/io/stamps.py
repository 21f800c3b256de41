"""Whether a file is still the one it was: by when it was written, its size, and which file it is."""

import errno
import os
from pathlib import Path

FileStamp = tuple[int, int, int]
"""Of a file: what differs once another has taken its place."""


def stamp_of(status: os.stat_result) -> FileStamp:
    """When a file was written (ns), its size (bytes) and its inode: others, once the file is another one."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def file_stamp(path: Path) -> FileStamp:
    """That of a file as it is now; zeros where it is not there or cannot be looked at, which its reader will say."""
    try:
        return stamp_of(path.stat())
    except OSError:
        return 0, 0, 0


def written_at(path: Path) -> float | None:
    """When a file was written, in seconds since 1970; None where there is none, for one since its name is too long.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        return path.stat().st_mtime
    except OSError as error:
        if is_absent(error):
            return None
        raise


def is_absent(error: OSError) -> bool:
    """Whether an error says that there is no such file, for one since its name is too long for there to be one."""
    return error.errno in (errno.ENOENT, errno.ENAMETOOLONG)


def stamp_text(*stamps: FileStamp) -> str:
    """The stamps of one or more files as a short text."""
    return "-".join(f"{number:x}" for stamp in stamps for number in stamp)
