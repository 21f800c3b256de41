"""Work on tomograms in processes side by side; one that fails does not stop the others.

Nor does one that kills its process, where there are several; a process alone is the command itself.
"""

import errno
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from pom.errors import DiskError, PomError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_BY_ITSELF = 8
"""More processes fill the memory sooner than they gain time, so that a person should say so."""


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
    if processes <= 1:
        for item in items:
            yield item, _tried(work, fatal, item)
        return
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    done: queue.SimpleQueue[tuple[Item, Result | PomError] | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()
    # A process each, so that it is known which tomogram a process died on.
    threads = [
        threading.Thread(target=_serve, args=(partial(_tried, work, fatal), waiting, done, stopped), daemon=True)
        for _ in range(processes)
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in items:
            answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


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


def _serve(
    work: Callable[[Item], Result | PomError],
    waiting: "queue.SimpleQueue[Item]",
    done: "queue.SimpleQueue[tuple[Item, Result | PomError] | BaseException]",
    stopped: threading.Event,
) -> None:
    """Has a process do what waits, until nothing does; one that died is replaced."""
    executor = _executor()
    try:
        while not stopped.is_set():
            item = waiting.get_nowait()
            try:
                done.put((item, executor.submit(work, item).result()))
            except BrokenProcessPool:
                executor = _executor()
                done.put((item, PomError("The process that had it ended at once, perhaps for want of memory.")))
    except queue.Empty:
        pass
    except BaseException as error:  # whoever waits for the answers is to raise it
        done.put(error)
    finally:
        executor.shutdown(cancel_futures=True)


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare)


def _prepare() -> None:
    """Prepares a process: it leaves Ctrl-C, which reaches all, to the one that started it, and ends with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Without this, the processes of one that is killed would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
