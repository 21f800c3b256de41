"""Work on tomograms in processes side by side; one that fails does not stop the others.

Nor does one that kills its process, where there are several; a process alone is the command itself.
"""

import contextlib
import errno
import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from logging.handlers import QueueHandler
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

from pom.errors import DiskError, PomError

Item = TypeVar("Item")
Result = TypeVar("Result")

PACKAGE = "pom"
"""The logger of all that this program says."""
MOST_BY_ITSELF = 8
"""More processes fill the memory sooner than they gain time, so that a person should say so."""
SECONDS_TO_LEAVE = 2.0
"""How long processes that are told to stop may take to remove what they have half written."""


def usual_processes() -> int:
    """How many processes there are where nobody says how many: as many as the cores that may be used, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_BY_ITSELF)


def side_by_side(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    processes: int,
    fatal: tuple[type[PomError], ...] = (DiskError,),
) -> Iterator[tuple[Item, Result | PomError]]:
    """Does ``work`` for each item and yields the item and what came of it, in the order in which it is done.

    What the package logs in the processes is logged in this one. Whatever ends this early, Ctrl-C among it, ends what
    the processes are at.

    Args:
        work: importable by name, or a ``functools.partial`` of such a function. A PomError of it is yielded in place
            of a result, and so is one for a disk that failed or memory that ran out; any other exception is a fault
            of the program and passes.
        items: what to work on; they and what comes of them can be pickled.
        processes: so many at a time, 1 or more; one alone, or the only item, is done in this process itself, and
            what kills it ends the command.
        fatal: errors that would be no different for the next item; they are raised.
    """
    processes = min(processes, len(items))
    tried = partial(_tried, work, fatal)
    if processes <= 1:
        for item in items:
            yield item, tried(item)
        return
    waiting = deque(items)
    children: list[_Child] = []
    busy: dict[Connection, tuple[_Child, Item]] = {}
    try:
        for item in (waiting.popleft() for _ in range(processes)):
            child = _started(tried, children)
            busy[child.connection] = child, item
            child.give(item)
        while busy:
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                child, item = busy[ready]
                answer = child.hear()
                if answer is None:
                    continue
                del busy[ready]
                if waiting:  # before whoever asked looks at the answer
                    child = _started(tried, children) if answer.died else child
                    busy[child.connection] = child, waiting.popleft()
                    child.give(busy[child.connection][1])
                else:
                    child.dismiss()
                if answer.error is not None:
                    raise answer.error
                yield item, answer.result
    finally:
        _end(children)


def _tried(work: Callable[[Item], Result], fatal: tuple[type[PomError], ...], item: Item) -> Result | PomError:
    try:
        return work(item)
    except fatal:
        raise
    except PomError as error:
        return error
    except MemoryError:
        return PomError("There was not enough memory for it: work on fewer at a time, or where there is more.")
    except OSError as error:
        fault = _fault_of_disk(error)
        if isinstance(fault, fatal):
            raise fault from error
        return fault


def _fault_of_disk(error: OSError) -> PomError:
    where = f" at {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"The disk is full{where}: free some space there, then run this again.")
    return PomError(f"The disk or network failed{where} ({error.strerror or error}): check it, then run this again.")


@dataclass(frozen=True)
class _Answer:
    """What a process says of an item. ``error``: a fatal one, or a fault of the program. ``died``: it is no more."""

    result: Any = None
    error: BaseException | None = None
    died: bool = False


class _Child:
    """A process that does one item after the other; which one it died on is known."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, self._theirs = context.Pipe()
        level = logging.getLogger(PACKAGE).getEffectiveLevel()
        self.process = context.Process(target=_serve, args=(self._theirs, work, level), daemon=True)
        self._dismissed = False

    def start(self) -> None:
        """Starts it, deaf to Ctrl-C, which reaches all processes of a terminal, from its very beginning."""
        resource_tracker.ensure_running()  # begun by the first process, it would have that one hear Ctrl-C
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
            self._theirs.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def give(self, item: Any) -> None:
        """Has it do an item."""
        with contextlib.suppress(BrokenPipeError):  # it died while it waited, which is heard next
            self.connection.send(item)

    def hear(self) -> _Answer | None:
        """Waits for what it says next; what it logs is logged here, and no answer."""
        try:
            said: _Answer | logging.LogRecord = self.connection.recv()
        except (EOFError, OSError):
            self.dismiss()
            reason = "The process that had it ended at once, perhaps for want of memory."
            return _Answer(PomError(reason), died=True)
        if isinstance(said, _Answer):
            return said
        logging.getLogger(said.name).handle(said)
        return None

    def dismiss(self) -> None:
        """Lets it end, as nothing more comes."""
        self._dismissed = True
        self.connection.close()

    def stop(self) -> None:
        """Ends what it is at."""
        if not self._dismissed and self.process.pid is not None:
            self.dismiss()
            self.process.terminate()


def _started(work: Callable[[Any], Any], children: list[_Child]) -> _Child:
    child = _Child(work)
    children.append(child)  # first, or it would be forgotten where Ctrl-C comes now
    child.start()
    return child


def _end(children: Sequence[_Child]) -> None:
    """Ends the processes, and what they are at; whatever is half written they remove, if that does not take long."""
    begun = [child for child in children if child.process.pid is not None]
    try:
        for child in begun:
            child.stop()
        deadline = time.monotonic() + SECONDS_TO_LEAVE
        for child in begun:
            child.process.join(max(0.0, deadline - time.monotonic()))
    finally:  # also where Ctrl-C comes once more; the next process that writes there removes what they leave
        for child in begun:
            child.process.kill()
        for child in begun:
            child.process.join()


# What follows runs in such a process.


class _Telling(QueueHandler):
    """Tells the process that started this one: what came of an item, and what is logged, by whichever thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(queue.SimpleQueue())
        self._connection = connection
        self._mutex = threading.Lock()

    def tell(self, said: _Answer | logging.LogRecord) -> None:
        with self._mutex:
            self._connection.send(said)

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # nobody is there any more to read it
            self.tell(record)


def _serve(connection: Connection, work: Callable[[Any], Any], level: int) -> None:
    """Does the items that come, until no more will; the process ends here, whatever its threads are still at."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    telling = _Telling(connection)
    package = logging.getLogger(PACKAGE)
    package.addHandler(telling)
    package.setLevel(level)
    try:
        while True:
            _answer(work, connection.recv(), telling)
    except (EOFError, OSError, SystemExit):  # nothing more comes
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _answer(work: Callable[[Any], Any], item: Any, telling: _Telling) -> None:
    try:
        telling.tell(_Answer(work(item)))
    except Exception as error:
        said = "".join(traceback.format_exception(error)).rstrip()
        try:
            error.add_note(f"It was raised in a process of its own:\n{said}")
            telling.tell(_Answer(error=pickle.loads(pickle.dumps(error))))
        except Exception:  # not every exception can be handed over
            telling.tell(_Answer(error=RuntimeError(said)))


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Ends what this process is at as an exception would, so that half-written files are removed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _end_with_parent() -> None:
    # Without this, the processes of one that is killed would go on for nobody.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
