"""`pom` commands that run behind the web page, and go on when the page and its server are gone.

Each job is started by a small process of its own, the runner, in a process group of its own. The runner writes the
job's state file, at the beginning and at the end, and nobody else does; it holds a claim on the command, so that the
same command never runs twice, on whichever host. What the command says goes to a log file beside the state.
"""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, ConfigDict, ValidationError

from pom.errors import PomError
from pom.io.atomic import write_error, write_json
from pom.io.processes import identity_of, is_here, is_running, place
from pom.io.stamps import FileStamp, file_stamp
from pom.jobs.claims import Claims
from pom.project.listing import list_files

POM = (sys.executable, "-m", "pom")
MOST_KEPT = 30
"""So many jobs are remembered; of older ones state and log are removed."""
SECONDS_TO_START = 30.0
LAST_BYTES = 64 * 1024
"""So much of the end of a log is read to tell how far a job is."""

_STATE, _LOG = ".json", ".log"
_COUNT = re.compile(r"\b(\d+) of (\d+)\b")
_ERROR, _WARNING, _TRACEBACK = "Error: ", "Warning: ", "Traceback (most recent call last):"
_NOT_DONE = re.compile(f"{_WARNING}.*? (?:failed|left out): ")
_TAKEN = 75  # sysexits.h: try again later


class State(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"
    """It ended without a word: it was killed, or the machine went down."""


class Job(BaseModel):
    """What the state file of a job says. Times are in seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    id: str
    command: tuple[str, ...]
    """What stands after ``pom``: ``single``, ``train``, ``-o``, ``Vesicle``."""
    host: str
    place: str = ""
    """Where its process number means something (see ``pom.io.processes.place``)."""
    pid: int
    """Of the runner; its process group bears the same number."""
    process: str
    """What tells that process from a later one of the same number; empty where that could not be told."""
    started: float
    finished: float | None = None
    exit_status: int | None = None
    """As subprocess has it: negative for the signal that ended the command."""
    stopped: bool = False
    """Whether somebody asked for it to be stopped."""


@dataclass(frozen=True)
class JobReport:
    """A job, how it stands, and what it said last.

    ``done`` and ``total``: from the last line that counts, such as 'epoch 3 of 100'; 0 where none does yet. ``reason``:
    why it failed, as far as it said so; empty unless it failed.
    """

    job: Job
    state: State
    done: int
    total: int
    lines: tuple[str, ...]
    reason: str = ""


class BackgroundJobs:
    """The jobs of one project.

    Args:
        folder: of the states and logs; made by the first job.
        working_folder: where the commands run, the project's folder.
        program: what the commands are given to.
    """

    def __init__(self, folder: Path, working_folder: Path, program: Sequence[str] = POM) -> None:
        self._folder = folder.absolute()
        self._working_folder = working_folder.absolute()
        self._program = tuple(program)
        self._claims = Claims(_claims_folder(self._folder))
        self._jobs: dict[str, tuple[FileStamp, Job | None]] = {}
        self._said: dict[str, tuple[FileStamp, tuple[str, ...]]] = {}
        """The last lines of the logs; of these and of the states only those that have changed are read again."""

    def start(self, command: Sequence[str]) -> Job:
        """Starts ``pom`` with the arguments ``command`` and returns as soon as it runs.

        Raises:
            PomError: the same command runs already, or nothing can be started.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self._folder, error) from error
        if self._claims.is_taken(_claim_name(command)) and not self._claims.free_dead(_claim_name(command)):
            raise PomError(f"'pom {' '.join(command)}' is running already: wait for its end, or stop it.")
        self._clear_old()
        identifier = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        log = self._folder / f"{identifier}{_LOG}"
        line = [sys.executable, "-m", "pom.jobs.background", str(self._folder), identifier, str(len(command))]
        try:
            with log.open("xb") as output:
                runner = subprocess.Popen(
                    [*line, *command, *self._program],
                    cwd=self._working_folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
        except OSError as error:
            raise write_error(log, error) from error
        # Whoever starts a process has to take note of its end, or it stays in the table of processes.
        threading.Thread(target=runner.wait, name=f"job {identifier}", daemon=True).start()
        return self._begun(identifier, runner, command)

    def reports(self, most_lines: int = 12) -> list[JobReport]:
        """All jobs, the latest first, also those of earlier servers and other hosts.

        May be called often: a file that is still the one it was is not read again.
        """
        identifiers = self._ids()
        for kept in (self._jobs, self._said):
            for gone in kept.keys() - set(identifiers):
                kept.pop(gone, None)
        jobs = [job for job in map(self._read, identifiers) if job is not None]
        return [self._report(job, most_lines) for job in sorted(jobs, key=lambda job: job.started, reverse=True)]

    def stop(self, identifier: str) -> None:
        """Asks a job to end (SIGTERM), as Ctrl-C would; training then keeps its state. One that has ended stays so.

        Raises:
            PomError: there is no such job, or it runs on another host.
        """
        job = self._read(identifier) if identifier in self._ids() else None
        if job is None:
            raise PomError(f"There is no job {identifier!r}: it may have been removed as one of the oldest.")
        if self._state(job) is not State.RUNNING:
            return
        if not is_here(job.place):
            other = ", another container or machine of that name," if job.host == socket.gethostname() else ""
            raise PomError(f"'pom {' '.join(job.command)}' runs on {job.host}{other} and can only be stopped there.")
        try:
            os.killpg(job.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise PomError(f"'pom {' '.join(job.command)}' belongs to another user, who alone can stop it.") from error

    # How a job stands

    def _report(self, job: Job, most_lines: int) -> JobReport:
        lines = self._last_lines(job)
        counts = [(int(done), int(total)) for line in lines for done, total in _COUNT.findall(line)]
        done, total = next(((done, total) for done, total in reversed(counts) if done <= total), (0, 0))
        state = self._state(job)
        return JobReport(job, state, done, total, lines[-most_lines:], _reason(lines) if state is State.FAILED else "")

    def _last_lines(self, job: Job) -> tuple[str, ...]:
        log = self._folder / f"{job.id}{_LOG}"
        # Looked at before it is read: what is written in between is read the next time.
        stamp, known = file_stamp(log), self._said.get(job.id)
        if known is None or known[0] != stamp:
            known = self._said[job.id] = stamp, tuple(_last_lines(log))
        return known[1]

    def _state(self, job: Job) -> State:
        if job.finished is not None:
            if job.exit_status == 0:
                return State.DONE
            return State.STOPPED if job.stopped else State.FAILED
        if is_here(job.place):
            return State.RUNNING if is_running(job.pid, job.process) else State.LOST
        # The processes of another host, or container, cannot be seen from here, but its claim can.
        return State.RUNNING if self._claims.is_taken(_claim_name(job.command)) else State.LOST

    # Files

    def _begun(self, identifier: str, runner: "subprocess.Popen[bytes]", command: Sequence[str]) -> Job:
        deadline = time.monotonic() + SECONDS_TO_START
        while (job := self._read(identifier)) is None and time.monotonic() < deadline:
            if runner.poll() is not None and self._read(identifier) is None:
                break
            time.sleep(0.02)
        if job is not None or (job := self._read(identifier)) is not None:
            return job
        said = " ".join(_last_lines(self._folder / f"{identifier}{_LOG}")[-1:])
        (self._folder / f"{identifier}{_LOG}").unlink(missing_ok=True)
        if runner.poll() == _TAKEN:
            raise PomError(f"'pom {' '.join(command)}' is running already: wait for its end, or stop it.")
        raise PomError(f"'pom {' '.join(command)}' could not be started: {said or 'it gave no reason'}.")

    def _ids(self) -> list[str]:
        return sorted(
            file.removesuffix(_STATE)
            for file in list_files(self._folder)
            if file.endswith(_STATE) and not file.startswith(".")
        )

    def _read(self, identifier: str) -> Job | None:
        path = self._folder / f"{identifier}{_STATE}"
        stamp, known = file_stamp(path), self._jobs.get(identifier)
        if known is None or known[0] != stamp:
            try:
                job = Job.model_validate_json(path.read_bytes())
            except (OSError, ValidationError):
                job = None
            known = self._jobs[identifier] = stamp, job
        return known[1]

    def _clear_old(self) -> None:
        for identifier in self._ids()[: -MOST_KEPT + 1]:
            job = self._read(identifier)
            if job is None or self._state(job) is not State.RUNNING:
                for ending in (_STATE, _LOG):
                    with contextlib.suppress(OSError):
                        (self._folder / f"{identifier}{ending}").unlink()


def _claims_folder(folder: Path) -> Path:
    return folder / "claims"


def _claim_name(command: Sequence[str]) -> str:
    return " ".join(command)


def _last_lines(log: Path) -> list[str]:
    """The last lines of a log, without those that are empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _reason(lines: Sequence[str]) -> str:
    """What a command that failed said of why: its error, or else the first thing that it could not do.

    What it said last is often a table, or a count of what went well; only after a traceback it is the reason.
    """
    if errors := [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]:
        return errors[-1]
    not_done = next((line.removeprefix(_WARNING) for line in lines if _NOT_DONE.match(line)), "")
    return not_done if not_done and _TRACEBACK not in lines else next(iter(lines[-1:]), "")


def run_job(folder: Path, identifier: str, command: Sequence[str], program: Sequence[str]) -> int:
    """The runner: runs a command to its end and keeps the job's state file; returns the exit status of the runner.

    It is the first process of a group, and who stops the job signals the group: the command hears it by itself.
    """
    stopped = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    claims = Claims(_claims_folder(folder))
    claim = claims.take(_claim_name(command))
    if claim is None:
        return _TAKEN
    job = Job(
        id=identifier,
        command=tuple(command),
        host=socket.gethostname(),
        place=place(),
        pid=os.getpid(),
        process=identity_of(os.getpid()),
        started=time.time(),
    )
    state = folder / f"{identifier}{_STATE}"
    try:
        write_json(state, job.model_dump(mode="json"))
        with subprocess.Popen([*program, *command]) as child:
            if stopped:  # the group was signalled before the command was in it
                child.terminate()
            status = child.wait()
    finally:
        # Before the end is written: whoever reads that may give the command again at once.
        claims.close()
    ended = {"finished": time.time(), "exit_status": status, "stopped": stopped and status != 0}
    write_json(state, job.model_copy(update=ended).model_dump(mode="json"))
    return 0


if __name__ == "__main__":
    _folder, _identifier, _count, *_rest = sys.argv[1:]
    sys.exit(run_job(Path(_folder), _identifier, _rest[: int(_count)], _rest[int(_count) :]))
