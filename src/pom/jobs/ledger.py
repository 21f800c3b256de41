"""What the workers of a step write down for each other and for people: failures, records, who works on what.

Every entry is a small JSON file of its own that appears whole or not at all, so that any number of processes on any
number of hosts may read and write without a lock. The name of a tomogram is the name of its file.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pom.errors import PomError
from pom.io.atomic import write_error, write_json
from pom.io.stamps import FileStamp, stamp_of, written_at
from pom.project.listing import list_files

MOST_TRIES = 3
"""A tomogram that failed so many times is left alone until a person says otherwise."""

ENDING = ".json"
READERS = 8
"""Files read at a time; on a network disk one file after the other takes ten seconds for 10,000."""


class Entry(BaseModel):
    """What the entries have in common; a key of a later version of the program is passed over."""

    model_config = ConfigDict(frozen=True)


class Try(Entry):
    """One failed attempt at a tomogram."""

    host: str
    device: str
    """``cuda:0``, ``cpu``."""
    started: float
    """Seconds since 1970."""
    seconds: float
    """How long it went well."""
    reason: str
    """One sentence."""
    traceback: str
    log: str
    """The path of the worker's log, empty where there is none."""


class InputFile(Entry):
    """A file as it was when it was read."""

    file: str
    bytes: int
    modified: float
    """Seconds since 1970."""


class Record(Entry):
    """Where the outputs of one tomogram come from."""

    tomogram: str
    step: str
    network: str
    """The SHA-256 of the network's weights, as in its card."""
    configuration: str
    """The SHA-256 of the project configuration."""
    inputs: dict[str, InputFile]
    """By channel."""
    version: str
    """Of this program."""
    host: str
    device: str
    started: float
    """Seconds since 1970."""
    seconds: float
    """How long it took."""
    outputs: tuple[str, ...]
    """The names of the files."""
    unlike: float | None = None
    """How unlike the network's training data the tomogram is: over 1 it is farther than nearly all known patches."""

    @property
    def finished(self) -> float:
        """When the outputs were whole, in seconds since 1970."""
        return self.started + self.seconds


class WorkerNote(Entry):
    """What one worker is at."""

    host: str
    place: str = ""
    """Where its number means something (see ``pom.io.processes.place``); empty in a note of an earlier version."""
    pid: int
    device: str
    tomogram: str
    since: float
    """Seconds since 1970."""
    log: str
    """The path of its log, empty where there is none."""


class Tries(Entry):
    """The file of a tomogram that failed."""

    tomogram: str
    tries: tuple[Try, ...]


AnyEntry = TypeVar("AnyEntry", bound=Entry)


class Ledger:
    """The entries of one step.

    Missing folders are made by the first write; reading makes none. What is not there or damaged reads as absent.
    Writing raises a PomError where the disk is full or the folder is read-only.

    Args:
        jobs: the step's folder for what only matters while there is work to do.
        records: its folder for what stays beside the outputs.
    """

    def __init__(self, jobs: Path, records: Path) -> None:
        self._failures = jobs / "failures"
        self._workers = jobs / "workers"
        self._records = records
        self._known: dict[str, tuple[FileStamp, Record | None]] = {}

    # Records

    def write_record(self, record: Record) -> None:
        """Writes where a tomogram's outputs come from, in place of an older record."""
        _write(self._records / f"{record.tomogram}{ENDING}", record)

    def record(self, name: str) -> Record | None:
        """The record of a tomogram; None where there is none, or a damaged one."""
        return _read(Record, self._records / f"{name}{ENDING}")

    def finished_at(self, name: str) -> float | None:
        """When the record of a tomogram was written, in seconds since 1970 on the disk's clock; None without one.

        It costs one look at the file and tells whether somebody did the tomogram again.
        """
        return written_at(self._records / f"{name}{ENDING}")

    def recorded(self) -> set[str]:
        """The names of the tomograms that have a record, for the price of one listing."""
        return _names(self._records)

    def records(self) -> Iterator[Record]:
        """All records that are not damaged; one that has been read and has not changed since is not read again."""
        stamps = self._stamps()
        known = {name: entry for name, entry in self._known.items() if stamps.get(name) == entry[0]}
        unread = [name for name in stamps if name not in known]
        for name, record in zip(unread, self._read_records(unread), strict=True):
            known[name] = (stamps[name], record)
        self._known = known
        return (record for _, record in known.values() if record is not None)

    def _stamps(self) -> dict[str, FileStamp]:
        stamps: dict[str, FileStamp] = {}
        try:
            with os.scandir(self._records) as entries:
                for entry in entries:
                    if _is_entry(entry.name):
                        with contextlib.suppress(FileNotFoundError):  # a record may go while its folder is listed
                            status = entry.stat()
                            stamps[_stem(entry.name)] = stamp_of(status)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PomError(f"The folder {self._records} cannot be read: {error.strerror or error}.") from error
        return stamps

    def _read_records(self, names: Sequence[str]) -> list[Record | None]:
        if not names:
            return []
        # A few long shares: handing each file to a thread by itself takes longer than reading it.
        size = -(-len(names) // READERS)
        shares = [names[start : start + size] for start in range(0, len(names), size)]
        with ThreadPoolExecutor(len(shares), "records") as readers:
            read = readers.map(lambda share: [self.record(name) for name in share], shares)
            return [record for share in read for record in share]

    # Failures

    def add_try(self, name: str, attempt: Try) -> int:
        """Adds a failed attempt to those of a tomogram; only who holds its claim may do so.

        Returns:
            How many there are now; the most there may be where no file can bear the name, as one more try would be
            noted no better.
        """
        tries = Tries(tomogram=name, tries=(*self.tries(name), attempt))
        try:
            _write(self._failures / f"{name}{ENDING}", tries)
        except (PomError, UnicodeError) as error:
            if not is_fault_of_name(error):
                raise
            return MOST_TRIES
        return len(tries.tries)

    def tries(self, name: str) -> tuple[Try, ...]:
        """The failed attempts at a tomogram, oldest first."""
        found = _read(Tries, self._failures / f"{name}{ENDING}")
        return () if found is None else found.tries

    def failures(self) -> dict[str, tuple[Try, ...]]:
        """The failed attempts by tomogram, sorted by name; also of those that will be tried again by themselves."""
        tries = {name: self.tries(name) for name in sorted(_names(self._failures))}
        return {name: attempts for name, attempts in tries.items() if attempts}

    def forget(self, name: str) -> None:
        """Clears the failed attempts at a tomogram, if there are any: it was done, or is to be tried again."""
        _remove(self._failures / f"{name}{ENDING}")

    # Workers

    def note(self, worker: WorkerNote) -> None:
        """Writes what a worker is at, in place of its last note."""
        # Nobody needs it after a power failure, and it is written before every tomogram.
        _write(self._worker(worker.place or worker.host, worker.pid), worker, lasting=False)

    def drop(self, place: str, pid: int) -> None:
        """Removes the note of a worker, if there is one."""
        _remove(self._worker(place, pid))

    def workers(self) -> list[WorkerNote]:
        """All notes, sorted by host and process; a worker that was killed leaves its last one."""
        notes = (_read(WorkerNote, self._workers / f"{name}{ENDING}") for name in _names(self._workers))
        return sorted((note for note in notes if note is not None), key=lambda note: (note.host, note.pid))

    def _worker(self, place: str, pid: int) -> Path:
        return self._workers / f"{place}-{pid}{ENDING}"


def is_fault_of_name(error: Exception) -> bool:
    """Whether something was not written for the tomogram's name alone: it is too long, or not UTF-8."""
    cause = error.__cause__
    return isinstance(error, UnicodeError) or (isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG)


def _write(path: Path, entry: Entry, *, lasting: bool = True) -> None:
    write_json(path, entry.model_dump(mode="json"), lasting=lasting)


def _read(kind: type[AnyEntry], path: Path) -> AnyEntry | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def _names(folder: Path) -> set[str]:
    return {_stem(file) for file in list_files(folder) if _is_entry(file)}


def _is_entry(file: str) -> bool:
    # Hidden files are those that are being written.
    return file.endswith(ENDING) and not file.startswith(".")


def _stem(file: str) -> str:
    return file.removesuffix(ENDING)
