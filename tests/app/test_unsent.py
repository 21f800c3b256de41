"""Two people at one tomogram: what one could not send is never written over what the other drew, unless they say so."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.app.annotate.document import Document
from pom.io.annotation_store import AnnotationStore
from pom.jobs.editing import EditRights
from pom.project.paths import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Until = Callable[..., Any]

NAME, Z = "TS_3", 6
PATCHES = "**/api/sessions/*/patches"
SERVE = """
import sys
from pathlib import Path
from pom.app.annotate.session import Sessions
from pom.app.serve import serve
from pom.project.paths import Project
Sessions.__init__.__kwdefaults__["grace"] = 0.5
serve(Project.open(Path.cwd()), "127.0.0.1", int(sys.argv[1]), tell=print)
"""
"""The server as it is, but that a page that is gone gives back its right at once."""


@pytest.fixture
def program() -> Sequence[str]:
    return (sys.executable, "-c", SERVE)


def board(page: "Page", condition: str) -> None:
    page.locator(".pom-stage").wait_for()
    page.wait_for_function(
        "window.board = getElement(document.querySelector('.pom-canvas').id.slice(1)).board,"
        f"board.screen.shown === board.z && board.drawing.masks.slices.get(board.z) && ({condition})"
    )


def draw(page: "Page", x: int, y: int) -> None:
    """A dot at pixel (x, y), of 10 nm."""
    board(page, "true")
    page.evaluate("board.change('brush_size', 10, 'brush')")
    corner = page.locator(".pom-stage").bounding_box()
    assert corner is not None
    left, top = page.evaluate(f"board.view.toScreen({x}, {y})")
    page.mouse.click(corner["x"] + left, corner["y"] + top)


def stored(project: Project) -> NDArray[np.uint8]:
    return AnnotationStore.open(project.native_annotation(NAME)).mask("f1", Z)


SENT = "!board.drawing.sync.queue.length && board.drawing.sync.state === 'saved'"


@pytest.fixture
def interrupted(open_page: OpenPage, address: str, project: Project) -> tuple["Page", "Page"]:
    """Anna has drawn two dots that did not reach the server, and has lost the right to edit to Ben."""
    anna = open_page(f"{address}/annotate/{NAME}?z={Z}", away=True)
    anna.get_by_role("button", name="Add a feature").click()
    anna.get_by_role("menu").get_by_text("Disc", exact=True).click()
    board(anna, "board.options.active === 'f1'")
    draw(anna, 10, 50)
    board(anna, SENT)
    ben = open_page(f"{address}/annotate/{NAME}?z={Z}", away=True)
    ben.get_by_text("edits this tomogram since").wait_for()
    anna.route(PATCHES, lambda route: route.abort("connectionrefused"))
    draw(anna, 10, 10)
    draw(anna, 30, 10)
    board(anna, "board.drawing.sync.state === 'offline'")
    anna.evaluate("socket.disconnect()")
    ben.get_by_role("button", name="Edit here").click()
    ben.get_by_text("Saved", exact=True).wait_for()
    anna.evaluate("socket.connect()")
    anna.get_by_text("2 changes of this page are not saved yet, waiting for the right to edit.").wait_for()
    anna.unroute(PATCHES)
    return anna, ben


def take_over(anna: "Page", ben: "Page") -> None:
    ben.context.close()
    anna.get_by_role("button", name="Edit here").click()


@pytest.mark.parametrize("answer", ["Go to TS_3", "Discard"])
def test_what_a_tomogram_was_left_with_is_not_forgotten(
    open_page: OpenPage, address: str, project: Project, until: Until, answer: str
) -> None:
    page = open_page(f"{address}/annotate/{NAME}?z={Z}", away=True)
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_role("menu").get_by_text("Disc", exact=True).click()
    board(page, "board.options.active === 'f1'")
    page.route(PATCHES, lambda route: route.abort("connectionrefused"))
    draw(page, 10, 10)
    board(page, "board.drawing.sync.state === 'offline'")
    page.get_by_role("button", name="Previous tomogram").click()
    page.get_by_role("heading", name="TS_2").wait_for()
    rights = EditRights(project.editing_claims)
    until(lambda: rights.editor(NAME) is None)  # no stroke of there is taken any more
    page.unroute(PATCHES)
    left = page.get_by_text(f"1 change of {NAME} could not be saved: go back there to save it.")
    left.wait_for()
    page.reload()
    left.wait_for()
    page.get_by_role("button", name=answer).click()
    left.wait_for(state="detached")
    if answer == "Discard":
        page.get_by_role("button", name="Next tomogram").click()
    page.get_by_role("heading", name=NAME).wait_for()
    board(page, f"board.options.tomogram.name === '{NAME}' && {SENT}")
    assert stored(project)[10, 10] == (answer != "Discard")
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('pom-unsent'))") == []


@pytest.mark.parametrize("answer", ["Save mine over it", "Discard mine"])
def test_what_another_has_drawn_is_not_written_over_unasked(
    interrupted: tuple["Page", "Page"], project: Project, answer: str
) -> None:
    anna, ben = interrupted
    before = stored(project)
    draw(ben, 12, 10)
    board(ben, SENT)
    theirs = stored(project)
    assert theirs.sum() > before.sum()
    take_over(anna, ben)
    anna.get_by_text("2 changes of yours were not saved, and the annotation has changed since.").wait_for()
    draw(anna, 50, 50)
    anna.get_by_text("Say first what is to become of your unsaved changes").wait_for()
    stamp = Document(project, NAME).stamp
    assert np.array_equal(stored(project), theirs)
    anna.get_by_role("button", name=answer).click()
    anna.get_by_role("alert").filter(visible=True).wait_for(state="detached")
    board(anna, SENT)
    if answer == "Discard mine":
        assert Document(project, NAME).stamp == stamp
        assert np.array_equal(stored(project), theirs)
    else:
        after = stored(project)
        assert after[10, 10] == after[10, 30] == 1 and theirs[10, 30] == 0
        assert np.array_equal(after[20:], theirs[20:])
    anna.reload()
    board(anna, SENT)
    draw(anna, 60, 50)
    board(anna, SENT)
    assert stored(project)[50, 60] == 1


def test_where_nobody_has_drawn_it_is_sent_unasked(interrupted: tuple["Page", "Page"], project: Project) -> None:
    anna, ben = interrupted
    before = stored(project)
    take_over(anna, ben)
    board(anna, f"board.drawing.sync.version && {SENT}")
    assert anna.get_by_role("alert").filter(visible=True).count() == 0
    after = stored(project)
    assert after[10, 10] == after[10, 30] == 1 and before[10, 30] == 0
    assert np.array_equal(after[20:], before[20:])
