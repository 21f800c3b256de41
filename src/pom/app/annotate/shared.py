"""What all pages of a server have in common, beside the annotations: pictures, and long work that is done once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pom.app.slices.pictures import Pictures

if TYPE_CHECKING:
    from pom.workflow.annotations import AnnotationSummary
    from pom.workflow.where_to_look import Suggestion

Result = TypeVar("Result")
Shape = tuple[int, int, int]
Progress = Callable[[int, int], None]


class SharedWork(Generic[Result]):
    """Long work that is never done twice at a time: who asks for it meanwhile waits for the same result.

    To be used from the event loop; the work itself is done in a thread, and goes on when its page is closed.
    """

    def __init__(self) -> None:
        self.result: Result | None = None
        """What was found last."""
        self.done = self.total = 0
        """How far it is."""
        self._task: asyncio.Task[Result] | None = None

    @property
    def running(self) -> bool:
        """Whether it is being done."""
        return self._task is not None and not self._task.done()

    def begin(self, work: Callable[[Progress], Result]) -> None:
        """Begins it, unless it is being done; ``work`` is given what it may call with how far it is."""
        if not self.running:
            self.done = self.total = 0
            self._task = asyncio.create_task(self._do(work))

    async def wait(self) -> Result | None:
        """The result of what was begun last; raises what that raised."""
        return None if self._task is None else await asyncio.shield(self._task)

    async def _do(self, work: Callable[[Progress], Result]) -> Result:
        self.result = await asyncio.to_thread(work, self._progressed)
        return self.result

    def _progressed(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass
class Shared:
    """One for all pages of a server."""

    pictures: Pictures
    places: "SharedWork[list[tuple[Suggestion, Shape]]]" = field(default_factory=SharedWork)
    """Where to look next, each with the shape (z, y, x) of its tomogram."""
    summaries: "SharedWork[Mapping[str, AnnotationSummary]]" = field(default_factory=SharedWork)
    """What is annotated."""
