"""One expiring lock in a folder that hosts share, and the clock that they share.

A claim is one file under two names (flufl.lock, safe on NFS): the lock, ``TS_001.lock``, which only one worker can
make, and the owner's own ``TS_001.lock|PLACE|PID|RANDOM``, which nobody else ever makes. Its content is the path of the
second name; its modification time is when the claim expires, and the owner puts that off for as long as it lives.

However a claim ends, released or expired, the owner's name goes first and the lock after it. Of several processes that
end the same claim only one can remove the first name, and only that one removes the lock. So nobody, however late,
removes the lock of the next owner; and an owner that lost its claim has nothing left to put off.
"""

import contextlib
import copy
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

from flufl.lock import SEP, AlreadyLockedError, Lock, TimeOutError

from pom.io.processes import place

# It calls an error what is usual here: that another worker has a name.
logging.getLogger("flufl.lock").setLevel(logging.CRITICAL)

_AT_ONCE = timedelta(seconds=-1)


class FolderClock:
    """The clock of the machine that keeps a folder: one for all workers, whatever the clocks of their machines say.

    It is read off the time stamp of a new file; for ``interval`` seconds the machine's clock then goes on from there.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime], interval: float) -> None:
        self._folder = folder
        self._clock = clock
        self._interval = interval
        self._ahead = 0.0
        self._read_at = -math.inf

    def now(self) -> float:
        """Seconds since 1970."""
        if time.monotonic() - self._read_at > self._interval:
            # A folder that is missing or read-only says nothing; then the last reading holds.
            with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._folder) as file:
                stamp = os.fstat(file.fileno()).st_mtime
                # Asked second: a slow server then makes claims seem to last longer, never shorter.
                self._ahead = stamp - self._clock().timestamp()
                self._read_at = time.monotonic()
        return self._clock().timestamp() + self._ahead


class ExpiringLock(Lock):
    """flufl's lock with the file server's time, and ended as the head of this file says; used once."""

    def __init__(self, now: Callable[[], float], lifetime: float) -> None:
        self._seconds_now = now
        super().__init__("", timedelta(seconds=lifetime))

    @property
    def hostname(self) -> str:
        """The host's own name, and its container; what the name server calls it may change or be missing."""
        return place()

    def at(self, lockfile: Path) -> Self:
        """A new lock like this one; made anew it would ask the name server for this host, which can take seconds."""
        lock = copy.copy(self)
        lock._lockfile = str(lockfile)
        lock._set_claimfile()
        return lock

    def acquire(self) -> bool:
        """Makes the lock; False if there is one. Whatever goes wrong on the way, nothing stays behind."""
        try:
            self.lock(timeout=_AT_ONCE)
        except AlreadyLockedError:  # NFS: it was made, the answer was lost, and the second attempt found it
            return True
        except TimeOutError:
            return False
        except BaseException:
            with contextlib.suppress(OSError):
                self.end()
            raise
        return True

    def end(self) -> None:
        """Ends the claim, if it is still this lock's."""
        end_claim(Path(self.lockfile), Path(self.claimfile).name)

    def _touch(self, filename: str | None = None) -> None:
        # flufl's own goes through local time: whole seconds, and an hour wrong when summer time ends.
        expires = self._seconds_now() + self.lifetime.total_seconds()
        with contextlib.suppress(FileNotFoundError):
            os.utime(filename or self.claimfile, (expires, expires))


class Note(NamedTuple):
    """What a lock says: the owner's name of the file ("" if damaged), and when the claim expires."""

    own_name: str
    expires: float


class Owner(NamedTuple):
    """What an owner's file name says."""

    lock: str
    place: str
    pid: int


def read_lock(lockfile: Path) -> Note | None:
    """What a lock says, or None where there is none."""
    # Opened, not only stat'ed: NFS answers a stat from its cache, but asks the server at each open.
    try:
        with lockfile.open("rb") as file:
            expires = os.fstat(file.fileno()).st_mtime
            own_name = os.fsdecode(file.read()).rpartition("/")[2]
    except FileNotFoundError:
        return None
    return Note(own_name if owner_of(own_name) else "", expires)


def end_claim(lockfile: Path, own_name: str) -> bool:
    """Ends the claim whose owner's file is ``own_name``; returns whether it was in force until this very call."""
    if not own_name:
        return False
    note = read_lock(lockfile)
    try:
        lockfile.with_name(own_name).unlink()
    except FileNotFoundError:  # somebody else has ended it; whatever the lock is now, it is not ours to remove
        return False
    in_force = note is not None and note.own_name == own_name
    if in_force:
        lockfile.unlink(missing_ok=True)
    return in_force


def owner_of(file_name: str) -> Owner | None:
    """Takes an owner's file name apart; None for any other file."""
    match file_name.rsplit(SEP, 3):
        case [lock, where, pid, _] if pid.isdecimal():
            return Owner(lock, where, int(pid))
    return None
