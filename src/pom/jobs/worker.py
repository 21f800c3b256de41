"""The loop that every worker runs: take the next tomogram that nobody has, do it, note how it went."""

import logging
import os
import socket
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from pom.errors import DiskError, PomError
from pom.io.processes import place
from pom.jobs.claims import Claim, ClaimLost, Claims
from pom.jobs.ledger import MOST_TRIES, Ledger, Try, WorkerNote, is_fault_of_name

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0
"""How often a worker that has nothing to do looks whether another's tomogram came free."""


class Step(Protocol):
    """What is done to each tomogram."""

    def prepare(self) -> None:
        """Called once before the first tomogram; what it raises concerns none of them but stops the worker."""

    def read(self, name: str) -> Any:
        """Returns the input of a tomogram; called in a thread, while another one is being done."""

    def do(self, name: str, inputs: Any, check: Callable[[], None]) -> None:
        """Makes the outputs of a tomogram, whole or not at all, and its record.

        Args:
            name: of the tomogram.
            inputs: from ``read``.
            check: to be called before the outputs appear; raises ClaimLost if another worker has the tomogram now.
        """

    def is_beyond_repair(self, error: Exception) -> bool:
        """Whether nothing can be done in this process any more after an error, such as one of the GPU."""


class WorkerBroken(Exception):  # noqa: N818
    """A process that cannot go on; another one can take its place."""


@dataclass(frozen=True)
class Identity:
    """Who a worker is."""

    device: str
    """As PyTorch names it."""
    log: str = ""
    """The file that its messages go to, if there is one."""
    host: str = socket.gethostname()


@dataclass(frozen=True)
class Listeners:
    """Who is told what a worker does."""

    done: Callable[[str], None]
    failed: Callable[[str, str], None]
    """With the reason; a tomogram that will be tried again has not failed yet."""


class Worker:
    """Does tomograms until none is left that is waiting, or in other hands.

    Args:
        step: what to do.
        names: the tomograms to do, in the order in which this worker tries them, each with when its record was
            written before the work began, if there was one; a newer record says that somebody has done it.
        claims: of the step.
        ledger: of the step.
        identity: who this is.
        listeners: who is told.
    """

    def __init__(
        self,
        step: Step,
        names: Mapping[str, float | None],
        claims: Claims,
        ledger: Ledger,
        identity: Identity,
        listeners: Listeners,
    ) -> None:
        self._step = step
        self._waiting = deque(names)
        self._claims = claims
        self._ledger = ledger
        self._identity = identity
        self._tell = listeners
        self._finished_before = names

    def work(self) -> None:
        """Runs the loop.

        Raises:
            PomError: the step cannot be prepared.
            DiskError: the outputs' disk is full or may not be written; the tomogram is not at fault, and free for
                others.
            WorkerBroken: this process cannot do any more.
        """
        self._step.prepare()
        reader = ThreadPoolExecutor(1, "read-ahead")
        ahead: tuple[str, Future[Any]] | None = None
        try:
            while self._waiting or ahead:
                ahead = ahead or self._read_next(reader)
                if ahead is None:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    continue
                (name, reading), ahead = ahead, None
                claim = self._claim(name)
                if claim is None:
                    reading.cancel()
                    continue
                with claim:
                    # It may have been done between the look and the claim.
                    if not self._is_settled(name):
                        ahead = self._read_next(reader)
                        self._do(claim, reading)
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            self._ledger.drop(place(), os.getpid())

    def _read_next(self, reader: ThreadPoolExecutor) -> tuple[str, Future[Any]] | None:
        """Begins to read the next tomogram that is to be done and that nobody has; None where there is none now."""
        for _ in range(len(self._waiting)):
            name = self._waiting.popleft()
            if self._is_settled(name):
                continue
            if not self._claims.is_taken(name):
                return name, reader.submit(self._step.read, name)
            self._waiting.append(name)
        return None

    def _is_settled(self, name: str) -> bool:
        """Whether somebody did it since this worker began, or it has failed too often."""
        finished = self._ledger.finished_at(name)
        if finished is not None and finished != self._finished_before[name]:
            return True
        return len(self._ledger.tries(name)) >= MOST_TRIES

    def _claim(self, name: str) -> Claim | None:
        """Claims a tomogram; one that another worker has waits, and one whose name no claim can bear has failed."""
        try:
            claim = self._claims.take(name)
        except (PomError, UnicodeError) as error:
            if not is_fault_of_name(error):
                raise
            self._tell.failed(name, reason_of(error))
            return None
        if claim is None:
            self._waiting.append(name)
        return claim

    def _do(self, claim: Claim, reading: Future[Any]) -> None:
        name, started, who = claim.name, time.time(), self._identity
        try:
            note = WorkerNote(
                host=who.host, place=place(), pid=os.getpid(), device=who.device, tomogram=name, since=started,
                log=who.log,
            )  # fmt: skip
            self._ledger.note(note)
            self._step.do(name, reading.result(), claim.check)
        except ClaimLost:
            log.warning("%s was taken over by another worker, which does it now.", name)
            self._waiting.append(name)
        except DiskError:
            raise
        except Exception as error:  # whatever is wrong with one tomogram, the next may do
            self._note_failure(name, started, error)
            if self._step.is_beyond_repair(error):
                raise WorkerBroken(reason_of(error)) from error
        else:
            self._ledger.forget(name)
            self._tell.done(name)

    def _note_failure(self, name: str, started: float, error: Exception) -> None:
        who, reason = self._identity, reason_of(error)
        attempt = Try(
            host=who.host, device=who.device, started=started, seconds=time.time() - started, reason=reason,
            traceback="".join(traceback.format_exception(error)), log=who.log,
        )  # fmt: skip
        tries = self._ledger.add_try(name, attempt)
        log.debug("%s failed, try %d of %d:", name, tries, MOST_TRIES, exc_info=error)
        if tries < MOST_TRIES:
            # At the end of the list, so that another worker meets it first where there is one.
            self._waiting.append(name)
        else:
            self._tell.failed(name, reason)


def reason_of(error: BaseException) -> str:
    """Why a tomogram failed, a sentence."""
    if isinstance(error, PomError):
        return str(error)
    first_line, *_ = [*str(error).splitlines(), ""]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")


def from_own_place(names: Sequence[str], who: str) -> list[str]:
    """The names in the order of one worker: from its own place in the list, and round.

    A hundred workers that all began with the first name would fight over every single one.
    """
    start = zlib.crc32(who.encode()) % max(1, len(names))
    return [*names[start:], *names[:start]]
