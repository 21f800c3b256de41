"""Tomograms that take long to open, or cannot be opened, on the page."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pom.app.frame import slice_of
from pom.jobs.editing import EditRights
from pom.project.paths import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Until = Callable[..., Any]

SERVE = """
import sys
import time
from pathlib import Path
from pom.app.annotate.session import Sessions
from pom.app.serve import serve
from pom.project.paths import Project

def slow(self, name, *, opened=Sessions.open, **named):
    session = opened(self, name, **named)
    while Path(f"{name}.slow").exists():
        time.sleep(0.02)
    return session

Sessions.open = slow
Sessions.__init__.__kwdefaults__["grace"] = 0.5
serve(Project.open(Path.cwd()), "127.0.0.1", int(sys.argv[1]), tell=print)
"""
"""The server as it is, but that a tomogram opens only once there is no NAME.slow, and rights are given back at once."""


@pytest.fixture
def program() -> Sequence[str]:
    return (sys.executable, "-c", SERVE)


@pytest.fixture
def is_held(project: Project) -> Callable[[str], bool]:
    """Whether a page has the right to edit a tomogram."""
    rights = EditRights(project.editing_claims)
    return lambda name: rights.editor(name) is not None


def slow(project: Project, name: str) -> Path:
    path = project.folder / f"{name}.slow"
    path.touch()
    return path


def test_what_is_asked_for_last_is_shown(
    open_page: OpenPage, address: str, project: Project, until: Until, is_held: Callable[[str], bool]
) -> None:
    for name in ("TS_1", "TS_2"):  # Quasar complains of rows that are made in a tab that is not shown
        project.annotation(name).unlink()
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Tomograms").click()
    names = page.get_by_role("list", name="Tomograms")
    waiting = slow(project, "TS_3")
    names.get_by_text("TS_3", exact=True).click()
    until(lambda: is_held("TS_3"))
    names.get_by_text("TS_2", exact=True).click()
    page.get_by_role("heading", name="TS_2").wait_for()
    waiting.unlink()
    until(lambda: not is_held("TS_3"))  # nobody wants it any more
    assert page.get_by_role("heading", name="TS_2").is_visible() and is_held("TS_2")

    # Two clicks go two tomograms on, and back to the one on the page.
    page.get_by_role("button", name="Previous tomogram").click()
    page.get_by_role("heading", name="TS_1").wait_for()
    waiting = slow(project, "TS_2")
    for _ in range(2):
        page.get_by_role("button", name="Next tomogram").click()
    page.get_by_role("heading", name="TS_3").wait_for()
    page.get_by_role("button", name="Previous tomogram").click()
    names.get_by_text("TS_3", exact=True).click()
    waiting.unlink()
    until(lambda: not is_held("TS_2"))
    assert page.get_by_role("heading", name="TS_3").is_visible() and is_held("TS_3")


def test_a_page_that_is_closed_meanwhile_keeps_no_right(
    open_page: OpenPage, address: str, project: Project, until: Until, is_held: Callable[[str], bool]
) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    waiting = slow(project, "TS_2")
    page.get_by_role("button", name="Next tomogram").click()
    until(lambda: is_held("TS_2"))
    page.context.close()
    until(lambda: not is_held("TS_1"))
    assert is_held("TS_2")
    waiting.unlink()
    until(lambda: not is_held("TS_2"))


def test_a_tomogram_that_is_not_there(open_page: OpenPage, address: str, project: Project) -> None:
    page = open_page(f"{address}/annotate/TS_2")
    page.goto(f"{address}/annotate/NOPE")
    page.locator(".pom-nothing").get_by_text("There is no tomogram 'NOPE'").wait_for()
    assert page.get_by_role("button", name="Add a feature").is_disabled()
    for name in ("The whole slice", "All keys", "Undo", "Brush", "Previous tomogram"):
        page.get_by_role("button", name=name).first.click(force=True)
    page.get_by_role("heading", name="TS_1").wait_for()
    page.locator(".pom-stage").wait_for()
    assert page.locator(".pom-nothing").count() == 0
    assert "Traceback" not in (project.folder / "server.log").read_text()


def test_an_address_with_an_odd_slice(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}/annotate/TS_2?z=abc")
    page.locator(".pom-stage[aria-label^='Slice 6 of TS_2']").wait_for()


@pytest.mark.parametrize(
    ("text", "z"), [("", None), ("7", 7), ("1.6", 2), ("-3", -3), ("abc", None), ("nan", None), ("inf", None)]
)
def test_slice_of_an_address(text: str, z: int | None) -> None:
    assert slice_of(text) == z
