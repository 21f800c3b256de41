"""Ctrl-C and SIGTERM, made one: an interruption that comes once, so that letting go is not interrupted itself."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTING = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> None:
    """From now on Ctrl-C or SIGTERM interrupts this process, and what comes after that is ignored.

    In a terminal Ctrl-C reaches the workers and their pool, which then tells them once more; SLURM may do likewise.
    A second KeyboardInterrupt in the middle of letting go would leave claims behind, or locks that are waited for.
    """
    interrupted = False

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        # Not SIG_IGN from the first one on: where both signals came at once, Python would lose the exception.
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    for number in INTERRUPTING:
        signal.signal(number, interrupt)


@contextmanager
def interrupted_once() -> Iterator[None]:
    """``interrupt_once`` for the time of a ``with`` block; elsewhere than in the main thread it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in INTERRUPTING}
    interrupt_once()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
