"""The annotation of the tomogram on a page: who edits it, and what is known of it, kept up to date with the disk."""

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from nicegui import background_tasks

from pom.app.annotate.banner import Banner
from pom.app.annotate.known import Known, know
from pom.app.annotate.session import Session

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

SECONDS_BETWEEN_READS = 0.1
"""What changes at almost the same time is read at once."""


class Editing:
    """Of one page; whoever else edits stands in a bar above the canvas."""

    def __init__(self, page: "AnnotatePage") -> None:
        self.session: Session | None = None
        self.known = Known()
        """As it was read last."""
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._waiting = self._reading = self._read_again = False

    def build(self) -> None:
        """Makes the bar."""
        self._banner = Banner(self._edit_here, lambda: self._page.canvas.reload())  # noqa: PLW0108  (made later)

    @property
    def may_edit(self) -> bool:
        """Whether the page may change the annotation."""
        return self.session is not None and self.session.may_edit

    def begin(self, session: Session, known: Known) -> None:
        """Leaves the tomogram before for another one."""
        if self.session is not None:
            self.session.leave()
        self.session, self.known = session, known
        session.listen(self._told)
        if not self._page.client.has_socket_connection:  # it went away while the tomogram was being opened
            session.lost()
        self._banner.drawn(known.stamp)

    def _told(self) -> None:
        """The annotation, or who edits it, has changed; called by any thread."""
        with contextlib.suppress(RuntimeError):  # the server is just ending
            self._loop.call_soon_threadsafe(self.read_soon)

    def read_soon(self) -> None:
        """Brings the page up to date in a moment."""
        if not self._waiting:
            self._waiting = True
            self._loop.call_later(SECONDS_BETWEEN_READS, self._read_now)

    def _read_now(self) -> None:
        self._waiting = False
        background_tasks.create(self.update(), name="update page")

    async def update(self) -> None:
        """Reads the annotation and who edits it, in a thread, and shows that; once at a time."""
        if self._reading:
            self._read_again = True
            return
        self._reading = True
        client = self._page.client
        try:
            self._read_again = True
            while self._read_again and self.session is not None and not client.is_deleted:
                self._read_again = False
                session = self.session
                known = await self._page.reported(asyncio.to_thread(know, session))
                if known is not None and session is self.session and not client.is_deleted:
                    last = self.known
                    self.known = replace(known, features=last.features, removed=last.removed) if known.fault else known
                    with client:
                        self._page.refresh()
        finally:
            self._reading = False

    def refresh(self) -> None:
        """Says who edits, where this page may not."""
        self._banner.show(self.known, may_edit=self.may_edit)

    async def _edit_here(self) -> None:
        """Takes the right to edit, and shows the annotation as it is now."""
        taken = self.session is not None and await self._page.attempt(self.session.take_edit)
        await self.update()
        if taken:
            self._page.make_canvas()
            self._banner.drawn(self.known.stamp)

    def lost(self) -> None:
        """The browser is away."""
        if self.session is not None:
            self.session.lost()

    async def back(self) -> None:
        """The browser is there again."""
        if self.session is not None:
            await asyncio.to_thread(self.session.back)
            await self.update()

    async def close(self) -> None:
        """The page is gone."""
        if self.session is not None:
            await asyncio.to_thread(self.session.close)
