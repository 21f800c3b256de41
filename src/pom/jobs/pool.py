"""The worker processes of one machine: one per GPU, or some that divide the CPU. One that dies is replaced."""

import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Literal

from pom.errors import PomError
from pom.io.processes import place
from pom.jobs.claims import Claims
from pom.jobs.ledger import MOST_TRIES, Ledger, Try

log = logging.getLogger(__name__)

MOST_DEATHS = 3
"""How often in a row a worker may die before it has done a single tomogram; the device may be at fault.

A death on a tomogram that failed before does not count: that one is at fault, and its tries have an end.
"""
SECONDS_TO_LEAVE = 15.0
"""How long workers that were told to stop may take to let go of what they have."""
SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Slot:
    """The place of one worker."""

    number: int
    gpu: int | None = None
    """None: the CPU."""
    threads: int | None = None
    """CPU threads to compute with; None: as many as PyTorch likes."""

    @property
    def device(self) -> str:
        """As PyTorch names it."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"


@dataclass(frozen=True)
class Message:
    """What a worker process tells the one that started it."""

    kind: Literal["done", "failed", "warning", "stopped"]
    """Stopped: by something that concerns every worker, such as a full disk; text says what."""
    tomogram: str = ""
    text: str = ""


Run = Callable[[Slot, Connection, Any], None]
"""A worker's process: its place, where its messages go, and what the pool was given for it. Importable by name."""


class Pool:
    """Runs workers until all have come to their end.

    Args:
        run: what a worker process does.
        order: given to it; anything that can be pickled.
        slots: one worker each.
        claims: of the step; claims of a worker that died are freed at once.
        ledger: of the step; what a worker died on is noted as a failed try.
        hear: is given every message.
    """

    def __init__(
        self,
        run: Run,
        order: Any,
        slots: Sequence[Slot],
        claims: Claims,
        ledger: Ledger,
        hear: Callable[[Message], None],
    ) -> None:
        self._run = run
        self._order = order
        self._slots = slots
        self._claims = claims
        self._ledger = ledger
        self._hear = hear
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, tuple[Slot, SpawnProcess]] = {}
        self._deaths = {slot.number: 0 for slot in slots}
        self._given_up = ""

    def work(self, look: Callable[[], None] = lambda: None) -> None:
        """Starts the workers, and replaces those that die, until each has found nothing more to do.

        Args:
            look: called every few seconds.

        Raises:
            PomError: something stops every worker, at once; or the workers of a slot die before they have done
                anything, and those of the other slots have come to their end.
        """
        stopped = ""
        try:
            for slot in self._slots:
                self._start(slot)
            while self._workers and not stopped:
                for ready in wait(list(self._workers), timeout=SECONDS_BETWEEN_LOOKS):
                    assert isinstance(ready, Connection)
                    stopped = self._listen(ready) or stopped
                look()
        finally:
            self._stop_all()
        if stopped or self._given_up:
            raise PomError(stopped or self._given_up)

    def _start(self, slot: Slot) -> None:
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=self._run, args=(slot, there, self._order), daemon=True)
        process.start()
        there.close()
        self._workers[here] = (slot, process)

    def _listen(self, connection: Connection) -> str:
        """Hears one message or learns that its worker has ended; returns why all must stop, or nothing."""
        slot, process = self._workers[connection]
        try:
            message: Message = connection.recv()
        except (EOFError, OSError):
            del self._workers[connection]
            connection.close()
            process.join()
            if process.exitcode != 0:
                self._replace(slot, process)
            return ""
        if message.kind == "stopped":
            return message.text
        if message.kind in ("done", "failed"):
            self._deaths[slot.number] = 0
        self._hear(message)
        return ""

    def _replace(self, slot: Slot, process: SpawnProcess) -> None:
        """Mends what a dead worker left, and starts another in its place."""
        meaning = _meaning(process.exitcode)
        if not self._take_back(slot, process, f"The worker that had it ended with {meaning}."):
            self._deaths[slot.number] += 1
        if self._deaths[slot.number] < MOST_DEATHS:
            log.warning("A worker on %s ended with %s; another takes its place.", slot.device, meaning)
            self._start(slot)
            return
        self._given_up = (
            f"Workers on {slot.device} end before they have done anything, with {meaning}: "
            "see their logs in the project's folder 'jobs'."
        )
        if self._workers:
            log.warning("%s The others go on.", self._given_up)

    def _take_back(self, slot: Slot, process: SpawnProcess, reason: str) -> bool:
        """Frees what a dead worker had, and notes the try; returns whether that tomogram had failed before."""
        assert process.pid is not None
        host, now, failed_before = socket.gethostname(), time.time(), False
        who = place(), process.pid
        notes = {note.tomogram: note for note in self._ledger.workers() if (note.place, note.pid) == who}
        for name in self._claims.free(process.pid):
            since, worker_log = (notes[name].since, notes[name].log) if name in notes else (now, "")
            attempt = Try(
                host=host, device=slot.device, started=since, seconds=now - since, reason=reason, traceback="",
                log=worker_log,
            )  # fmt: skip
            tries = self._ledger.add_try(name, attempt)
            failed_before = failed_before or tries > 1
            if tries >= MOST_TRIES:
                self._hear(Message("failed", name, reason))
        self._ledger.drop(*who)
        return failed_before

    def _stop_all(self) -> None:
        """Tells all workers to stop, and those that do not in time are killed; their claims are free then."""
        processes = [process for _, process in self._workers.values()]
        self._workers.clear()
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        # Also of those that left by themselves: one may have died just now.
        for process in processes:
            assert process.pid is not None
            self._claims.free(process.pid)
            self._ledger.drop(place(), process.pid)


def _meaning(exit_code: int | None) -> str:
    """What an exit status says, such as 'SIGKILL, perhaps for want of memory'."""
    if exit_code is None or exit_code >= 0:
        return f"exit status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name
