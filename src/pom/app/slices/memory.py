"""Memory that was given back, returned to the system."""

import ctypes
import itertools
import sys
from collections.abc import Callable

PICTURES_BETWEEN = 48


class Trimming:
    """Has the C library return what several threads have given back, which it keeps in pieces else.

    Without it the server grows to several times its size while somebody scrolls. To let the library return every
    large block at once (M_MMAP_THRESHOLD) would do too, but costs the time of a slice again.
    """

    def __init__(self) -> None:
        self._made = itertools.count(1)
        self._trim: Callable[[int], int] | None = None
        if sys.platform == "linux":
            self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def made_one(self) -> None:
        """To be called after each picture, in the thread that made it."""
        if next(self._made) % PICTURES_BETWEEN == 0 and self._trim is not None:
            self._trim(0)
