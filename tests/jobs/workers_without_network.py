"""Workers without a network, for tests in which real processes share out work: an output is a few lines of text.

As a script it is one worker: each line of its standard input, in JSON, has the arguments of ``work``; it answers with
the names of the tomograms that it did.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from pom.errors import DiskError, PomError
from pom.io.atomic import atomic_path
from pom.jobs import worker as worker_module
from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger, Record
from pom.jobs.pool import Message, Slot
from pom.jobs.signals import interrupt_once
from pom.jobs.worker import Identity, Listeners, Worker, from_own_place

LINES = 4
FULL_DISK = "The disk is full."
TOLD_TO_FAIL = "It was told to fail."
real_time = time.time

Fault = Callable[[Path, str], None]
"""What goes wrong in the middle of a tomogram, given the folder and the name."""


def ledger_in(folder: Path) -> Ledger:
    return Ledger(folder / "jobs", folder / "outputs" / "records")


def output(folder: Path, name: str) -> Path:
    return folder / "outputs" / f"{name}.txt"


def content(name: str) -> str:
    return f"{name}\n" * LINES


def note(folder: Path, file: str, line: object) -> None:
    """Adds a line to a file that all workers write to."""
    with (folder / file).open("a") as stream:
        stream.write(f"{line}\n")


def pause(seconds: float) -> None:
    """In many calls, as a network's: a signal that arrives just before a long one would only be heard after it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0.0:
        time.sleep(min(left, 0.1))


class ShortStep:
    """Writes an output, in a few pieces so that a kill may fall between them, and a record.

    ``began.txt`` and ``done.txt`` get the tomogram's name, each time that it is begun and done.
    """

    def __init__(self, folder: Path, seconds: float, fault: Fault | None = None) -> None:
        self._folder = folder
        self._seconds = seconds
        self._fault = fault

    def prepare(self) -> None:
        pass

    def read(self, name: str) -> str:
        return f"input of {name}"

    def do(self, name: str, inputs: str, check: Callable[[], None]) -> None:
        assert inputs == f"input of {name}"
        started = time.time()
        note(self._folder, "began.txt", name)
        with atomic_path(output(self._folder, name)) as temporary:
            with temporary.open("w") as file:
                for number in range(LINES):
                    print(name, file=file, flush=True)
                    if number == 1 and self._fault is not None:
                        self._fault(self._folder, name)
                    pause(self._seconds / LINES)
            check()
        record = Record(
            tomogram=name, step="shared", network="", configuration="", inputs={}, version="",
            host=socket.gethostname(), device="cpu", started=started, seconds=time.time() - started,
            outputs=(output(self._folder, name).name,),
        )  # fmt: skip
        ledger_in(self._folder).write_record(record)
        note(self._folder, "done.txt", name)

    def is_beyond_repair(self, error: Exception) -> bool:
        return False


def waiting_in(folder: Path, names: Sequence[str], who: str) -> dict[str, float | None]:
    """The tomograms without a record, from a worker's own place on."""
    ledger = ledger_in(folder)
    return {name: None for name in from_own_place(names, who) if ledger.finished_at(name) is None}


# One worker of a pool


@dataclass(frozen=True)
class Order:
    """What a pool's workers are to do. ``at_start``: what goes wrong at once, given the slot in the name's place."""

    folder: Path
    names: Sequence[str]
    seconds: float = 0.02
    fault: Fault | None = None
    at_start: Fault | None = None


def run(slot: Slot, connection: Connection, order: Order) -> None:
    """A worker's process, as ``pom.jobs.pool.Pool`` starts it; its log is said to be PID.log."""
    interrupt_once()
    note(order.folder, "pids.txt", os.getpid())
    if order.at_start is not None:
        order.at_start(order.folder, str(slot.number))
    listeners = Listeners(
        done=lambda name: connection.send(Message("done", name)),
        failed=lambda name, reason: connection.send(Message("failed", name, reason)),
    )
    connection.send(Message("warning", text=f"Worker {slot.number} begins."))
    claims = Claims(order.folder / "jobs" / "claims")
    step = ShortStep(order.folder, order.seconds, order.fault)
    # All in the same order: the tests say which tomogram is met first.
    waiting = waiting_in(order.folder, order.names, "")
    identity = Identity(slot.device, f"{os.getpid()}.log")
    try:
        Worker(step, waiting, claims, ledger_in(order.folder), identity, listeners).work()
    except KeyboardInterrupt:
        pass
    except PomError as error:
        connection.send(Message("stopped", text=str(error)))
    finally:
        claims.close()


def die_once(folder: Path, name: str) -> None:
    """SIGKILL in TS_2 the first time; the second time the tries so far are kept in a file."""
    if name == "TS_2" and (folder / "began.txt").read_text().split().count(name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "TS_2":
        (folder / "tries.json").write_text((folder / "jobs" / "failures" / "TS_2.json").read_text())


def die(folder: Path, name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_ts_2(folder: Path, name: str) -> None:
    if name == "TS_2":
        die(folder, name)


def leave(folder: Path, name: str) -> None:
    os._exit(3)


def leave_slot_0(folder: Path, slot: str) -> None:
    if slot == "0":
        leave(folder, slot)


def outlast_three_deaths(folder: Path, name: str) -> None:
    """TS_1 takes until four processes have been, and a moment longer."""
    while name == "TS_1" and len((folder / "pids.txt").read_text().split()) < 4:
        pause(0.1)
    pause(1.0 if name == "TS_1" else 0.0)


def fail_in_ts_2(folder: Path, name: str) -> None:
    if name == "TS_2":
        raise PomError(TOLD_TO_FAIL)


def fill_disk_in_ts_2(folder: Path, name: str) -> None:
    """While the other worker is in the middle of TS_1."""
    if name == "TS_2":
        raise DiskError(FULL_DISK)
    stay(folder, name)


def do_not_listen(folder: Path, name: str) -> None:
    """As native code that does not come back to Python."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay(folder, name)


def stay(folder: Path, name: str) -> None:
    pause(60.0)


# One worker that a test starts as a script


def work(
    folder: str, names: Sequence[str], seconds: float, lifetime: float = 60.0, begin: float = 0.0, skew: float = 0.0
) -> list[str]:
    """Works from a moment on until nothing is left.

    Args:
        folder: where the workers meet.
        names: of the tomograms.
        seconds: that one takes.
        lifetime: of a claim.
        begin: the moment, in seconds since 1970.
        skew: by how many seconds this host's clock is wrong.
    """
    host, done = socket.gethostname(), list[str]()
    time.sleep(max(0.0, begin - real_time()))
    claims = Claims(Path(folder) / "jobs" / "claims", lifetime, lambda: datetime.now() + timedelta(seconds=skew))
    waiting = waiting_in(Path(folder), names, f"{host} {os.getpid()}")
    listeners = Listeners(done.append, lambda name, reason: None)
    with mock.patch("time.time", lambda: real_time() + skew):
        step, ledger = ShortStep(Path(folder), seconds), ledger_in(Path(folder))
        Worker(step, waiting, claims, ledger, Identity("cpu", "", host), listeners).work()
        claims.close()
    return done


def main() -> None:
    if len(sys.argv) > 1:
        mock.patch("socket.gethostname", lambda: sys.argv[1]).start()
    worker_module.SECONDS_BETWEEN_LOOKS = 0.02
    say("ready")
    for line in sys.stdin:
        say(json.dumps(work(**json.loads(line))))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
