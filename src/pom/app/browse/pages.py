"""How a page is put together: its frame, its tabs, its address, and what it says where something is wrong.

The pages are HTML made here, without NiceGUI: a table of a hundred rows is on the screen in half the time, the server
keeps nothing of a page, and going back shows the page as it was. The header looks as that of the other places.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import nicegui
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from pom.app.answers import NotFoundError
from pom.app.browse.browsing import Browsing
from pom.app.frame import PLACES
from pom.app.numbers import whole
from pom.app.slices.routes import ASK_AGAIN
from pom.errors import PomError
from pom.workflow.atlas import Query

HERE = Path(__file__).parent
BROWSE = "/browse"
TOMOGRAM = f"{BROWSE}/tomogram"
STATIC = f"{BROWSE}/static"
FILES = {path.name: path for path in (HERE.parent / "frame.css", *sorted((HERE / "static").iterdir()))}
FILES["three.js"] = Path(nicegui.__file__).parent / "elements" / "scene" / "dist" / "index.js"
"""What draws in three dimensions lies in NiceGUI, as one module."""


@dataclass(frozen=True)
class Tab:
    """One of the pages between which one goes to and fro with the same query."""

    title: str
    path: str


TABS = [
    Tab("Overview", BROWSE),
    Tab("Table", f"{BROWSE}/table"),
    Tab("Gallery", f"{BROWSE}/gallery"),
    Tab("Subsets", f"{BROWSE}/subsets"),
    Tab("Settings", f"{BROWSE}/settings"),
]

KEPT = {"show": "are no figures", "kind": "are no pictures", "size": "is no size"}
"""How the table and the gallery are shown, kept from tab to tab beside the query; what is said where it cannot be."""


@dataclass(frozen=True)
class Way:
    """A link to go on by."""

    title: str
    path: str


class LostError(NotFoundError):
    """There is no such page; ``ways``: where one may have wanted to go, the likeliest first."""

    def __init__(self, sentence: str, ways: Sequence[Way]) -> None:
        super().__init__(sentence)
        self.ways = ways


class View:
    """What the address of a page says: the query, and how what it finds is shown.

    Args:
        browsing: the dataset.
        request: for the page.

    Raises:
        PomError: the summary's file is damaged.
    """

    def __init__(self, browsing: Browsing, request: Request) -> None:
        self.path = request.url.path
        self.query = browsing.atlas.query(request.query_params)
        self.shown = {key: request.query_params[key] for key in KEPT if request.query_params.get(key)}
        self.dropped = list(self.query.dropped)
        """What of the address is not understood, a sentence each."""
        self._page = request.query_params.get("page", "")

    def choice(self, key: str, among: Mapping[str, Any]) -> str:
        """What is chosen of some possibilities; the first of them where nothing is, or, dropped, something else."""
        chosen = self.shown.get(key, "")
        if chosen in among:
            return chosen
        if self.shown.pop(key, ""):
            self.dropped.append(f"There {KEPT[key]} {chosen!r} here.")
        return next(iter(among), "")

    def page(self, n_pages: int) -> int:
        """The page that is asked for, from 1; the first or last one where there is no such page, which is dropped."""
        number = whole(self._page or "1")
        if number is not None and 1 <= number <= n_pages:
            return number
        beyond = number is not None and number > n_pages
        self.dropped.append(f"There is no page {self._page[:20]!r}: this is the {'last' if beyond else 'first'} one.")
        return n_pages if beyond else 1

    def address(self, path: str, *, query: Query | None = None, page: int = 1, **shown: str) -> str:
        """An address with the query, or with another one, and with how it is shown."""
        named: dict[str, Any] = dict((query or self.query).parameters())
        named |= {**self.shown, **shown}
        if page > 1:
            named["page"] = str(page)
        return f"{path}?{urlencode(named, doseq=True, safe=':')}" if named else path

    def tomogram(self, name: str) -> str:
        """The address of a tomogram's own page, which goes on with the query."""
        return self.address(f"{TOMOGRAM}/{quote(name, safe='')}")


def page(
    browsing: Browsing, request: Request, template: str, fill: Callable[[Browsing, View], Mapping[str, Any]]
) -> HTMLResponse:
    """A page of the place Browse.

    Args:
        browsing: the dataset.
        request: for the page.
        template: the name of a file in ``templates``.
        fill: gives what the template shows of the dataset as it was at one moment, whatever is summarised meanwhile; a
            PomError of it becomes the page.
    """
    folder = browsing.project.folder.absolute()
    frame = {
        "title": next((tab.title for tab in TABS if tab.path == request.url.path), "Browse"),
        "project": folder.name, "folder": str(folder), "places": PLACES, "file": file_address,
    }  # fmt: skip
    status, tabs = 200, _tabs(request, None)
    try:
        now = browsing.now()
        view = View(now, request)
        tabs = _tabs(request, view)
        filled = fill(now, view)
        tabs = _tabs(request, view)  # without what was dropped meanwhile
        content = render(template, **{**frame, "tabs": tabs, "view": view, **filled})
    except PomError as error:
        status = 404 if isinstance(error, NotFoundError) else 422
        ways = error.ways if isinstance(error, LostError) else ()
        content = render("fault.html", **frame, tabs=tabs, fault=str(error), ways=ways)
    return HTMLResponse(content, status_code=status, headers={"cache-control": ASK_AGAIN})


def _tabs(request: Request, view: View | None) -> list[tuple[str, str, bool]]:
    """The tabs' titles, addresses, and which one is shown."""
    return [(tab.title, view.address(tab.path) if view else tab.path, tab.path == request.url.path) for tab in TABS]


def render(template: str, **values: Any) -> str:
    """The HTML of a template; every text in it is escaped."""
    return _environment().get_template(template).render(**values)


def file_address(name: str) -> str:
    """The address of a style sheet or script, which is another one once the file is."""
    return f"{STATIC}/{name}?v={file_tag(name)}"


@cache
def file_tag(name: str) -> str:
    """A short text that changes with a style sheet or script."""
    return hashlib.sha256(FILES[name].read_bytes()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
