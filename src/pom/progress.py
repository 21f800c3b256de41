"""Progress of long work: a bar on a terminal, plain lines off it."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """How much of long work is done.

    On a terminal that is a bar on standard error; elsewhere (a log file, a batch system) it is a line
    at most every ten seconds and one at the end.

    Args:
        description: what is worked on.
        total: how much there is to do.
    """

    def __init__(self, description: str, total: int) -> None:
        self._description = description
        self._total = total
        self._done = 0
        self._last_line = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.add_task(self._description, total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """One more is done."""
        self.show(self._done + 1)

    def show(self, done: int) -> None:
        """So many are done in all; fewer than were shown before are no news."""
        # What is counted by several who do not wait for each other can be counted twice for a moment.
        done = min(done, self._total)
        if done <= self._done:
            return
        self._done = done
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
            return
        now = time.monotonic()
        if done == self._total or now - self._last_line > SECONDS_BETWEEN_LINES:
            log.info("%s: %d of %d", self._description, done, self._total)
            self._last_line = now


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yields ``items`` and shows how many of ``total`` are done."""
    with Progress(description, total) as progress:
        for item in items:
            yield item
            progress.advance()
