"""The page of one tomogram, in a real browser with a real server."""

import io
import itertools
import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pom.app.browse.browsing import Browsing
from pom.app.browse.meshes import make_mesh, mesh_tag
from pom.app.browse.tomogram import feature_rows, record_lines
from pom.io.mrc import MrcWriter
from pom.io.summary_files import read_table, write_parquet
from pom.jobs.ledger import InputFile, Ledger, Record
from pom.project.paths import SHARED_STEP, Project
from pom.workflow.subsets import subset_names, write_subset

if TYPE_CHECKING:
    from playwright.sync_api import Page

Browse = Callable[..., "Page"]
Until = Callable[..., object]
DISC, SQUARE, NEITHER = (22, 20), (52, 44), (60, 5)
"""Places (x, y) in the tomograms of ``segmented``."""


def write_record(project: Project) -> None:
    inputs = {"Density": InputFile(file="tomograms/TS_1.mrc", bytes=22_500_000, modified=0.0)}
    record = Record(
        tomogram="TS_1", step=SHARED_STEP, network="abcdef0123456789", configuration="", inputs=inputs, version="1.2.3",
        host="lake", device="cuda:1", started=1_700_000_000.0, seconds=95.0, outputs=("TS_1__Disc.mrc",), unlike=0.5,
    )  # fmt: skip
    Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP)).write_record(record)


def ready(page: "Page") -> "Page":
    page.locator(".t-page[data-ready]").wait_for()
    return page


def slice_shown(page: "Page", z: int) -> None:
    page.locator(f"[data-slices][data-shown='{z}']").wait_for()


def pixel(page: "Page", place: tuple[int, int]) -> tuple[int, int, int]:
    """The colour on the screen at (x, y) of the tomogram, y growing upwards."""
    red, green, blue = page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector('[data-slices] canvas');
          const [w, h] = [canvas.width, canvas.height];
          const scale = Math.min(w / 72, h / 64);
          const left = (w - 72 * scale) / 2 + (x + 0.5) * scale;
          const top = (h - 64 * scale) / 2 + (64 - y - 0.5) * scale;
          return [...canvas.getContext('2d').getImageData(left, top, 1, 1).data.slice(0, 3)];
        }""",
        list(place),
    )
    return red, green, blue


def colour_of(page: "Page", feature: str) -> NDArray[np.int_]:
    text = page.locator(f"[data-feature={feature}]").get_attribute("data-colour")
    assert text
    return np.array([int(text[at : at + 2], 16) for at in (1, 3, 5)])


def scene(page: "Page") -> NDArray[np.float64]:
    """The 3-D view as it is on the screen, (y, x, 3), 0..1, without the line round what has the focus."""
    shot = page.locator("[data-scene] > canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), np.float64)[5:-5, 5:-5] / 255


def count_like(page: "Page", colour: NDArray[np.int_]) -> int:
    """How many pixels of the 3-D view have a colour, however much light falls on it."""
    image = scene(page)
    wanted = colour / np.linalg.norm(colour)
    length = np.linalg.norm(image, axis=-1)
    return int(((image @ wanted > 0.985 * length) & (length > 0.3)).sum())


def surfaces(page: "Page") -> list[str]:
    return sorted(json.loads(page.locator("[data-scene]").get_attribute("data-shown") or "[]"))


def test_slices_are_scrolled_and_outputs_lie_over_them(browse: Browse, until: Until) -> None:
    page = ready(browse("/browse/tomogram/TS_1?z=3", expected="422"))
    slice_shown(page, 3)
    dark = pixel(page, NEITHER)
    assert dark[0] == dark[1] == dark[2]
    page.locator("[data-slices] canvas").hover()
    page.mouse.wheel(0, -120)
    slice_shown(page, 4)
    page.mouse.wheel(0, -120)
    slice_shown(page, 5)
    assert pixel(page, NEITHER)[0] > dark[0] + 20
    page.locator("[data-slices]").focus()
    page.keyboard.press("ArrowDown")
    slice_shown(page, 4)
    page.keyboard.press("End")
    slice_shown(page, 11)
    page.keyboard.press("PageDown")
    slice_shown(page, 1)
    page.get_by_label("Slice", exact=True).fill("6")
    slice_shown(page, 6)
    page.wait_for_url("**/browse/tomogram/TS_1?z=6")
    assert (page.get_by_role("link", name="Annotate", exact=True).last.get_attribute("href") or "").endswith("TS_1?z=6")

    grey = pixel(page, DISC)[0]
    page.get_by_label("Disc over the slices").check()
    until(lambda: pixel(page, DISC)[0] != pixel(page, DISC)[2])
    disc = colour_of(page, "Disc")
    assert pixel(page, DISC) == pytest.approx(0.6 * disc + 0.4 * grey, abs=3)
    assert pixel(page, (DISC[0], 63 - DISC[1])) == (grey, grey, grey)  # it is not upside down
    assert pixel(page, SQUARE) == (grey, grey, grey)
    page.get_by_label("Opacity of Disc").fill("100")
    until(lambda: pixel(page, DISC) == pytest.approx(disc, abs=3))
    page.get_by_label("Square over the slices").check()
    until(lambda: pixel(page, SQUARE) == pytest.approx(0.6 * colour_of(page, "Square") + 0.4 * grey, abs=3))
    page.get_by_label("Disc over the slices").uncheck()
    until(lambda: pixel(page, DISC) == (grey, grey, grey))
    assert page.locator("[data-slices] [data-says]").inner_text() == ""

    page.keyboard.press("]")  # what is laid over the slices goes along; so does what cannot be
    page.wait_for_url("**/TS_3*")
    assert ready(page).get_by_label("Square over the slices").is_checked()
    page.get_by_label("Disc over the slices").check()
    says = page.locator("[data-slices] [data-says]")
    says.wait_for()
    assert "Disc: " in says.inner_text()
    assert "TS_3__Disc.mrc" in says.inner_text()

    asked: list[str] = []  # what cannot be read is not asked for at every slice
    page.on("request", lambda request: asked.append(request.url) if "/layers/output-" in request.url else None)
    for z in (7, 8, 9):
        page.get_by_label("Slice", exact=True).fill(str(z))
        slice_shown(page, z)
        until(lambda z=z: any(url.endswith(f"-Square/{z + 2}") for url in asked))  # it fetches ahead
    page.get_by_label("Opacity of Disc").fill("30")
    assert not [url for url in asked if "-Disc" in url]
    assert "TS_3__Disc.mrc" in says.inner_text()
    page.get_by_label("Disc over the slices").uncheck()
    until(lambda: says.inner_text() == "")
    page.get_by_label("Disc over the slices").check()
    says.filter(has_text="TS_3__Disc.mrc").wait_for()
    assert [url.rpartition("-")[2] for url in asked if "-Disc" in url] == ["Disc/9"]


def test_a_slice_between_two_is_rounded(browse: Browse) -> None:
    page = ready(browse("/browse/tomogram/TS_1?z=2.6"))
    slice_shown(page, 3)
    assert page.locator("[data-z-text]").inner_text() == "z 3 of 11"
    page.locator("[data-slices]").focus()
    page.keyboard.press("ArrowUp")
    slice_shown(page, 4)
    assert page.locator("[data-slices] [data-says]").inner_text() == ""


def test_the_address_is_changed_no_more_often_than_browsers_like(browse: Browse) -> None:
    """Safari takes 100 changes in 30 s, and throws from then on."""
    page = browse("/browse/table")
    page.add_init_script(
        """const usual = history.replaceState;
        window.changes = [];
        history.replaceState = function (...given) {
          changes.push(performance.now());
          return usual.apply(this, given);
        };"""
    )
    page.goto(page.url.replace("table", "tomogram/TS_1"))
    ready(page).locator("[data-slices]").focus()
    for z in (7, 8, 9, 10, 9, 8, 7, 6, 5, 4, 3, 2):
        page.keyboard.press("ArrowUp" if z > int(page.get_by_label("Slice", exact=True).input_value()) else "ArrowDown")
        slice_shown(page, z)
    page.wait_for_url("**/browse/tomogram/TS_1?z=2")
    times = page.evaluate("changes")
    assert all(later - earlier > 300 for earlier, later in itertools.pairwise(times))


MAKE_VIEW = """async ({ keptBytes, fails }) => {
  const { SliceView } = await import('/browse/static/viewer.js');
  const stage = document.querySelector('[data-slices]').cloneNode(true);
  document.querySelector('.t-pictures').append(stage);
  let shown = 0;
  const once = () => { if (++shown === fails) throw new Error('once'); };
  window.view = new SliceView(stage, 'TS_1', { say: () => {}, shown: once, keptBytes });
  await view.open(0);
}"""


def test_pictures_are_kept_up_to_so_many_bytes(browse: Browse, until: Until) -> None:
    page = ready(browse("/browse/tomogram/TS_1"))
    picture = 72 * 64 * 4
    page.evaluate(MAKE_VIEW, {"keptBytes": 7.5 * picture})
    page.evaluate("view.lay('output-Disc', 'Disc', '#ff0000', 1)")
    closed = "[...window.gone].every((picture) => picture.width === 0)"
    page.evaluate(
        """() => {
          window.gone = new Set();
          view.dropped.push = function (picture) {
            gone.add(picture);
            return Array.prototype.push.call(this, picture);
          };
        }"""
    )
    for z in (3, 6, 9, 6, 3):
        page.evaluate("z => view.go(z)", z)
        until(lambda: page.evaluate("[...view.kept.values()].every(({ picture }) => picture)"))
        sizes = "[...view.kept.values()].map(({ picture }) => 4 * picture.width * picture.height)"
        kept = page.evaluate(sizes)
        assert all(size == picture for size in kept)
        assert len(kept) == 7
        # What is laid over counts, too: there is room for the next slice on either side, but not for two.
        assert page.evaluate(f"['grey {z}', 'grey {z - 1}', 'grey {z + 1}'].every((key) => view.kept.has(key))")
    assert page.evaluate("gone.size") > 8
    assert page.evaluate(closed)  # which gives their memory back at once


def test_a_fault_of_one_slice_does_not_stop_the_viewer(browse: Browse, until: Until) -> None:
    page = ready(browse("/browse/tomogram/TS_1"))
    page.evaluate(MAKE_VIEW, {"fails": 2})
    until(lambda: page.evaluate("view.stage.dataset.shown") == "0")
    assert page.evaluate("view.go(1).catch((error) => error.message)") == "once"
    page.evaluate("view.go(2)")
    assert page.evaluate("view.stage.dataset.shown") == "2"


def test_an_enlarged_slice_is_moved_by_keys(browse: Browse, until: Until) -> None:
    page = ready(browse("/browse/tomogram/TS_1?z=6"))
    page.get_by_label("Disc over the slices").check()
    middle = """() => {
      const canvas = document.querySelector('[data-slices] canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let [n, x, y] = [0, 0, 0];
      for (let at = 0; at < canvas.width * canvas.height; at++) {
        if (data[4 * at] < data[4 * at + 2] + 20) continue;
        n += 1;
        x += at % canvas.width;
        y += Math.floor(at / canvas.width);
      }
      return n ? [x / n, y / n] : null;
    }"""
    until(lambda: page.evaluate(middle))
    page.locator("[data-slices]").focus()
    page.keyboard.press("Shift+ArrowRight")  # nothing to see beyond the whole
    whole = page.evaluate(middle)
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert page.evaluate(middle) == whole
    page.keyboard.press("+")
    before = page.evaluate(middle)
    for key, moved in (("Right", (-40, 0)), ("Up", (-40, 40)), ("Left", (0, 40)), ("Down", (0, 0))):
        page.keyboard.press(f"Shift+Arrow{key}")
        after = page.evaluate(middle)
        assert (after[0] - before[0], after[1] - before[1]) == pytest.approx(moved, abs=1)
    assert page.locator("[data-z-text]").inner_text() == "z 6 of 11"


def test_surfaces_are_switched_and_turned(browse: Browse, until: Until, segmented: Project) -> None:
    page = ready(browse("/browse/tomogram/TS_1"))
    # The most abundant, without Unknown; Ring is asked for too, and there is nothing of it.
    until(lambda: surfaces(page) == ["Disc", "Square"])
    says = page.locator("[data-scene] [data-says]")
    says.filter(has_text="Ring: nothing of it is above its level, 128, so there is no surface.").wait_for()
    page.get_by_label("Ring as a surface").uncheck()
    until(lambda: says.inner_text() == "")
    disc, square = colour_of(page, "Disc"), colour_of(page, "Square")
    until(lambda: count_like(page, disc) > 2000 and count_like(page, square) > 2000)
    page.get_by_label("Disc as a surface").uncheck()
    until(lambda: surfaces(page) == ["Square"])
    until(lambda: count_like(page, disc) == 0)
    assert count_like(page, square) > 2000

    before = scene(page)
    page.locator("[data-scene]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    until(lambda: abs(scene(page) - before).mean() > 0.01)
    page.keyboard.press("0")
    until(lambda: abs(scene(page) - before).mean() < 1e-3)
    box = page.locator("[data-scene] > canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 230, steps=4)
    page.mouse.up()
    until(lambda: abs(scene(page) - before).mean() > 0.01)
    page.get_by_role("button", name="Front").click()
    until(lambda: abs(scene(page) - before).mean() < 1e-3)
    page.get_by_label("Slice in it").check()
    until(lambda: abs(scene(page) - before).mean() > 0.02)
    kept = {path.name[:-21] for path in (segmented.browse_cache / "meshes" / "TS_1").iterdir()}
    assert kept == {"Disc", "Square", "Ring"}


def test_what_is_told_of_a_tomogram_and_the_ways_on(browse: Browse, segmented: Project) -> None:
    write_record(segmented)
    write_subset(segmented, "Good", ["TS_1"])
    page = ready(browse("/browse/tomogram/TS_3?sort=Disc&range=Disc::40", expected="422"))
    assert "2 of 2 that the query finds" in page.locator(".t-bar").inner_text()
    assert page.locator(".t-bar .b-mark").inner_text() == "unlike"
    assert page.get_by_text("Nothing tells what made its segmentation.").is_visible()
    similar = page.locator(".t-similar a")
    assert similar.locator(".b-caption").all_inner_texts() == ["TS_1", "TS_4"]
    page.keyboard.press("[")
    page.wait_for_url("**/browse/tomogram/TS_1?*")
    ready(page)
    assert "1 of 2 that the query finds" in page.locator(".t-bar").inner_text()
    assert "sort=Disc" in page.url
    assert "range=Disc::40" in page.url
    assert page.get_by_role("link", name="Good").is_visible()
    assert page.locator(".t-features tbody .t-title").all_inner_texts() == [
        "Unknown",
        "Square",
        "Disc",
        "Ring",
        "Membrane",
    ]
    assert page.locator("[data-feature=Disc] .pom-number").inner_text() == "5.5"
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(1_700_000_095))
    words = re.sub(r"\s+", " ", page.locator(".t-record").inner_text())
    assert words == (
        "Network joint network abcdef01, which is not here any more "
        f"Made {made}, in 95 s On lake, cuda:1 Pom 1.2.3 Of TS_1.mrc (22.5 MB) "
        "Unlike 0.50 (what is above 1 is unlike the training data)"
    )
    page.locator(".t-similar a", has_text="TS_3").click()
    page.wait_for_url("**/browse/tomogram/TS_3?*range=Disc::40*")


def test_it_is_added_to_a_subset(browse: Browse, segmented: Project, until: Until) -> None:
    write_subset(segmented, "Good", ["TS_2"])
    page = ready(browse("/browse/tomogram/TS_1", expected="409"))
    page.get_by_role("button", name="Add to a subset…").click()
    page.get_by_label("Title").fill("Good")
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_role("button", name="Add to it").click()
    until(lambda: subset_names(segmented, "Good") == ("TS_2", "TS_1"))


def test_what_is_not_there_is_said(browse: Browse, segmented: Project) -> None:
    page = ready(browse("/browse/tomogram/TS_2"))
    side = page.locator(".t-side")
    assert "This tomogram is not summarised yet: pom summarize." in side.inner_text()
    assert "Nothing of it is segmented yet: pom shared process." in side.inner_text()
    assert "not among those that the query finds" in page.locator(".t-bar").inner_text()
    assert "There are no pictures of it yet" in page.locator(".t-pictures").inner_text()
    assert page.get_by_label("Disc over the slices").is_disabled()
    assert page.get_by_label("Disc as a surface").is_disabled()
    slice_shown(page, 6)  # the tomogram itself is seen all the same

    page = ready(browse("/browse/tomogram/TS_4"))
    assert page.locator(".t-bar .b-mark").inner_text() == "absent"
    nothing = "There are no pictures of it, and here is nothing to draw any from: no volume, and no segmentation."
    assert page.locator(".t-pictures").inner_text() == nothing
    assert "Its volume is not in the folder" in page.locator("[data-slices] [data-says]").inner_text()

    page = ready(browse("/browse/tomogram/TS_3", expected="422"))
    page.locator("[data-scene] [data-says]").filter(has_text="TS_3__Disc.mrc").wait_for()

    page = browse("/browse/tomogram/nothing", expected="404")
    assert "There is no tomogram 'nothing' in this project." in page.locator("main").inner_text()
    assert page.get_by_text("Did you mean").count() == 0
    page.get_by_role("link", name="All tomograms").click()
    page.wait_for_url("**/browse/table")
    page = browse("/browse/tomogram/ts1?sort=Disc", expected="404")
    page.get_by_role("link", name="Did you mean TS_1?").click()
    page.wait_for_url("**/browse/tomogram/TS_1?sort=Disc*")
    segmented.summary_parquet.unlink()
    page = ready(browse("/browse/tomogram/TS_1"))
    assert "1 of 3" in page.locator(".t-bar").inner_text()
    assert "not summarised yet" in page.locator(".t-side").inner_text()


def test_pages_that_are_not_there_have_ways_on(browse: Browse) -> None:
    page = browse("/browse/tabel?q=TS", expected="404")
    assert "There is no page /browse/tabel." in page.locator("main").inner_text()
    page.get_by_role("link", name="Did you mean Table?").click()
    page.wait_for_url("**/browse/table?q=TS")
    page = browse("/browse/a/<b>", expected="404")
    assert "There is no page /browse/a/<b>." in page.locator("main").inner_text()
    page.get_by_role("link", name="To the overview").click()
    page.wait_for_url("**/browse")
    page = browse("/browse/table/?q=TS")  # as a folder
    assert page.url.endswith("/browse/table?q=TS")


def test_a_browser_without_webgl_shows_the_rest(browse: Browse) -> None:
    page = browse("/browse/table", expected="WebGL")
    page.add_init_script(
        """const usual = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind.startsWith('webgl') ? null : usual.call(this, kind, ...rest);
        };"""
    )
    page.goto(page.url.replace("table", "tomogram/TS_1"))
    ready(page)
    assert "it has no WebGL" in page.locator("[data-scene] [data-says]").inner_text()
    assert page.get_by_label("Disc as a surface").is_disabled()
    slice_shown(page, 6)


def test_surfaces_by_address(browse: Browse, browse_address: str, segmented: Project) -> None:
    page = browse("/browse/table")

    def get(path: str) -> Any:
        return page.request.get(f"{browse_address}/api/meshes/{path}")

    preset = Browsing(lambda: segmented).library().get("Disc")
    assert preset
    tag = mesh_tag(segmented, "TS_1", preset)
    answer = get(f"TS_1/Disc?v={tag}")
    assert (answer.status, answer.headers["content-type"]) == (200, "model/gltf-binary")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.body() == make_mesh(segmented, "TS_1", preset)
    assert "no-cache" in get("TS_1/Disc?v=old").headers["cache-control"]
    assert get("TS_1/Ring").status == 204
    for path, sentence in (
        ("TS_2/Disc", "There is no segmentation of 'Disc' in 'TS_2'."),
        ("TS_1/Golgi", "There is no segmentation of 'Golgi' in 'TS_1'."),
        ("TS_9/Disc", "There is no segmentation of 'Disc' in 'TS_9'."),
        ("..%2Ftomograms/Disc", "There is nothing at this address."),
    ):
        assert (get(path).status, get(path).json()["error"]) == (404, sentence)
    assert get("TS_3/Disc").status == 422
    assert "TS_3__Disc.mrc" in get("TS_3/Disc").json()["error"]

    folder = segmented.browse_cache / "meshes" / "TS_1"
    assert [path.name for path in folder.glob("Disc-*")] == [f"Disc-{tag}.glb"]
    segmented.output("TS_1", "Disc").write_bytes(segmented.output("TS_1", "Square").read_bytes())
    changed = mesh_tag(segmented, "TS_1", preset)
    assert changed != tag
    assert get("TS_1/Disc").body() != answer.body()
    assert [path.name for path in folder.glob("Disc-*")] == [f"Disc-{changed}.glb"]  # the older one is gone


def test_what_fills_the_volume_is_not_shown_at_first(segmented: Project) -> None:
    """It would hide all the others; the limit is a fifth."""
    table = read_table((segmented.summary_parquet,))
    assert table is not None

    def at_first(**shares: float) -> list[str]:
        write_parquet(segmented.summary_parquet, table.assign(**dict.fromkeys(map(str, table), 0.0)).assign(**shares))
        return [row.title for row in feature_rows(Browsing(lambda: segmented), "TS_1") if row.shown]

    assert at_first(Disc=20.1, Square=19.9, Ring=5.0) == ["Square", "Ring"]
    assert at_first(Disc=19.9, Square=20.1, Ring=5.0) == ["Disc", "Ring"]
    assert at_first(Disc=50.0, Square=25.0, Ring=20.5) == ["Ring"]  # better than nothing
    assert at_first(Disc=np.nan, Square=1.0, Ring=5.0) == ["Ring", "Square"]
    segmented.summary_parquet.unlink()
    assert [row.title for row in feature_rows(Browsing(lambda: segmented), "TS_1") if row.shown] == [
        "Disc", "Square", "Ring",
    ]  # fmt: skip


def test_a_surface_is_as_opaque_as_its_preset_says(segmented: Project) -> None:
    preset = Browsing(lambda: segmented).library().get("Disc")
    assert preset
    clear = preset.model_copy(update={"render_alpha": 0.25})
    assert mesh_tag(segmented, "TS_1", clear) != mesh_tag(segmented, "TS_1", preset)
    content = make_mesh(segmented, "TS_1", clear)
    description = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    material = description["materials"][0]
    assert material["alphaMode"] == "BLEND"
    assert material["pbrMetallicRoughness"]["baseColorFactor"][3] == 0.25


def test_single_networks_are_told_where_there_is_no_joint_one(segmented: Project) -> None:
    assert record_lines(segmented, "TS_1") == []
    write_record(segmented)
    record = Ledger(segmented.jobs(SHARED_STEP), segmented.records(SHARED_STEP)).record("TS_1")
    assert record
    step = segmented.single_step("Square", test=False)
    ledger = Ledger(segmented.jobs(step), segmented.records(step))
    ledger.write_record(record.model_copy(update={"tomogram": "TS_3", "step": step}))
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(1_700_000_095))
    assert record_lines(segmented, "TS_3") == [("Square, by its own network", f"{made} on lake")]


def test_a_placeholder_is_nothing_to_lay_over_the_slices(browse: Browse, segmented: Project) -> None:
    """Of 10 x 10 x 10 voxels of -1, which the published Pom puts in an output's place."""
    with MrcWriter(segmented.output("TS_1", "Ring"), (10, 10, 10), np.dtype(np.float32), (10.0,) * 3) as writer:
        writer.write(np.full((10, 10, 10), -1, np.float32))
    page = ready(browse("/browse/tomogram/TS_1"))
    assert page.get_by_label("Ring over the slices").is_disabled()
    assert page.get_by_label("Ring as a surface").is_disabled()
    assert page.get_by_label("Disc over the slices").is_enabled()


@pytest.mark.parametrize("width", [480, 800])
def test_in_a_narrow_window_the_page_scrolls(browse: Browse, width: int) -> None:
    page = browse("/browse/gallery")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(page.url.replace("gallery", "tomogram/TS_1"))
    ready(page)
    for place in (".t-side", ".t-pictures"):  # which do not scroll by themselves
        assert page.locator(place).evaluate("(each) => each.scrollHeight <= each.clientHeight"), place
    places = ("[data-slices]", "[data-scene]", ".t-side", ".t-pictures")
    slices, scene, side, pictures = (box for place in places if (box := page.locator(place).bounding_box()))
    assert slices["height"] >= 300 and scene["height"] >= 300 and side["height"] > 200
    assert side["y"] >= scene["y"] + scene["height"] and pictures["y"] >= side["y"] + side["height"]
