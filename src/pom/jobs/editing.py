"""Who may edit a tomogram's annotation: one page or command at a time, among all servers of a project."""

import getpass
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pom.errors import PomError
from pom.io.atomic import write_json
from pom.jobs.claims import LIFETIME, Claim, Claims

log = logging.getLogger(__name__)


class Editor(BaseModel):
    """Who edits a tomogram, as other pages are told."""

    model_config = ConfigDict(frozen=True)

    user: str
    """Whose server or command it is."""
    host: str
    """Where that runs."""
    address: str = ""
    """Where the page is; empty for a command."""
    since: float
    """Seconds since 1970."""

    def sentence(self) -> str:
        """Who, where and since when, for the page."""
        began = time.localtime(self.since)
        today = time.strftime("%Y%m%d", began) == time.strftime("%Y%m%d")
        when = time.strftime("%H:%M" if today else "%d %b, %H:%M", began)
        where = f" in a page at {self.address}" if self.address else ""
        return f"{self.user or 'Somebody'} on {self.host} edits this tomogram since {when}{where}."


class EditRights:
    """The rights to edit, one per tomogram, as expiring claims in the project's folder.

    Beside each claim lies a note that tells the other pages whose it is.
    """

    def __init__(self, folder: Path, lifetime: float = LIFETIME) -> None:
        self._folder = folder
        self._claims = Claims(folder, lifetime)

    def take(self, name: str, editor: Editor) -> Claim | None:
        """The right to edit a tomogram; None where another server or command has it.

        Raises:
            PomError: the project folder is full or read-only.
        """
        claim = self._claims.take(name)
        if claim is None and self._claims.free_dead(name):
            claim = self._claims.take(name)
        if claim is None:
            return None
        try:
            write_json(self._note(name), editor.model_dump(mode="json"), lasting=False)
        except PomError:
            claim.release()
            raise
        return claim

    def release(self, name: str, claim: Claim) -> None:
        """Gives the right back."""
        try:
            self._note(name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s was not removed: %s.", self._note(name), error.strerror or error)
        claim.release()

    @contextmanager
    def held(self, name: str) -> Iterator[Claim]:
        """Holds the right to edit a tomogram while a command changes its annotation.

        Raises:
            PomError: somebody else edits it, or the project folder is full or read-only.
        """
        claim = self.take(name, this_editor())
        if claim is None:
            other = self.editor(name)
            raise PomError(
                f"{'Somebody edits this tomogram.' if other is None else other.sentence()} Wait until nobody does, or"
                " close that page, and run this again."
            )
        try:
            yield claim
        finally:
            self.release(name, claim)

    def editor(self, name: str) -> Editor | None:
        """Who has the right; None where it is free, as far as can be told."""
        if not self._claims.is_taken(name) or self._claims.free_dead(name):
            return None
        try:
            return Editor.model_validate_json(self._note(name).read_bytes())
        except (OSError, ValidationError):
            holder = self._claims.holders().get(name)
            return None if holder is None else Editor(user="", host=holder.host, since=time.time())

    def close(self) -> None:
        """Gives all rights of this server back."""
        self._claims.close()

    def _note(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def this_editor(address: str = "") -> Editor:
    """The person whose server or command this is, at a page of that address."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        user = ""
    return Editor(user=user, host=socket.gethostname(), address=address, since=time.time())
