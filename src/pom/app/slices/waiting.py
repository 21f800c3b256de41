"""Work that requests wait for, done in threads so that the event loop never waits."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from pom.app.answers import DroppedError

Result = TypeVar("Result")
Key = TypeVar("Key")

Gone = Callable[[], Awaitable[bool]]
"""Asks whether nobody waits for the answer any more."""


class Newest:
    """Does work with so many threads; of what waits the newest comes first, and the oldest beyond ``most`` is dropped.

    Who scrolls wants the slice on the screen, not those that have passed.
    """

    def __init__(self, n_threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="slices")
        self._n_free = n_threads
        self._most = most
        self._waiting: list[asyncio.Future[None]] = []

    async def do(self, function: Callable[[], Result], gone: Gone) -> Result:
        """Calls a function in a thread.

        Raises:
            DroppedError: ``most`` newer ones wait, or nobody does when its turn has come.
        """
        await self._turn()
        try:
            if await gone():
                raise DroppedError("Nobody waits for this any more.")
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        finally:
            self._pass_on()

    async def _turn(self) -> None:
        if self._n_free:
            self._n_free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if len(self._waiting) > self._most:
            self._waiting.pop(0).set_exception(DroppedError("Newer slices were asked for since: ask again."))
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_free += 1


class PictureCache(Generic[Key]):
    """Pictures by what they show, up to so many bytes; the longest unused go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._images: OrderedDict[Key, bytes] = OrderedDict()

    def get(self, key: Key) -> bytes | None:
        """The bytes, if they are still there."""
        with self._lock:
            image = self._images.get(key)
            if image is not None:
                self._images.move_to_end(key)
            return image

    def put(self, key: Key, image: bytes) -> None:
        """Keeps bytes."""
        with self._lock:
            self._n_bytes += len(image) - len(self._images.pop(key, b""))
            self._images[key] = image
            while self._n_bytes > self._most_bytes:
                self._n_bytes -= len(self._images.popitem(last=False)[1])
