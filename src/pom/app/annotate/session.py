"""Open pages: each looks at a tomogram, and one of them at a time may change its annotation."""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pom.app.annotate.current_project import CurrentProject
from pom.app.annotate.document import Document, Version
from pom.app.answers import ConflictError, NotFoundError
from pom.errors import PomError
from pom.io.annotation_store import StoredFeature
from pom.io.mrc import read_header
from pom.io.stamps import FileStamp, file_stamp
from pom.jobs.claims import LIFETIME, Claim, ClaimLost
from pom.jobs.editing import Editor, EditRights, this_editor
from pom.project.paths import Project

log = logging.getLogger(__name__)

CHANGED_ON_DISK = (
    "The annotation of {name} has changed on disk meanwhile, so this was not saved over it: load the page again."
)
GRACE = 15.0
"""Seconds after which a page that is gone gives back the right to edit; a reload or a short break costs nothing."""


class UnknownSession(NotFoundError):  # noqa: N818  (what happened, not a fault)
    """The page belongs to an earlier run of the server, or was closed."""


class NotEditing(ConflictError):  # noqa: N818
    """The page may look but not change anything."""


class Session:
    """One page that shows one tomogram. Every method may be called by any thread.

    ``tab``: the browser's tab, the same after a reload. ``address``: where the browser is.
    """

    def __init__(self, sessions: "Sessions", desk: "_Desk", tab: str, address: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.tab = tab
        self.editor = this_editor(address)
        self.connected = True
        self.seen: Version | None = None
        """The annotation as this page last knew it, while it could change it."""
        self._sessions = sessions
        self._desk = desk
        self._listeners: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """The tomogram."""
        return self._desk.document.name

    @property
    def document(self) -> Document:
        """The annotation, for looking at it."""
        return self._desk.document

    @property
    def may_edit(self) -> bool:
        """Whether this page has the right to edit."""
        return self._desk.holder is self

    @property
    def version(self) -> Version | None:
        """The annotation as the page knows it; None where it may not change it."""
        return self.seen if self.may_edit else None

    def other_editor(self) -> Editor | None:
        """Who else edits this tomogram; None where nobody does."""
        holder = self._desk.holder
        if holder is not None:
            return None if holder is self else holder.editor
        return self._sessions.rights.editor(self.name)

    def take_edit(self) -> bool:
        """Takes the right to edit, if it is free; returns whether this page has it now."""
        return self._desk.take(self)

    # Changes: each is on disk when the method returns

    def write_patch(self, feature_id: str, z: int, y: int, x: int, mask: NDArray[np.bool_]) -> Version:
        """Sets the pixels of a rectangle of slice ``z`` whose first corner is (y, x)."""
        with self._changing():
            feature = self.document.feature(feature_id)
            self.document.store().write_patch(feature.id, z, y, x, mask)
            return self.document.version

    def set_boxes(self, feature_id: str, z: int, centres: Sequence[tuple[float, float]]) -> Version:
        """Replaces the boxes of slice ``z`` by some with these centres (x, y)."""
        with self._changing():
            feature = self.document.feature(feature_id)
            self.document.store().set_boxes(feature.id, z, list(centres))
            return self.document.version

    def add_feature(self, title: str, box_size: int, colour: str | None = None) -> StoredFeature:
        """Adds a feature; the first one makes the store."""
        with self._changing():
            self._refuse_second(title)
            return self.document.store().add_feature(title, box_size, colour or self.document.next_colour())

    def change_feature(
        self, feature_id: str, *, title: str | None = None, colour: str | None = None, box_size: int | None = None
    ) -> None:
        """Renames or recolours a feature, or gives its boxes another side, in pixels."""
        with self._changing():
            feature = self.document.feature(feature_id)
            if title is not None and title != feature.title:
                self._refuse_second(title, but=feature_id)
            self.document.store().change_feature(feature.id, title=title, colour=colour, box_size=box_size)

    def remove_feature(self, feature_id: str) -> StoredFeature:
        """Removes a feature with all that was drawn of it, and returns it; it can be put back."""
        with self._changing():
            feature = self.document.feature(feature_id)
            self.document.store().remove_feature(feature.id)
            return feature

    def put_back(self, feature_id: str) -> StoredFeature:
        """Puts a removed feature back as it was.

        Raises:
            PomError: there is one of its title now, or it cannot be put back.
        """
        with self._changing():
            for feature in self.document.removed_features():
                if feature.id == feature_id:
                    self._refuse_second(feature.title, instead="rename that one first")
            return self.document.store().restore_feature(feature_id)

    def _refuse_second(self, title: str, but: str = "", instead: str = "draw in that one") -> None:
        for feature in self.document.features():
            if feature.title.casefold() == title.casefold() and feature.id != but:
                raise PomError(f"{self.name} has a feature {feature.title!r} already: {instead}.")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self.document.lock:
            self._desk.make_sure(self)
            yield
            self.seen = self.document.version
        self._desk.tell()

    # Being told of changes

    def listen(self, listener: Callable[[], None]) -> None:
        """Calls ``listener`` after changes of the annotation or of who edits it, from whichever thread made them."""
        self._listeners.append(listener)

    def told(self) -> None:
        """Something has changed."""
        for listener in list(self._listeners):
            listener()

    # The page's life

    def lost(self) -> None:
        """The browser is away: after a short time its right to edit is given back, unless it returns."""
        self.connected = False
        self._after_grace(self._give_back_if_away)

    def leave(self) -> None:
        """The page has gone on to another tomogram; strokes that are still on their way are taken for a short time."""
        self.connected = False
        self._listeners.clear()
        self._after_grace(self.close)

    def back(self) -> None:
        """The browser is there again."""
        self.connected = True
        self._desk.resume(self)

    def close(self) -> None:
        """The page is gone for good."""
        self.connected = False
        self._listeners.clear()
        self._sessions.forget(self, self._desk)

    def _after_grace(self, action: Callable[[], None]) -> None:
        timer = threading.Timer(self._sessions.grace, action)
        timer.daemon = True
        timer.start()

    def _give_back_if_away(self) -> None:
        if not self.connected:
            self._desk.release(self)


class _Desk:
    """A tomogram that is open in pages of this server, and which of them has the right to edit."""

    def __init__(self, document: Document, rights: EditRights) -> None:
        self.document = document
        self.pages: list[Session] = []
        self.holder: Session | None = None
        self._rights = rights
        self._claim: Claim | None = None

    def take(self, page: Session) -> bool:
        with self.document.lock:
            if self.holder is page:
                return True
            if self.holder is not None:
                if self.holder.connected or self.holder.tab != page.tab:
                    return False
                self.holder = None  # the same tab, loaded again: the claim changes hands
            if self._claim is None:
                self._claim = self._rights.take(self.document.name, page.editor)
                if self._claim is None:
                    return False
            self.document.begin()
            page.seen = self.document.version  # first: what it knew before must never be taken for what is there now
            self.holder = page
        self.tell()
        return True

    def resume(self, page: Session) -> bool:
        """Gives the right back to a page that was away, if nobody has changed anything in the meantime."""
        with self.document.lock:
            unchanged = page.seen is not None and page.seen["stamp"] == self.document.stamp
            return self.holder is page or (unchanged and self.take(page))

    def make_sure(self, page: Session) -> None:
        """Raises NotEditing unless the page has the right to edit and its claim holds."""
        if not self.resume(page):
            other = page.other_editor()
            raise NotEditing(
                other.sentence() if other else "Editing here has ended, and this was not saved: load the page again."
            )
        if self._claim is None:
            raise NotEditing("Editing here has ended, and this was not saved: load the page again.")
        try:
            self._claim.check()
        except ClaimLost as error:
            self.holder = self._claim = None
            self.document.begin()
            raise NotEditing(str(error)) from error
        if page.seen is None or page.seen["stamp"] != self.document.stamp:
            raise NotEditing(CHANGED_ON_DISK.format(name=self.document.name))

    def release(self, page: Session) -> None:
        with self.document.lock:
            if self.holder is not page:
                return
            self.holder = None
            self.document.begin()
            claim, self._claim = self._claim, None
        if claim is not None:
            self._rights.release(self.document.name, claim)
        self.tell()

    def tell(self) -> None:
        for page in list(self.pages):
            page.told()


class Sessions:
    """All open pages of a project.

    Args:
        project: whose tomograms are annotated, as it is to begin with.
        grace: seconds after which a page that is away gives back the right to edit.
        lifetime: seconds after which the rights of a server that was killed, or is cut off, expire.
    """

    def __init__(self, project: Project, *, grace: float = GRACE, lifetime: float = LIFETIME) -> None:
        self.current = CurrentProject(project)
        self.grace = grace
        self.rights = EditRights(project.editing_claims, lifetime)
        self._mutex = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._desks: dict[str, _Desk] = {}
        self._shapes: dict[str, tuple[FileStamp, tuple[int, int, int]]] = {}

    @property
    def project(self) -> Project:
        """As it is now: the configuration can change while pages are open."""
        return self.current.project

    def open(self, name: str, *, tab: str = "", address: str = "", look: bool = False) -> Session:
        """Opens a tomogram in a page, which may edit it if nobody else does, unless it only wants to ``look``.

        Raises:
            PomError: the project has no tomogram of that name.
        """
        if name not in self.project.tomogram_names():
            raise PomError(f"There is no tomogram {name!r} in {self.project.tomogram_dir}.")
        with self._mutex:
            desk = self._desks.get(name)
            if desk is None:
                desk = self._desks[name] = _Desk(Document(self.project, name), self.rights)
            session = Session(self, desk, tab, address)
            for page in desk.pages if tab else ():
                if page.tab == tab:  # loaded again: the page before it is gone, whether that was noticed or not
                    page.connected = False
            desk.pages.append(session)
            self._sessions[session.id] = session
        try:
            if not look:
                session.take_edit()
        except PomError as error:  # a project that one may only read can be looked at all the same
            log.warning("%s", error)
        except BaseException:
            session.close()
            raise
        return session

    def get(self, session_id: str) -> Session:
        """The session of that id.

        Raises:
            UnknownSession: there is none.
        """
        session = self._sessions.get(session_id)
        if session is None:
            raise UnknownSession("This page belongs to an earlier run of the server: load it again.")
        return session

    def shape(self, name: str) -> tuple[int, int, int]:
        """The shape (z, y, x) of a tomogram; its header is read again once the file is another one."""
        path = self.project.tomogram(name)
        stamp, known = file_stamp(path), self._shapes.get(name)
        if known is None or known[0] != stamp:
            known = self._shapes[name] = stamp, read_header(path).shape
        return known[1]

    def forget(self, session: Session, desk: _Desk) -> None:
        """Ends a session; with the last one of a tomogram nothing of it stays in memory."""
        desk.release(session)
        with self._mutex:
            self._sessions.pop(session.id, None)
            if session in desk.pages:
                desk.pages.remove(session)
            if not desk.pages and self._desks.get(session.name) is desk:
                del self._desks[session.name]

    def close(self) -> None:
        """Ends all sessions."""
        for session in list(self._sessions.values()):
            session.close()
        self.rights.close()
