"""Progress of long work: a bar on a terminal, plain lines off it."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yields ``items`` and shows how many of ``total`` are done.

    On a terminal that is a bar on standard error; elsewhere (a log file, a batch system) it is a line
    at most every ten seconds and one at the end.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(items, description, total=total, console=Console(stderr=True))
        return
    last_line = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last_line > SECONDS_BETWEEN_LINES:
            log.info("%s: %d of %d", description, done, total)
            last_line = now
