"""A process beside the server, for what takes much memory or seconds of computing, and may be broken off."""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from pom.app.answers import DroppedError
from pom.errors import PomError

Result = TypeVar("Result")

SECONDS_IDLE = 120.0
"""After which the process ends, and gives its memory back; the next work starts another."""


class Apart:
    """Calls functions in a process of its own, which is started by the first call; one call at a time.

    Any thread may use it.
    """

    def __init__(self, seconds_idle: float = SECONDS_IDLE) -> None:
        self._idle = seconds_idle
        self._calling = threading.Lock()
        self._changing = threading.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._whose = ""
        self._broken_off = False

    def call(self, function: Callable[..., Result], *args: Any, whose: str = "") -> Result:
        """Calls a function there and waits for what it returns.

        Args:
            function: importable by name; its arguments and its result can be pickled.
            args: given to it.
            whose: by which ``break_off`` knows the call.

        Raises:
            DroppedError: it was broken off.
            PomError: as the function, or the process ended.
        """
        with self._calling:
            with self._changing:
                self._whose, self._broken_off = whose, False
            try:
                return self._answer(function, args)
            finally:
                with self._changing:
                    self._whose = ""

    def break_off(self, whose: str) -> None:
        """Ends what is under way, if it is the call of these; the process goes with it."""
        with self._changing:
            if whose and self._whose == whose and self._process is not None:
                self._end()

    def close(self) -> None:
        """Ends the process."""
        with self._changing:
            if self._process is not None:
                self._end()

    def _end(self) -> None:
        """Kills the process, which then is another's no more, should its answer have come just now."""
        assert self._process is not None
        self._broken_off = True
        self._process.kill()
        self._process = self._connection = None

    def _answer(self, function: Callable[..., Result], args: tuple[Any, ...]) -> Result:
        while True:
            connection, process = self._ready()
            try:
                connection.send((function, args))
                good, answer = connection.recv()
            except (EOFError, OSError):
                process.join()
                connection.close()
                with self._changing:
                    if self._process is process:
                        self._process = None
                    if self._broken_off:
                        raise DroppedError("Newer settings were given since.") from None
                if process.exitcode == 0:  # it had just ended for want of work
                    continue
                raise PomError(
                    "The process that computed this ended at once, perhaps for want of memory: try again later."
                ) from None
            if not good:
                raise answer
            result: Result = answer
            return result

    def _ready(self) -> tuple[Connection, SpawnProcess]:
        with self._changing:
            if self._broken_off:
                raise DroppedError("Newer settings were given since.")
            if self._process is None or self._connection is None:
                context = multiprocessing.get_context("spawn")
                self._connection, there = context.Pipe()
                self._process = context.Process(target=_work, args=(there, self._idle), daemon=True)
                self._process.start()
                there.close()
            return self._connection, self._process


def _work(connection: Connection, seconds_idle: float) -> None:
    """What the process does: calls what it is sent, until nothing comes any more."""
    # Ctrl-C reaches every process of a terminal; the server ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while connection.poll(seconds_idle):
            function, args = connection.recv()
            try:
                answer = True, function(*args)
            except PomError as error:
                answer = False, error
            connection.send(answer)
