"""The place Browse in a real browser, with a real server: ``pom browse``."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pom.io.summary_files import TOMOGRAM, UNLIKE, UNLIKE_FLAG, write_parquet
from pom.project.paths import Project
from pom.workflow.subsets import list_subsets, subset_names, write_subset

if TYPE_CHECKING:
    from playwright.sync_api import Page

Browse = Callable[..., "Page"]
N = 130
NAMES = [f"TS_{number:03d}" for number in range(N)]


@pytest.fixture(scope="module")
def browsed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which only the summary and pictures are here: Disc is 0, 1, 2 ... 129 thirds of a percent."""
    folder = tmp_path_factory.mktemp("atlas")
    (folder / "project_configuration.json").write_text(
        '{"ontologies": ["Disc", "Square"], "macromolecules": ["Density"]}'
    )
    project = Project.open(folder)
    disc = np.arange(N) / 3
    table = pd.DataFrame({"Disc": disc, "Square": 50 - disc, "Unknown": 50.0}, pd.Index(NAMES, name=TOMOGRAM))
    table["Disc volume (um^3)"] = disc / 1000
    table[UNLIKE] = 0.5
    table[UNLIKE_FLAG] = False
    write_parquet(project.summary_parquet, table)
    for name in NAMES[:-1]:
        path = project.density_picture(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 32), 120).save(path)
    project.density_picture(NAMES[1]).write_bytes(b"no picture")
    return folder


@pytest.fixture
def browsed(browsed_folder: Path) -> Iterator[Project]:
    project = Project.open(browsed_folder)
    yield project
    for title in list_subsets(project):
        project.subset(title).unlink()


def rows(page: "Page") -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def found(page: "Page", text: str) -> None:
    page.locator(".b-found").filter(has_text=re.compile(rf"^\s*{text}\s*$")).wait_for()


def test_filter_sort_reload_and_back(browse: Browse) -> None:
    page = browse("/browse/table")
    found(page, "130 tomograms")
    assert rows(page) == NAMES[:100]
    page.keyboard.press("/")
    page.keyboard.type("ts_1")
    found(page, "30 of 130 tomograms")
    assert page.locator(":focus").get_attribute("name") == "q"
    page.get_by_label("Disc at most").fill("40")
    found(page, "21 of 130 tomograms")
    page.get_by_label("Disc at least").press_sequentially("39,5")  # a comma will do
    found(page, "2 of 130 tomograms")
    assert page.locator(":focus").get_attribute("aria-label") == "Disc at least"
    assert page.locator(":focus").input_value() == "39,5"
    page.get_by_role("link", name="Disc", exact=True).click()
    page.locator("th[aria-sort=descending]").filter(has_text="Disc").wait_for()
    assert rows(page) == ["TS_120", "TS_119"]
    page.get_by_role("link", name="Disc", exact=True).click()
    page.locator("th[aria-sort=ascending]").filter(has_text="Disc").wait_for()
    assert rows(page) == ["TS_119", "TS_120"]
    written = page.url
    assert written.endswith("/browse/table?q=ts_1&range=Disc:39.5:40&sort=Disc")
    page.reload()
    assert rows(page) == ["TS_119", "TS_120"]
    assert page.get_by_label("Disc at least").input_value() == "39.5"
    assert browse(written.partition("/browse")[1] + written.partition("/browse")[2]).url == written  # to a colleague
    for _ in range(3):
        page.go_back()
    found(page, "21 of 130 tomograms")
    assert page.get_by_label("Disc at least").input_value() == ""
    page.go_back()
    found(page, "30 of 130 tomograms")
    page.go_back()
    found(page, "130 tomograms")
    assert page.get_by_label("Search names").input_value() == ""
    page.go_forward()
    found(page, "30 of 130 tomograms")
    assert page.get_by_label("Search names").input_value() == "ts_1"


def test_pages_figures_and_conditions(browse: Browse) -> None:
    page = browse("/browse/table?range=Square:1:&sort=Disc&desc=1")
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**page=2*")
    page.locator(".b-pager").filter(has_text="101–130").wait_for()
    assert rows(page)[-1] == "TS_000"
    page.keyboard.press("[")
    page.locator(".b-pager").filter(has_text="1–100").wait_for()
    page.get_by_label("Figures").select_option("Volume, µm³")
    page.get_by_label("Disc volume (um^3) at least").fill("0.0425")
    found(page, "2 of 130 tomograms")
    assert rows(page) == ["TS_129", "TS_128"]
    page.get_by_role("link", name="Without: sorted by Disc ↓").wait_for()  # a column that is not shown now
    steps = page.evaluate("history.length")
    page.get_by_label("Disc volume (um^3) at least").fill("many")
    said = page.get_by_role("alert").filter(has_text="Disc volume (um^3) at least: 'many' is no number")
    said.wait_for()
    assert page.get_by_label("Disc volume (um^3) at least").get_attribute("aria-invalid") == "true"
    page.get_by_label("Disc volume (um^3) at least").fill("0.0425")
    said.wait_for(state="detached")
    assert page.evaluate("history.length") == steps  # nothing has changed
    page.get_by_label("Disc volume (um^3) at least").fill("many")
    said.wait_for()
    found(page, "2 of 130 tomograms")  # as it was
    page.get_by_role("link", name="Without: Disc volume (um^3) ≥ 0.0425").click()
    found(page, "130 tomograms")
    assert "show=volume" in page.url and "range=Square:1:" in page.url


def test_a_subset_by_hand(browse: Browse, browsed: Project) -> None:
    page = browse("/browse/table?sort=Disc&desc=1")
    page.get_by_label("Choose TS_127").check()
    page.get_by_label("Choose TS_125").click(modifiers=["Shift"])
    page.get_by_text("3 chosen").wait_for()
    page.get_by_role("link", name="Gallery").click()
    page.get_by_text("3 chosen").wait_for()  # goes along
    assert page.get_by_label("Choose TS_126").is_checked()
    page.get_by_label("Choose TS_126").uncheck()
    page.get_by_label("Choose TS_129").check()
    page.get_by_role("button", name="Make a subset…").click()
    page.get_by_label("Title").fill("Best")
    page.keyboard.press("Enter")
    page.get_by_text("The subset Best has 3 tomograms now.").wait_for()
    assert page.locator(":focus").get_attribute("aria-label") == "Choose TS_129"  # its bar is gone
    assert subset_names(browsed, "Best") == ("TS_127", "TS_125", "TS_129")
    assert page.get_by_text("chosen", exact=False).first.is_hidden()
    page.get_by_label("Subset", exact=True).select_option("Best")
    found(page, "3 of 130 tomograms")
    page.get_by_role("link", name="Table").click()
    page.wait_for_url("**/browse/table?sort=Disc&desc=1&subset=Best")
    assert rows(page) == ["TS_129", "TS_127", "TS_125"]


def test_a_subset_of_what_a_query_finds(browse: Browse, browsed: Project) -> None:
    write_subset(browsed, "Rich", ["TS_001"])
    page = browse("/browse/table?range=Disc:42:", expected="409|422")  # the title is taken, and then none
    page.get_by_role("button", name="Save as a subset…").click()
    page.get_by_text("Of the 4 tomograms that the query finds.").wait_for()
    page.get_by_label("Title").fill("Rich")
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_role("alert").filter(has_text="There is a subset 'Rich' already").wait_for()
    page.get_by_role("button", name="Add to it").click()
    page.get_by_text("The subset Rich has 5 tomograms now.").wait_for()
    assert subset_names(browsed, "Rich") == ("TS_001", *NAMES[126:])
    page.get_by_role("button", name="Save as a subset…").click()
    page.get_by_label("Title").fill("a/b")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="must not contain '/'").wait_for()
    page.keyboard.press("Escape")
    assert list_subsets(browsed) == ["Rich"]


def test_enter_changes_no_subset_that_is_there(browse: Browse, browsed: Project) -> None:
    write_subset(browsed, "Good", ["TS_000"])
    page = browse("/browse/table", expected="409")
    page.get_by_label("Choose TS_003").check()
    page.get_by_role("button", name="Make a subset…").click()
    page.get_by_label("Title").fill("Good")
    fault = page.get_by_role("alert").filter(has_text="There is a subset 'Good' already")
    for _ in range(2):  # nor where it is said already
        with page.expect_response("**/api/subsets") as asked:
            page.get_by_label("Title").press("Enter")
        assert asked.value.status == 409
        fault.wait_for()
    assert subset_names(browsed, "Good") == ("TS_000",)
    assert page.get_by_text("1 chosen").is_visible()
    page.get_by_role("button", name="Replace it").click()
    page.get_by_text("The subset Good has 1 tomogram now.").wait_for()
    assert subset_names(browsed, "Good") == ("TS_003",)


def test_blanks_of_a_title_stay(browse: Browse, browsed: Project) -> None:
    write_subset(browsed, "two  blanks", ["TS_000", "TS_001"])
    page = browse("/browse/table?subset=two++blanks")
    found(page, "2 of 130 tomograms")
    page.get_by_label("Search names").fill("ts_001")
    found(page, "1 of 130 tomograms")
    assert page.url.endswith("?subset=two++blanks&q=ts_001")
    page.get_by_label("Choose TS_001").check()
    page.get_by_role("button", name="Make a subset…").click()
    page.get_by_label("Title").fill("one  more")
    page.keyboard.press("Enter")
    page.get_by_text("The subset one  more has 1 tomogram now.").wait_for()
    page.get_by_label("Subset", exact=True).select_option(index=2)
    page.wait_for_url("**subset=one++more**")


def test_a_server_that_does_not_answer(browse: Browse) -> None:
    page = browse("/browse/table", expected="ERR_FAILED")
    page.route("**/browse/table?*", lambda route: route.abort())
    page.get_by_label("Search names").fill("ts_1")
    page.get_by_text("what you see is older than what you asked for").wait_for()
    assert page.evaluate("document.documentElement.dataset.loading") is None  # or the count stays grey
    found(page, "130 tomograms")


def test_the_gallery_on_the_same_query(browse: Browse) -> None:
    page = browse("/browse/table?range=Disc::0.9&sort=Disc&desc=1", expected="422")  # a broken picture
    page.get_by_role("link", name="Gallery").click()
    page.wait_for_url("**/browse/gallery?range=Disc::0.9&sort=Disc&desc=1")
    cards = page.locator(".b-card")
    assert [each.strip() for each in cards.locator(".b-caption").all_inner_texts()] == ["TS_002", "TS_001", "TS_000"]
    page.get_by_text("picture cannot be read").wait_for()
    shown = page.locator(".b-card img")
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth === 64)")
    assert shown.count() == 2
    page.get_by_label("Filter by a column").select_option("Square")
    page.keyboard.type("49.5")
    found(page, "2 of 130 tomograms")
    assert page.locator(":focus").get_attribute("aria-label") == "Square at least"
    page.get_by_role("link", name="Without: Disc ≤ 0.9").click()
    page.wait_for_url("**/browse/gallery?range=Square:49.5:&sort=Disc&desc=1")
    page.get_by_label("Size of the pictures").select_option("Large")
    page.wait_for_url("**size=large*")
    page.goto(page.url.partition("?")[0] + "?q=ts_129")
    page.get_by_text("no picture", exact=True).wait_for()
    assert page.get_by_role("link", name="TS_129").get_attribute("href") == "/browse/tomogram/TS_129?q=ts_129"


def test_the_overview_comes_first(browse: Browse) -> None:
    page = browse("/")
    assert page.url.endswith("/browse")
    page.get_by_role("heading", name="130 tomograms").wait_for()
    page.get_by_text("No tomogram is segmented yet").wait_for()
    page.get_by_role("link", name="Gallery, most Disc first").click()
    page.wait_for_url("**/browse/gallery?sort=Disc&desc=1")
    page.go_back()
    bars = page.get_by_role("group", name="Disc: from 0 to 43.0 %, half of them below 21.5 %").get_by_role("link")
    bars.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.locator(":focus").get_attribute("aria-label") == "1.79 – 3.58 %: 5"
    stops = [spread.locator("a:not([tabindex='-1'])").count() for spread in page.locator(".b-spread").all()]
    assert stops == [1, 1, 1]
    assert page.locator(".b-scale").all_inner_texts() == ["43.0 %", "50.0 %", "50 %"]  # at the right ends
    page.keyboard.press("Enter")
    page.wait_for_url("**/browse/table?range=Disc:1.79:3.58*")
    found(page, "5 of 130 tomograms")
    page.go_back()
    page.locator(".b-spread a").last.click()
    page.wait_for_url("**/browse/table?range=*")
    assert "TS_000" in rows(page) and "TS_001" in rows(page)  # the most Unknown, all of it


def test_lists_go_in_and_out(browse: Browse, browsed: Project, tmp_path: Path) -> None:
    page = browse("/browse/subsets")
    page.get_by_text("There is none yet.").wait_for()
    file = tmp_path / "from Warp.txt"
    file.write_text("TS_003.tomostar\nTS_007.tomostar\nTS_999.tomostar\n")
    write_known(browsed, ("TS_003", "TS_007"))
    page.get_by_label("Import a list of tomograms").set_input_files(file)
    page.get_by_text("from Warp has 2 tomograms; 1 name of none here left out: TS_999.tomostar.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="List for WarpTools").click()
    assert download.value.suggested_filename == "from Warp tomostar.txt"
    assert Path(download.value.path()).read_text() == "tomostar/TS_003.tomostar\ntomostar/TS_007.tomostar\n"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove from Warp").click()
    page.get_by_text("There is none yet.").wait_for()
    assert list_subsets(browsed) == []


def write_known(project: Project, names: tuple[str, ...]) -> None:
    """As if they had been summarised here."""
    folder = project.records("summary")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.json").write_text("{}")


def test_reached_by_the_keyboard(browse: Browse) -> None:
    page = browse("/browse/table")
    page.keyboard.press("Tab")
    skip: Any = page.locator(":focus")
    assert skip.inner_text() == "To the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("name") == "q"
    for role, name in (
        ("checkbox", "Choose all on this page"), ("link", "Tomogram"), ("textbox", "Square at most"),
        ("columnheader", "Disc"), ("rowheader", "TS_000"), ("status", ""), ("navigation", "Pages of the list"),
    ):  # fmt: skip
        assert page.get_by_role(role, name=name).first.is_visible(), name  # type: ignore[arg-type]
    page.get_by_label("Choose TS_000").focus()
    page.keyboard.press("Space")
    page.get_by_role("region", name="Chosen tomograms").get_by_text("1 chosen").wait_for()
    page.get_by_role("button", name="Clear").press("Enter")
    page.get_by_text("1 chosen").wait_for(state="hidden")
    assert page.locator(":focus").get_attribute("aria-label") == "Choose TS_000"


@pytest.mark.parametrize("width", [480, 800, 1220, 1600])
def test_all_is_within_the_window(browse: Browse, browsed: Project, width: int) -> None:
    long = "x" * 190
    write_subset(browsed, long, ["TS_001"])
    page = browse("/browse/gallery", expected="422")  # a broken picture
    page.set_viewport_size({"width": width, "height": 900})
    for path in (f"gallery?subset={long}&range=Disc:0:", f"table?subset={long}", "gallery", "tomogram/TS_001"):
        page.goto(page.url.partition("/browse")[0] + f"/browse/{path}")
        beyond = page.evaluate(
            "[...document.querySelectorAll('.b-bar > *, .b-bar .b-button, .b-chips > *')]"
            ".filter((each) => each.getBoundingClientRect().right > innerWidth)"
            ".map((each) => each.outerHTML)"
        )
        assert beyond == [], path
    page.goto(page.url.partition("/browse")[0] + "/browse/gallery")
    page.get_by_role("link", name="Next page").click()  # it would fail outside the window
    page.wait_for_url("**page=2*")
    page.get_by_role("button", name="Save as a subset…").click()
    page.get_by_label("Title").wait_for()
    page.goto(page.url.partition("/browse")[0] + "/browse/subsets")
    if width >= 800:
        remove = page.get_by_role("button", name=f"Remove {long}").bounding_box()
        assert remove and remove["x"] + remove["width"] <= width
