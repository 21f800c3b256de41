"""The feature library and removed features on the page, with a real server and real files."""

from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import numpy as np
import pytest

from pom.app.annotate.preset_dialog import NUMBERS, preset_of
from pom.app.uploads import AROUND_A_FILE
from pom.errors import PomError
from pom.io.annotation_store import AnnotationStore
from pom.io.feature_library import LARGEST_FILE, FeatureLibrary, Preset
from pom.project.paths import Project
from pom.workflow.feature_library import change_library, load_library

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]

ENTERED: dict[str, object] = {
    "title": "ER", "colour": "#ff0000", "box_size": 48.0, "brush_size": 12, "alpha": 1, "level": 128.0, "dust": 0,
    "render_alpha": 0.5, "hide": True, "use": False,
}  # fmt: skip


def test_what_is_entered_becomes_a_preset() -> None:
    assert preset_of(ENTERED) == Preset(
        title="ER", colour=(1, 0, 0), box_size=48, brush_size=12.0, alpha=1.0, level=128, dust=0.0, render_alpha=0.5,
        hide=True, others={"use": False},
    )  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.key)
def test_an_empty_number_is_named_with_its_range(number: Any) -> None:
    with pytest.raises(PomError) as caught:
        preset_of({**ENTERED, number.key: None})
    assert str(caught.value) == f"'{number.label}' is empty: give a number from {number.low:.0f} to {number.high:.0f}."


def test_a_dialog_that_cannot_be_saved_stays_open(open_page: OpenPage, address: str, project: Project) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Edit Disc").click()
    page.get_by_label("Brush size, nm").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("'Brush size, nm' is empty: give a number from 1 to 5000.").wait_for()
    page.get_by_label("Brush size, nm").fill("21")
    page.get_by_label("Title").fill("Square")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("The library has a preset 'Square' already").wait_for()
    assert not project.feature_library.exists()
    page.get_by_label("Title").fill("Round")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Round is saved.").wait_for()
    assert [(preset.title, preset.brush_size) for preset in load_library(project).presets] == [
        ("Round", 21),
        ("Square", 10),
    ]
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Title").fill("Round")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("The library has a preset 'Round' already").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Title").wait_for(state="detached")
    assert load_library(project).titles == ("Round", "Square")


def test_what_others_change_in_the_library_appears(open_page: OpenPage, address: str, project: Project) -> None:
    first, second = (open_page(f"{address}/annotate/{name}") for name in ("TS_1", "TS_2"))
    for page in (first, second):
        page.get_by_role("tab", name="Library").click()
    first.get_by_role("button", name="Delete Square").click()
    first.get_by_role("button", name="Delete", exact=True).click()
    second.get_by_role("button", name="Edit Square").wait_for(state="detached")

    def add(library: FeatureLibrary) -> FeatureLibrary:  # as another server does
        return library.with_preset(library.new_preset("Golgi", 64))

    change_library(project, add)
    for page in (first, second):
        page.get_by_role("button", name="Edit Golgi").wait_for()
    project.feature_library.write_text("{")
    first.get_by_text("is not valid JSON").wait_for()
    second.get_by_role("button", name="Edit Golgi").wait_for()


def test_a_preset_taken_from_a_feature_keeps_what_else_it_says(
    open_page: OpenPage, address: str, project: Project
) -> None:
    disc = Preset(title="Disc", colour=(0, 0, 1), box_size=99, dust=7.0, level=99, others={"use": False})
    change_library(project, lambda library: library.with_preset(disc))
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("button", name="More about Disc").click()
    page.get_by_text("Add to the library").click()
    page.get_by_text("Disc is in the library.").wait_for()
    preset = load_library(project).presets[0]
    assert (preset.title, preset.box_size, preset.dust, preset.level) == ("Disc", 32, 7.0, 99)
    assert preset.others == {"use": False}


def test_a_removed_feature_is_put_back(open_page: OpenPage, address: str, project: Project) -> None:
    native = project.native_annotation("TS_1")
    page = open_page(f"{address}/annotate/TS_1")

    def remove() -> None:
        page.get_by_role("button", name="More about Disc").click()
        page.get_by_text("Remove …").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_text("Disc was removed.").wait_for()

    def titles() -> list[str]:
        return [feature.title for feature in AnnotationStore.open(native).features]

    remove()
    assert titles() == ["Square"]
    (before,) = AnnotationStore.open(native).removed_features()
    # It fails, and then it does not: the masks' place is taken, and free again.
    in_the_way = native / "masks" / "f1" / "c.0.0.0"
    in_the_way.parent.mkdir()
    in_the_way.write_bytes(b"")
    page.get_by_role("button", name="Put it back").click()
    page.get_by_text("cannot be written").wait_for()
    assert titles() == ["Square"]
    in_the_way.unlink()
    in_the_way.parent.rmdir()
    page.get_by_role("button", name="Put it back").click()
    page.get_by_text("Disc was removed.").wait_for(state="detached")
    store = AnnotationStore.open(native)
    assert store.feature("f1") == before and titles() == ["Disc", "Square"]
    assert all(store.mask("f1", z).any() for z in before.drawn)
    # From the menu, long after.
    remove()
    page.reload()
    page.get_by_role("button", name="More about Square").wait_for()
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_text("Put Disc back, with 4 boxes, 2 slices drawn").click()
    page.get_by_role("button", name="More about Disc").wait_for()
    assert AnnotationStore.open(native).feature("f1") == before
    assert np.array_equal(AnnotationStore.open(native).mask("f1", 3), store.mask("f1", 3))


def test_the_server_refuses_a_long_upload_whatever_the_browser_allows(
    open_page: OpenPage, address: str, tmp_path: Path
) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Library").click()
    file = tmp_path / "f.txt"
    file.write_text("{")
    with page.expect_request("**/upload/*") as upload:
        page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("f.txt is not valid JSON").wait_for()
    head = b'--xyz\r\nContent-Disposition: form-data; name="f"; filename="g.txt"\r\n\r\n'
    answers = []
    for size in (100, LARGEST_FILE + AROUND_A_FILE):
        connection = HTTPConnection(urlparse(address).netloc, timeout=20)
        body = head + b" " * size + b"\r\n--xyz--\r\n"
        connection.request("POST", upload.value.url, body, {"Content-Type": "multipart/form-data; boundary=xyz"})
        answers.append(connection.getresponse().status)
        connection.close()
    assert answers == [200, 413]
    page.get_by_text("g.txt is not valid JSON").wait_for()
