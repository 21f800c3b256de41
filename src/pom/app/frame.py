"""The frame of the web app: its look, its header, and its places."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import app, ui
from starlette.responses import RedirectResponse, Response

from pom.app.buttons import attribute
from pom.project.paths import Project

if TYPE_CHECKING:
    from pom.app.annotate.session import Sessions
    from pom.app.annotate.shared import Shared

ACCENT, PANEL, PAGE = "#86b4dc", "#1f1f1f", "#161616"
SECONDS_TO_RETURN = 120.0
"""A page that was cut off for less than this goes on as it was; after that it is loaded again."""


@dataclass(frozen=True)
class Place:
    """One of the app's places, as the header shows it."""

    title: str
    path: str


PLACES = (Place("Annotate", "/annotate"), Place("Browse", "/browse"))


@contextmanager
def frame(project: Project, place: Place) -> Iterator[ui.element]:
    """Lays out the header of a page; yields the element at its right end, for what the place adds there.

    The place's own content goes into a ``pom-main`` element.
    """
    ui.add_css(Path(__file__).with_name("frame.css").read_text(encoding="utf-8"))
    # Quasar writes white on negative, and dark on warning.
    ui.colors(primary=ACCENT, dark=PANEL, dark_page=PAGE, positive="#8fbf7f", negative="#b3453a", warning="#e0b060")
    name = project.folder.absolute().name
    with ui.element("header").classes("pom-header"):
        ui.link("Pom", "/").classes("pom-mark")
        ui.label(name).classes("pom-project").props(f'title="{attribute(str(project.folder.absolute()))}"')
        with ui.element("nav").classes("pom-places").props('aria-label="Places"'):
            for other in PLACES:
                link = ui.link(other.title, other.path).classes("pom-place")
                if other == place:
                    link.props("aria-current=page")
        yield ui.element("div").classes("pom-header-space")


def add_pages(project: Project, sessions: "Sessions", shared: "Shared", first: str) -> None:
    """Registers the app's pages: ``/annotate`` and ``/annotate/NAME?z=36``; ``/`` leads to the path ``first``."""
    from pom.app.annotate.page import annotate_page

    async def annotate(tomogram: str = "", z: str = "") -> None:
        await annotate_page(sessions, shared, tomogram, slice_of(z))

    async def start(z: str = "") -> None:
        await annotate_page(sessions, shared, "", slice_of(z))

    title = f"{project.folder.absolute().name} – Pom"
    for path, build in (("/annotate/{tomogram}", annotate), ("/annotate", start)):
        ui.page(path, title=title, dark=True, reconnect_timeout=SECONDS_TO_RETURN, language="en-US")(build)

    app.on_shutdown(sessions.close)

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse(first)


def slice_of(text: str) -> int | None:
    """The slice that an address asks for, rounded; None where it asks for none, or what it says is no number."""
    try:
        return round(float(text))
    except (ValueError, OverflowError):
        return None


def address_of(tomogram: str, z: int | None = None) -> str:
    """The address of a tomogram and slice, below the server's."""
    return f"/annotate/{quote(tomogram, safe='')}" + ("" if z is None else f"?z={z}")
