"""Claims: a worker's expiring right to process a tomogram, among all workers that share a folder.

What lies in the folder, and why no worker can remove another's claim by mistake, is said in ``locks.py``.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from flufl.lock import SEP

from pom.errors import PomError
from pom.io.atomic import write_error
from pom.io.processes import host_of, is_here, is_running
from pom.io.stamps import written_at
from pom.jobs.locks import ExpiringLock, FolderClock, Owner, end_claim, owner_of, read_lock

log = logging.getLogger(__name__)

LIFETIME = 60.0
"""Seconds from a claim's last refresh until it expires."""

_LOCK = ".lock"
_ESCAPED = str.maketrans({character: f"%{ord(character):02X}" for character in f"%{SEP}\r"})


class ClaimLost(PomError):  # noqa: N818  (what happened, not a fault)
    """A claim has been taken over by another worker: what was done under it must not be written."""


@dataclass(frozen=True)
class Holder:
    """The process that has a claim, and where its number means something (see ``pom.io.processes.place``)."""

    place: str
    pid: int
    expires: float
    """Seconds since 1970, by the clock of the file server."""

    @property
    def host(self) -> str:
        """Where it runs, for people."""
        return host_of(self.place)

    @property
    def is_here(self) -> bool:
        """Whether it runs where its number means something to this process, too."""
        return is_here(self.place)

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have died; of one that is not here nothing is known but when its claim expires."""
        return self.is_here and not is_running(self.pid)


class Claims:
    """All claims of one step, in one folder; those that this object has taken are kept alive by a thread.

    Three rules of time, in lifetimes: a claim is refreshed every 1/4; it counts as expired 1/3 after the time that is
    written on it, so that a late refresh or a clock read wrongly costs nobody its work; a dead worker's claim is free
    between 1 and 1 1/3 after its death. Times are the file server's. Some file systems (Lustre, GPFS) stamp files by
    the client's clock instead: with 60 s all of this holds there for clocks up to 40 s apart.

    Args:
        folder: made when the first claim is taken.
        lifetime: in seconds, the same for all workers.
        clock: this machine's clock.
    """

    def __init__(self, folder: Path, lifetime: float = LIFETIME, clock: Callable[[], datetime] = datetime.now) -> None:
        self._folder = folder.absolute()
        self._lifetime = lifetime
        self._interval, self._grace = lifetime / 4, lifetime / 3
        self._clock = FolderClock(self._folder, clock, self._interval)
        self._model: ExpiringLock | None = None
        self._held: set[Claim] = set()
        self._mutex = threading.Lock()
        self._closing = threading.Event()
        self._refresher: threading.Thread | None = None

    def take(self, name: str) -> "Claim | None":
        """Claims ``name``, or returns None where a living owner has it; never waits.

        Raises:
            PomError: the folder cannot be written.
        """
        lockfile = self._lockfile(name)
        try:
            model = self._start()
            if self.is_taken(name):
                return None
            lock = model.at(lockfile)
            if not (lock.acquire() or (self._end_expired(lockfile) and lock.acquire())):
                return None
        except OSError as error:
            raise write_error(lockfile, error) from error
        claim = Claim(name, lock, self._forget)
        with self._mutex:
            self._held.add(claim)
        return claim

    def is_taken(self, name: str) -> bool:
        """Whether somebody, this process included, has ``name`` and is alive; one ``stat``."""
        expires = written_at(self._lockfile(name))
        return expires is not None and not self._is_expired(expires)

    def holders(self) -> dict[str, Holder]:
        """Who has what, by name: the living claims, from one listing."""
        found = {}
        for entry, owner in self._listing():
            if owner is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # released since it was listed
                status = entry.stat()
                if status.st_nlink > 1 and not self._is_expired(status.st_mtime):
                    found[_name(owner.lock)] = Holder(owner.place, owner.pid, status.st_mtime)
        return found

    def free(self, pid: int) -> list[str]:
        """Ends at once all claims of a process of this place that is known to be dead; returns their names."""
        freed = []
        for entry, owner in self._listing():
            if owner is None or owner.pid != pid or not is_here(owner.place):
                continue
            if end_claim(self._folder / owner.lock, entry.name):
                freed.append(_name(owner.lock))
        return freed

    def free_dead(self, name: str) -> bool:
        """Ends the claim of a process of this place that has died: nobody need wait until it expires.

        Returns:
            Whether it was such a claim; one of another host or container is only judged by its expiry.
        """
        holder = self.holders().get(name)
        return holder is not None and holder.is_dead and name in self.free(holder.pid)

    def close(self) -> None:
        """Releases all claims of this object and stops its thread."""
        if self._refresher is None:
            return
        self._closing.set()
        # Not for ever: a file server that is away may hold the thread, and a worker must be able to end all the same.
        self._refresher.join(self._interval)
        self._refresher = None
        for claim in self._snapshot():
            claim.release()
        with contextlib.suppress(OSError):
            self._sweep()

    def _start(self) -> ExpiringLock:
        """At the first claim: makes the folder, sweeps it, starts the thread. Returns what all locks are copies of."""
        if self._model is None:
            self._model = ExpiringLock(self._clock.now, self._lifetime)
        if self._refresher is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._closing = threading.Event()
            self._refresher = threading.Thread(target=self._refresh, args=(self._closing,), name="claims", daemon=True)
            self._refresher.start()
        return self._model

    def _refresh(self, closing: threading.Event) -> None:
        while not closing.wait(self._interval):
            for claim in self._snapshot():
                claim.refresh()

    def _snapshot(self) -> tuple["Claim", ...]:
        with self._mutex:
            return tuple(self._held)

    def _forget(self, claim: "Claim") -> None:
        with self._mutex:
            self._held.discard(claim)

    def _lockfile(self, name: str) -> Path:
        return self._folder / f"{name.translate(_ESCAPED)}{_LOCK}"

    def _is_expired(self, expires: float) -> bool:
        return self._clock.now() > expires + self._grace

    def _end_expired(self, lockfile: Path) -> bool:
        """Ends the claim that a lock stands for, if it has expired; returns whether the name is free now."""
        note = read_lock(lockfile)
        if note is None:
            return True
        if not self._is_expired(note.expires):
            return False
        if end_claim(lockfile, note.own_name):
            return True
        # The owner's name is gone already: another process is just ending this claim, or died at it, or a crash of
        # the server lost the content. Time tells: a process needs microseconds from the one name to the other.
        if self._is_expired(note.expires + self._grace):
            lockfile.unlink(missing_ok=True)
            return True
        return False

    def _sweep(self) -> None:
        """Removes what dead workers left: expired claims that nobody needs any more, and claims half made."""
        for entry, owner in self._listing():
            with contextlib.suppress(OSError):  # another process may sweep too; what stays is swept another time
                if owner is None and entry.name.endswith(_LOCK):
                    self._end_expired(Path(entry.path))
                elif owner is not None and entry.stat().st_nlink == 1 and self._is_expired(entry.stat().st_mtime):
                    Path(entry.path).unlink()

    def _listing(self) -> Iterator[tuple[os.DirEntry[str], Owner | None]]:
        """The folder's files, each with what its name says if it is an owner's."""
        try:
            entries = os.scandir(self._folder)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                yield entry, owner_of(entry.name)


class Claim:
    """The right to process ``name``, until it is released, at the end of a ``with`` block at the latest."""

    def __init__(self, name: str, lock: ExpiringLock, forget: Callable[["Claim"], None]) -> None:
        self.name = name
        self._lock = lock
        self._forget = forget

    def check(self) -> None:
        """Makes sure, before something is written, that the claim still holds; and then it does for a lifetime.

        Raises:
            ClaimLost: another worker took it over, or the folder cannot be asked.
        """
        try:
            if self._lock.is_locked:  # it puts the expiry off, and then looks
                return
            reason = "another worker may have it now"
        except OSError as error:
            reason = f"its lock cannot be read: {error.strerror or error}"
        seconds = self._lock.lifetime.total_seconds()
        raise ClaimLost(
            f"The claim on {self.name} was lost ({reason}), so this worker writes nothing for it: see that"
            f" the machine and its file server are not held up for more than {seconds:g} s."
        )

    def refresh(self) -> None:
        """Puts the expiry off by a lifetime; a claim that was lost stays lost."""
        try:
            self._lock.refresh(unconditionally=True)
        except OSError as error:  # a full disk, a server that restarts: there is time for two more attempts
            log.warning("The claim on %s was not refreshed (%s), trying again.", self.name, error.strerror or error)

    def release(self) -> None:
        """Lets others have the name; does nothing if the claim was lost or released before."""
        self._forget(self)
        try:
            self._lock.end()
        except OSError as error:
            log.warning(
                "The claim on %s was not removed (%s), so others have to wait until it expires.",
                self.name,
                error.strerror or error,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _name(lock: str) -> str:
    return unquote(lock.removesuffix(_LOCK))
