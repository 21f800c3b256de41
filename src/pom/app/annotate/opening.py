"""Opening a tomogram in a page, which takes a while where the disk is slow, or a file of Ais large."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pom.app.annotate.known import Known, know
from pom.app.annotate.looking import Shown
from pom.app.annotate.session import Session, Sessions
from pom.app.slices.layers import layers_of
from pom.app.slices.volumes import tag_of
from pom.errors import PomError
from pom.io.mrc import pixel_size_nm, read_header

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

Place = tuple[float, float]
"""(x, y) in pixels."""


@dataclass(frozen=True)
class Opened:
    """A tomogram, and what there is to know of it before it is shown."""

    session: Session
    shown: Shown
    known: Known


@dataclass(eq=False)
class _Wish:
    """What a page is to show; two of one tomogram are not the same."""

    name: str = ""
    z: int | None = None
    at: Place | None = None


class Opening:
    """Of one page: the tomogram asked for last is shown, however long those asked for before it take.

    ``tab``, ``address``: of the page, see ``Session``.
    """

    def __init__(self, page: "AnnotatePage", tab: str, address: str) -> None:
        self.looks_at = ""
        """What the page only looked at before it was loaded again: it is not to be faster than whoever edits that."""
        self._page, self._tab, self._address = page, tab, address
        self._wish = _Wish()

    @property
    def wanted(self) -> str:
        """The tomogram that was asked for last; "" before there is one."""
        return self._wish.name

    async def show(self, name: str, z: int | None, at: Place | None) -> None:
        """Shows a tomogram as soon as it is open, unless another one is asked for before that."""
        page = self._page
        is_here = page.shown is not None and page.shown.name == name
        if name == self.wanted and not is_here:  # it is on its way
            self._wish.z, self._wish.at = z, at
            return
        self._wish = wish = _Wish(name, z, at)
        if is_here:
            if z is not None:
                page.go_to(z, at)
            return
        opened, fault = await self._try(name)
        if wish is not self._wish or page.client.is_deleted:
            if opened is not None:
                await asyncio.to_thread(opened.session.close)
        elif opened is not None:
            self.looks_at = ""
            page.show_opened(opened, wish.z, wish.at)
        elif page.shown is not None:
            self._wish = _Wish(page.shown.name)
        else:
            self._wish = _Wish()
            page.show_none(fault)

    async def _try(self, name: str) -> tuple[Opened | None, str]:
        """The tomogram, or why it cannot be opened; that is said on the page, too."""
        try:
            return await asyncio.to_thread(self._open, name), ""
        except Exception as error:
            return None, self._page.tell(error)

    def _open(self, name: str) -> Opened:
        return open_tomogram(
            self._page.sessions, name, tab=self._tab, address=self._address, look=self.looks_at == name
        )


def open_tomogram(sessions: Sessions, name: str, *, tab: str, address: str, look: bool) -> Opened:
    """Opens a tomogram as ``Sessions.open`` does, and reads what there is to know of it; to be called in a thread.

    Raises:
        PomError: there is no such tomogram, or it or its annotation cannot be read.
        OSError: a folder of what lies over it cannot be read.
    """
    session = sessions.open(name, tab=tab, address=address, look=look)
    try:
        return _read(sessions, session)
    except BaseException:
        session.close()  # or the right to edit would be kept for nothing
        raise


def _read(sessions: Sessions, session: Session) -> Opened:
    project, name = sessions.project, session.name
    path = project.tomogram(name)
    header = read_header(path)
    pixel_size = pixel_size_nm(header, project.configuration.apix)
    layers = tuple(layers_of(project, name))
    known = know(session)
    if known.fault:
        raise PomError(known.fault)
    return Opened(session, Shown(name, header.shape, pixel_size, layers, tag_of(path)), known)
