"""The annotation page in a real browser, with a real server and real files."""

import io
import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pom.io.annotation_store import AnnotationStore
from pom.io.feature_library import parse_ais_library
from pom.jobs.background import BackgroundJobs, State
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.alone import SAMPLING, alone, training
from pom.workflow.feature_library import add_ontology, load_library
from pom.workflow.single_initialize import single_initialize

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Until = Callable[..., Any]


def test_the_address_carries_tomogram_and_slice(open_page: OpenPage, address: str, project: Project) -> None:
    before = {path.name for path in project.tomogram_dir.iterdir()}
    page = open_page(f"{address}/")
    page.wait_for_url("**/annotate/TS_1?z=6")
    page.get_by_role("button", name="Its next annotated slice").click()
    page.wait_for_url("**/annotate/TS_1?z=8")
    page.get_by_role("button", name="Next tomogram").click()
    page.wait_for_url("**/annotate/TS_2?z=6")
    page.get_by_role("tab", name="Tomograms").click()
    page.get_by_label("Search tomograms").fill("ts_3")
    page.get_by_role("listitem").filter(has_text="TS_3").get_by_role("button").click()
    page.wait_for_url("**/annotate/TS_3?z=6")
    page.goto(f"{address}/annotate/TS_2?z=3")
    page.get_by_role("heading", name="TS_2").wait_for()
    page.locator(".pom-stage[aria-label^='Slice 3 of TS_2']").wait_for()
    page.context.close()
    assert {path.name for path in project.tomogram_dir.iterdir()} == before  # looking makes no files


def test_features_that_come_while_another_tab_is_shown(open_page: OpenPage, address: str) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Tomograms").click()
    page.get_by_role("listitem").filter(has_text="TS_2").get_by_role("button").click()
    page.get_by_role("heading", name="TS_2").wait_for()
    page.get_by_role("tab", name="Features").click()
    page.get_by_role("listitem").filter(has_text="Disc").get_by_text("1", exact=True).hover()
    page.get_by_role("tooltip", name="The key that takes this feature in hand").wait_for()


def test_features_of_a_bare_tomogram(open_page: OpenPage, address: str, project: Project, until: Until) -> None:
    native = project.native_annotation("TS_3")

    def features() -> list[tuple[str, int, str]]:
        if not native.exists():
            return []
        return [(each.title, each.box_size, each.colour) for each in AnnotationStore.open(native).features]

    page = open_page(f"{address}/annotate/TS_3")
    page.get_by_text("Nothing is annotated here yet").wait_for()
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_role("listitem").filter(has_text="Disc").or_(page.get_by_text("Disc", exact=True)).first.click()
    disc = load_library(project).presets[0]
    until(lambda: features() == [("Disc", 32, disc.hex_colour)])
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_text("New title …").click()
    page.get_by_label("Title").fill("Golgi")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="Add to ontologies").click()
    until(lambda: Project.open(project.folder).ontologies == ("Disc", "Square", "Golgi"))
    page.get_by_role("button", name="Add to ontologies").wait_for(state="detached")  # the row is made anew
    page.get_by_role("listitem").filter(has_text="Golgi").click(button="right")
    page.get_by_text("Rename …").click()
    page.get_by_label("Title").fill("Golgi body")
    page.get_by_role("button", name="Rename", exact=True).click()
    until(lambda: [title for title, _, _ in features()] == ["Disc", "Golgi body"])
    page.get_by_role("button", name="More about Golgi body").click()
    page.get_by_text("Make it Square").click()
    square = load_library(project).presets[1]
    until(lambda: features()[1] == ("Square", 32, square.hex_colour))
    page.get_by_role("button", name="More about Square").click()
    page.get_by_text("Remove …").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    until(lambda: len(features()) == 1)
    page.get_by_role("button", name="Put it back").click()
    until(lambda: [title for title, _, _ in features()] == ["Disc", "Square"])


def test_the_menu_of_features_waits_for_no_disk(open_page: OpenPage, address: str, project: Project) -> None:
    page = open_page(f"{address}/annotate/TS_3")
    document = project.native_annotation("TS_3") / "annotation.json"
    document.parent.mkdir()
    os.mkfifo(document)  # whoever reads it waits for ever
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_role("menu").get_by_text("Disc", exact=True).wait_for()
    page.get_by_role("menu").get_by_text("New title …").wait_for()
    page.context.close()
    # The canvas may just have been reading ahead: let it go on, lest the server wait for it before it ends.
    writer = os.open(document, os.O_RDWR | os.O_NONBLOCK)
    document.unlink()
    os.close(writer)


def test_an_ontology_that_somebody_else_adds_is_seen(open_page: OpenPage, address: str, project: Project) -> None:
    add_ontology(project, "Golgi")
    page = open_page(f"{address}/annotate/TS_3")
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_text("New title …").click()
    page.get_by_label("Title").fill("ER")
    page.get_by_role("button", name="Add", exact=True).click()
    unlisted = page.get_by_text("The configuration does not list this ontology")
    unlisted.wait_for()
    add_ontology(Project.open(project.folder), "ER")
    unlisted.wait_for(state="hidden")
    page.get_by_role("tab", name="Network").click()
    for ontology in ("Golgi", "ER"):
        page.get_by_role("button", name=f"Train {ontology}").wait_for()


def test_a_list_that_has_become_shorter(open_page: OpenPage, address: str, project: Project) -> None:
    added = [project.tomogram(f"TS_4{number:03d}") for number in range(100)]
    for path in added:
        os.link(project.tomogram("TS_3"), path)
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Tomograms").click()
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_text("101 – 103 of 103").wait_for()
    for path in added[:60]:
        path.unlink()
    page.get_by_role("button", name="Read the folder again").click()
    page.get_by_text("2 of 43 annotated").wait_for()
    assert page.get_by_role("list", name="Tomograms").get_by_role("listitem").count() == 43


def test_two_pages_on_one_tomogram(open_page: OpenPage, address: str, project: Project) -> None:
    first = open_page(f"{address}/annotate/TS_1?z=5")
    second = open_page(f"{address}/annotate/TS_1?z=5")
    second.get_by_text("edits this tomogram since").wait_for()
    assert second.get_by_role("button", name="Add a feature").is_disabled()
    first.get_by_role("button", name="Boxes: what is inside is fully annotated (X)").click()
    middle = first.locator(".pom-stage").bounding_box()
    assert middle is not None
    first.mouse.click(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2)
    second.get_by_text("5 boxes, 2 slices drawn").wait_for()  # what the first draws is told to the second
    store = AnnotationStore.open(project.native_annotation("TS_1"))
    assert [len(store.feature("f1").boxes[z]) for z in (3, 5, 8)] == [2, 1, 2]
    first.reload()
    first.locator(".pom-stage").wait_for()
    first.get_by_text("5 boxes, 2 slices drawn").wait_for()
    assert first.get_by_role("button", name="Add a feature").is_enabled()  # loaded again it still edits
    first.context.close()
    second.get_by_role("button", name="Edit here").click(timeout=40_000)
    second.get_by_text("Saved", exact=True).wait_for()
    assert second.get_by_role("button", name="Add a feature").is_enabled()


def test_library_goes_to_ais_and_back(
    open_page: OpenPage, address: str, project: Project, tmp_path: Path, until: Until
) -> None:
    file = tmp_path / "feature_library.txt"
    entry = {"title": "Ribosome", "colour": [1.0, 0.5, 0.0], "box_size": 64, "brush_size": 12.0, "alpha": 0.3}
    file.write_text(json.dumps([entry, {"title": "Disc", "colour": [0, 0, 1]}]))
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Library").click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("2 presets imported.").wait_for()
    presets = {preset.title: preset for preset in load_library(project).presets}
    assert list(presets) == ["Disc", "Square", "Ribosome"]
    assert (presets["Ribosome"].hex_colour, presets["Ribosome"].box_size) == ("#ff8000", 64)
    assert presets["Disc"].hex_colour == "#0000ff"
    page.get_by_role("button", name="Edit Ribosome").click()
    page.get_by_label("Box side, pixels").fill("48")
    page.get_by_role("button", name="Save", exact=True).click()
    until(lambda: [preset.box_size for preset in load_library(project).presets][2] == 48)
    page.get_by_text("Ribosome is saved.").wait_for()
    page.get_by_role("button", name="Delete Square").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    until(lambda: load_library(project).titles == ("Disc", "Ribosome"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "exported.txt")
    assert parse_ais_library((tmp_path / "exported.txt").read_bytes(), "exported.txt").titles == ("Disc", "Ribosome")
    bad = tmp_path / "bad.txt"
    bad.write_text("{")
    page.locator("input[type=file]").set_input_files(bad)
    page.get_by_text("bad.txt is not valid JSON").wait_for()


def test_training_runs_behind_the_page(open_page: OpenPage, address: str, project: Project, until: Until) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Network").click()
    page.get_by_role("button", name="Read the annotations").click()
    page.get_by_text("done, ").wait_for(timeout=60_000)
    assert project.single_dataset("Disc").exists()
    page.get_by_role("button", name="Train Disc").click()
    page.locator(".pom-job").filter(has_text="pom single train -o Disc").wait_for()
    page.context.close()  # it goes on without the page
    jobs = BackgroundJobs(project.folder / ".pom" / "jobs", project.folder)
    until(lambda: len(jobs.reports()) == 2)
    report = until(lambda: next((job for job in jobs.reports()[:1] if job.state is not State.RUNNING), None), 150)
    assert report.job.command == ("single", "train", "-o", "Disc") and report.state is State.DONE, report.lines
    assert (project.single_network("Disc") / "card.json").exists()
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Network").click()
    page.get_by_text(re.compile(r"Dice \d\.\d\d, precision|trained; nothing was held out")).wait_for()
    page.get_by_role("tab", name="Image").click()
    page.get_by_text("Networks, as they see this slice").wait_for()
    page.get_by_role("tab", name="Network").click()
    page.get_by_role("button", name="Find places").click()
    place = page.locator("button.pom-suggestion").first
    place.wait_for(timeout=60_000)
    where = re.search(r"(TS_\d), z (\d+)", place.inner_text())
    assert where is not None
    place.click()
    page.wait_for_url(f"**/annotate/{where[1]}?z={where[2]}")


def test_training_in_a_terminal_is_seen(open_page: OpenPage, address: str, project: Project) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Network").click()
    with alone(project, [SAMPLING, training("Disc")]):
        page.get_by_text(f"no network yet; process {os.getpid()} on {socket.gethostname()} is training it").wait_for()
        page.get_by_role("button", name="Train Disc").click()
        page.get_by_text(f"Process {os.getpid()} on {socket.gethostname()} is training Disc already: wait").wait_for()
        page.get_by_role("button", name="Read the annotations").click()
        page.get_by_text("is cutting the training patches already: wait for its end").wait_for()
    page.get_by_text("is training it").first.wait_for(state="hidden")
    assert BackgroundJobs(project.background_jobs, project.folder).reports() == []


def test_a_name_with_quotes_opens_from_the_list(open_page: OpenPage, address: str, project: Project) -> None:
    """Such names are rare, and file systems know them."""
    names = ['TS "4"', "TS 'six' <b>"]
    for name in names:
        shutil.copyfile(project.tomogram("TS_3"), project.tomogram(name))
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Tomograms").click()
    for name in names:
        page.get_by_role("list", name="Tomograms").get_by_text(name, exact=True).click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        page.locator(".pom-row.pom-current").get_by_text(name, exact=True).wait_for()
        page.wait_for_url(re.compile(re.escape(quote(name, safe=""))))
        page.reload()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        page.get_by_role("tab", name="Tomograms").click()


def test_the_tomogram_is_there_before_all_annotations_are_read(
    open_page: OpenPage, address: str, project: Project
) -> None:
    """An annotation that cannot be read to its end keeps the list waiting for its marks, and nothing else."""
    document = project.native_annotation("TS_3") / "annotation.json"
    document.parent.mkdir()
    os.mkfifo(document)
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_text("4 boxes, 2 slices drawn").first.wait_for()
    page.get_by_role("tab", name="Tomograms").click()
    page.get_by_text("3 of 3 annotated").wait_for()
    assert page.get_by_text("Annotated", exact=True).count() == 3
    page.get_by_role("tab", name="Features").click()
    page.get_by_role("button", name="Next tomogram").click()
    page.get_by_role("heading", name="TS_2").wait_for()
    page.get_by_role("tab", name="Tomograms").click()
    with document.open("wb"):  # what is read now ends at once
        pass
    page.get_by_text("Disc 4, Square 4").first.wait_for()
    page.get_by_text("Cannot be read").wait_for()


def test_a_stopped_training_goes_on(open_page: OpenPage, address: str, project: Project, until: Until) -> None:
    path = project.folder / CONFIGURATION_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "single_model_epochs": 1000}))
    single_initialize(project)
    page = open_page(f"{address}/annotate/TS_1")
    page.get_by_role("tab", name="Network").click()
    page.get_by_role("button", name="Train Disc").click()
    job = page.locator(".pom-job").first
    until(lambda: [*project.single_network("Disc").rglob("*.ckpt")], 60)  # an epoch is done
    assert page.get_by_role("button", name="Train Disc").is_disabled()
    job.get_by_role("button", name="Stop").click()
    job.get_by_text("stopped, ").wait_for(timeout=30_000)
    page.get_by_role("button", name="Train Disc").click()
    again = page.locator(".pom-job").filter(has_text="running")
    again.get_by_text("Last lines").click()
    again.get_by_text("Going on with the interrupted training").first.wait_for(timeout=60_000)
    again.get_by_role("button", name="Stop").click()
    page.locator(".pom-job").filter(has_text="stopped, ").nth(1).wait_for(timeout=30_000)


def test_a_tick_can_be_taken_back(open_page: OpenPage, address: str, until: Until) -> None:
    page = open_page(f"{address}/annotate/TS_3?z=6")
    page.get_by_role("tab", name="Image").click()

    def shown() -> NDArray[np.float32]:
        """The grey values in the middle of the slice."""
        with Image.open(io.BytesIO(page.locator(".pom-stage").screenshot())) as picture:
            width, height = picture.size
            return np.asarray(picture.convert("L").crop((width // 3, height // 3, width // 2, height // 2)), np.float32)

    plain = shown()
    for expected in (255 - plain, plain, 255 - plain):
        page.get_by_role("checkbox", name="Inverted").click()
        until(lambda expected=expected: np.abs(shown() - expected).mean() < 2)


def test_everything_has_a_name_and_enough_contrast(open_page: OpenPage, address: str, tmp_path: Path) -> None:
    page = open_page(f"{address}/annotate/TS_1")
    for tab in ("Features", "Image", "Tomograms", "Network", "Library"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(600)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(PALE) == []
    bad = tmp_path / "bad.txt"
    bad.write_text("{")
    page.locator("input[type=file]").set_input_files(bad)
    page.get_by_text("bad.txt is not valid JSON").wait_for()
    page.get_by_role("button", name="Close", exact=True).wait_for()
    assert page.evaluate(PALE) == []


NAMELESS = """() => [...document.querySelectorAll('button, input, [role=slider], [role=checkbox], a')]
  .filter((e) => e.checkVisibility() && e.type !== 'file')
  .filter((e) => !(e.ariaLabel || e.innerText?.trim() || e.labels?.length || e.closest('[aria-label]') || e.title))
  .map((e) => e.outerHTML.slice(0, 200))"""
"""Controls that a screen reader has no name for."""

PALE = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0.9) return c;
    }
    return [0, 0, 0];
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.checkVisibility() && !e.closest('.disabled, [disabled]') && !/^(SCRIPT|STYLE)$/.test(e.tagName))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""
"""Texts whose contrast to what is behind them is below 4.5."""
