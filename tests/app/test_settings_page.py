"""The settings of the pictures, in a real browser with a real server."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pom.app.answers import ConflictError
from pom.app.browse.settings import Changes, compositions_tag, job_answer, looking, save_settings
from pom.errors import PomError
from pom.io.feature_library import read_library
from pom.jobs.background import Job, JobReport, State
from pom.project.paths import Project
from pom.project.render_configuration import read_compositions
from pom.workflow.alone import changing
from pom.workflow.feature_library import load_library

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

Browse = Callable[..., "Page"]
Until = Callable[..., object]
PURPLE = "#a020f0"


def drawn(page: "Page", after: int = 0) -> int:
    """Waits for a picture of the preview, or a sentence in its place; how many there were."""
    page.wait_for_function("after => Number(document.querySelector('.s-page').dataset.drawn ?? 0) > after", arg=after)
    return number_drawn(page)


def number_drawn(page: "Page") -> int:
    return int(page.locator(".s-page").get_attribute("data-drawn") or 0)


def count_like(page: "Page", colour: str) -> int:
    """How many pixels of the preview have a colour, however much light falls on it."""
    count: int = page.evaluate(
        """(colour) => {
          const image = document.querySelector('[data-picture] img');
          const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
          const length = Math.hypot(...wanted);
          let count = 0;
          for (let at = 0; at < data.length; at += 4) {
            const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
            const own = Math.hypot(r, g, b);
            if (own > 60 && (r * wanted[0] + g * wanted[1] + b * wanted[2]) / (own * length) > 0.99) count++;
          }
          return count;
        }""",
        colour,
    )
    return count


def saved(page: "Page") -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("saved", exact=True).wait_for()


def test_a_colour_is_changed_seen_and_saved(browse: Browse, segmented: Project, until: Until) -> None:
    page = browse("/browse/settings")
    count = drawn(page)
    save = page.get_by_role("button", name="Save", exact=True)
    assert save.is_disabled()
    # The first composition, Macromolecules, shows nothing here.
    assert page.get_by_label("Show Top3 in the preview").is_checked()
    assert count_like(page, PURPLE) == 0
    page.get_by_label("Colour of Disc").fill(PURPLE)
    drawn(page, count)
    until(lambda: count_like(page, PURPLE) > 3000)
    assert save.is_enabled()
    assert page.get_by_text("not saved").is_visible()
    assert not segmented.feature_library.exists()
    page.get_by_label("Opacity of Square").fill("0.5")
    saved(page)
    library = read_library(segmented.feature_library)
    disc, square = library.get("Disc"), library.get("Square")
    assert disc and square
    assert (disc.hex_colour, disc.render_alpha, square.render_alpha) == (PURPLE, 1.0, 0.5)
    assert disc.level == 128
    assert library.get("Unknown") is None  # nobody has said anything of it

    page = browse("/browse/settings")
    assert page.get_by_label("Colour of Disc").input_value() == PURPLE
    assert page.get_by_label("Opacity of Square").input_value() == "0.5"
    page.goto(page.url.replace("settings", "tomogram/TS_1"))
    assert page.locator("[data-feature=Disc]").get_attribute("data-colour") == PURPLE


def test_hidden_features_and_levels_change_the_preview(browse: Browse, segmented: Project, until: Until) -> None:
    page = browse("/browse/settings", expected="422")
    count = drawn(page)
    disc = page.get_by_label("Colour of Disc").input_value()
    until(lambda: count_like(page, disc) > 3000)
    page.get_by_label("Hide Disc").check()
    count = drawn(page, count)
    until(lambda: count_like(page, disc) == 0)
    page.get_by_label("Hide Disc").uncheck()


def test_a_number_that_cannot_be_is_said_and_not_saved(browse: Browse, segmented: Project) -> None:
    page = browse("/browse/settings")
    drawn(page)
    save, says = page.get_by_role("button", name="Save", exact=True), page.locator("[data-picture] [data-says]")
    level, dust = page.get_by_label("Level of Square"), page.get_by_label("Dust of Square")
    for field, value, sentence in (
        (level, "300", "Level of Square must be a number from 0 to 256."),  # more than there is
        (level, "", "Level of Square must be a number from 0 to 256."),
        (dust, "-1", "Dust of Square must be a number of at least 0."),
        (dust, "", "Dust of Square must be a number of at least 0."),
    ):
        before = field.input_value()
        field.fill(value)
        says.filter(has_text=sentence).wait_for()
        assert field.get_attribute("aria-invalid") == "true"
        assert save.is_disabled()
        assert page.get_by_role("button", name="Render all again").is_disabled()
        field.fill(before)
        assert field.get_attribute("aria-invalid") == "false"
    page.get_by_label("Opacity of Square").fill("0.33")  # between two steps of its arrows
    saved(page)
    square = read_library(segmented.feature_library).get("Square")
    assert square
    assert (square.render_alpha, square.level) == (0.33, 128)


class Held:
    """Keeps requests below /api from the server until it is told to let them go."""

    def __init__(self, page: "Page", what: str) -> None:
        self.routes: list[Route] = []
        page.route(f"**/api/{what}", self.hold)

    def hold(self, route: "Route") -> None:
        self.routes.append(route)

    def let_go(self) -> None:
        for route in self.routes:
            route.continue_()


def test_what_is_changed_while_it_is_saved_is_not_saved(browse: Browse, segmented: Project, until: Until) -> None:
    page = browse("/browse/settings")
    drawn(page)
    held = Held(page, "settings")
    save, name = page.get_by_role("button", name="Save", exact=True), page.get_by_label("Name of the composition").last
    page.get_by_label("Level of Disc").fill("100")
    name.fill("First")
    with page.expect_request("**/api/settings"):
        save.click()
    page.get_by_label("Level of Disc").fill("50")
    name.fill("Second")
    assert save.is_disabled()  # one after the other
    with page.expect_response("**/api/settings"):
        held.let_go()
    page.get_by_text("not saved", exact=True).wait_for()
    disc = read_library(segmented.feature_library).get("Disc")
    assert disc
    assert (disc.level, read_compositions(segmented.render_configuration)[-1].name) == (100, "First")
    page.unroute("**/api/settings")
    saved(page)
    disc = read_library(segmented.feature_library).get("Disc")
    assert disc
    assert (disc.level, read_compositions(segmented.render_configuration)[-1].name) == (50, "Second")


def test_a_double_click_saves_once(browse: Browse, segmented: Project) -> None:
    page = browse("/browse/settings")
    drawn(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if request.url.endswith("/api/settings") else None)
    page.get_by_label("Name of the composition").last.fill("Other")
    page.get_by_role("button", name="Save", exact=True).dblclick()
    page.get_by_text("saved", exact=True).wait_for()
    assert asked == ["PUT"]
    assert page.locator("[data-told]").is_hidden()


def test_names_of_compositions_are_no_chosen_tomograms(browse: Browse) -> None:
    page = browse("/browse/settings")
    drawn(page)
    page.get_by_label("Name of the composition").first.click()
    page.get_by_label("Name of the composition").last.click(modifiers=["Shift"])
    assert page.evaluate("sessionStorage.length") == 0
    assert page.locator("[data-selected]").is_hidden()


def test_while_it_is_drawn_the_preview_says_so(browse: Browse) -> None:
    page = browse("/browse/table")
    held = Held(page, "settings/preview")
    says = page.locator("[data-picture] [data-says]")
    with page.expect_request("**/preview"):
        page.goto(page.url.replace("table", "settings"))
    says.filter(has_text="drawing …").wait_for()
    held.let_go()
    drawn(page)
    assert says.inner_text() == ""
    page.unroute("**/preview")


def test_without_a_tomogram_no_picture_is_asked_for(browse: Browse) -> None:
    page = browse("/browse/settings")
    drawn(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "preview" in request.url else None)
    page.get_by_label("Tomogram of the preview").fill("")
    page.keyboard.press("Tab")
    page.locator("[data-says]").filter(has_text="Choose a tomogram").wait_for()
    assert asked == []


def test_compositions_are_made_shown_and_saved(browse: Browse, segmented: Project, until: Until) -> None:
    page = browse("/browse/settings", expected="status of 4")
    page.get_by_label("Show Macromolecules in the preview").check()
    nothing = "The composition shows nothing of TS_1: there is no segmentation of Membrane."
    page.locator("[data-says]").filter(has_text=nothing).wait_for()
    page.get_by_role("button", name="Add a composition").click()
    page.keyboard.type("Round")
    page.get_by_label("Add to Composition 3").fill("Disc")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Take Disc out of Round").wait_for()
    disc = page.get_by_label("Colour of Disc").input_value()
    until(lambda: page.locator("[data-picture] img").is_visible() and count_like(page, disc) > 3000)
    page.keyboard.type("Membrane")
    page.keyboard.press("Enter")
    page.locator("[data-says]").filter(has_text="There is no segmentation of Membrane here.").wait_for()
    page.get_by_role("button", name="Take rank3 out of Top3").click()
    saved(page)
    made = {each.name: each.entries for each in read_compositions(segmented.render_configuration)}
    assert made == {
        "Macromolecules": ("Membrane",), "Top3": ("rank1", "rank2", "!Unknown"), "Round": ("Disc", "Membrane"),
    }  # fmt: skip

    page.get_by_label("Name of the composition").last.fill("density")  # the name of other pictures
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("[data-told]").filter(has_text="cannot be called 'density'").wait_for()
    page.get_by_label("Name of the composition").last.fill("Discs")
    segmented.render_configuration.write_text(json.dumps({"Mine": ["Disc"]}))
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("[data-told]").filter(has_text="was changed by somebody else since: load the page again.").wait_for()
    assert json.loads(segmented.render_configuration.read_text()) == {"Mine": ["Disc"]}


def test_all_is_rendered_again(browse: Browse, segmented: Project) -> None:
    segmented.output("TS_3", "Disc").unlink()
    segmented.render_configuration.write_text(json.dumps({"Both": ["Disc", "Square"]}))
    page = browse("/browse/settings")
    drawn(page)
    page.get_by_label("Colour of Square").fill(PURPLE)
    page.get_by_role("button", name="Render all again").click()
    page.locator("[data-job][data-state=done]").wait_for(timeout=90_000)
    assert "2 pictures were drawn" in page.locator("[data-job]").inner_text()
    with Image.open(segmented.picture("TS_1", "Both")) as picture:
        assert picture.size == (128, 128)
    square = read_library(segmented.feature_library).get("Square")
    assert square
    assert square.hex_colour == PURPLE  # what was changed was saved first
    assert page.get_by_role("button", name="Render all again").is_enabled()


def test_what_cannot_be_shown_is_said(browse: Browse, browse_address: str, segmented: Project) -> None:
    page = browse("/browse/settings", expected="4")
    drawn(page)

    def ask(**changes: Any) -> tuple[int, str]:
        wanted = {"page": "1", "tomogram": "TS_1", "entries": ["Disc"], "features": {}, **changes}
        answer = page.request.post(f"{browse_address}/api/settings/preview", data=wanted)
        return answer.status, "" if answer.ok else answer.json()["error"]

    assert ask() == (200, "")
    nothing = "The composition shows nothing of TS_1: "
    assert ask(tomogram="TS_9") == (404, "There is no tomogram 'TS_9' in this project.")
    assert ask(entries=["Golgi"]) == (422, f"{nothing}there is no segmentation of Golgi.")
    assert ask(entries=[]) == (422, f"{nothing}all that it lists is hidden, or it lists nothing.")
    status, sentence = ask(tomogram="TS_2", entries=["rank1"])
    assert (status, "'pom summarize'" in sentence) == (422, True)
    status, sentence = ask(tomogram="TS_3")
    assert (status, "TS_3__Disc.mrc" in sentence) == (422, True)
    assert ask(features={"Golgi": {"hide": True}})[0] == 404
    assert ask(features={"Disc": {"size": 3}})[0] == 422
    assert ask(features={"Disc": {"level": None}})[0] == 422
    assert ask(page="x" * (5 << 20)) == (413, "This is too large: more than 4 MiB are not taken here.")
    segmented.feature_library.write_text("{")
    page.reload()
    assert "feature_library.json" in page.locator("main").inner_text()
    assert "This cannot be shown" in page.locator("main").inner_text()


@pytest.mark.parametrize(
    ("state", "reason", "last"),
    [(State.FAILED, "'Mine' holds 'Golgi'.", "'Mine' holds 'Golgi'."), (State.DONE, "", "2 pictures were drawn.")],
)
def test_of_a_rendering_that_failed_its_reason_is_told(state: State, reason: str, last: str) -> None:
    job = Job(id="1", command=("render",), host="lake", pid=1, process="", started=0.0)
    report = JobReport(job, state, 2, 2, ("Rendered tomograms: 2 of 2", "2 pictures were drawn."), reason)
    assert job_answer(report) == {"state": state.value, "done": 2, "total": 2, "last": last}


def changes(**values: Any) -> Changes:
    return Changes(**{"features": {}, **values})


def test_a_colour_that_becomes_free_goes_to_no_other_feature(segmented: Project) -> None:
    def colours() -> dict[str, str]:
        return {preset.title: preset.hex_colour for preset in looking(segmented, {}).presets}

    before = colours()
    save_settings(segmented, changes(features={"Disc": {"colour": PURPLE}}))
    assert colours() == {**before, "Disc": PURPLE}


def test_saving_keeps_what_others_have_changed(segmented: Project) -> None:
    save_settings(segmented, changes(features={"Disc": {"dust": 5}}))
    save_settings(segmented, changes(features={"Disc": {"level": 100}, "Membrane": {"colour": PURPLE}}))
    library = load_library(segmented)
    disc, membrane = library.get("Disc"), library.get("Membrane")
    assert disc and membrane
    assert (disc.dust, disc.level, membrane.hex_colour) == (5, 100, PURPLE)
    assert library.titles == ("Disc", "Square", "Ring", "Membrane")


def test_nothing_is_saved_where_something_is_wrong(segmented: Project) -> None:
    good = [{"name": "A", "entries": ["Disc"]}]
    with pytest.raises(PomError, match="'dust' is -1"):
        save_settings(segmented, changes(features={"Disc": {"dust": -1}}, compositions=good, tag="0-0-0"))
    with pytest.raises(PomError, match="two compositions bear one name"):
        save_settings(segmented, changes(compositions=good * 2, tag=compositions_tag(segmented)))
    with pytest.raises(ConflictError):
        save_settings(segmented, changes(compositions=good, tag="older"))
    with pytest.raises(PomError, match="There is no feature 'Golgi'"):
        looking(segmented, changes(features={"Golgi": {"hide": True}}).features)
    assert not segmented.render_configuration.exists()
    assert not segmented.feature_library.exists()


def test_what_was_saved_in_part_can_be_saved_again(segmented: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = changes(
        features={"Disc": {"level": 100}}, tag=compositions_tag(segmented),
        compositions=[{"name": "A", "entries": ["Disc"]}],
    )  # fmt: skip
    monkeypatch.setattr("pom.workflow.alone.SECONDS_TO_WAIT", 0.0)
    with changing(segmented, "library"), pytest.raises(PomError, match="Somebody else is changing the library"):
        save_settings(segmented, wanted)
    assert save_settings(segmented, wanted) == {"tag": compositions_tag(segmented), "said": ""}
    assert [each.name for each in read_compositions(segmented.render_configuration)] == ["A"]


def test_what_a_composition_names_and_is_not_there_is_said(browse: Browse, segmented: Project) -> None:
    page = browse("/browse/settings", expected="422")
    drawn(page)
    page.get_by_label("Add to Top3").fill("Squar")
    page.get_by_label("Add to Top3").press("Enter")
    saved(page)
    page.get_by_text("Saved, but 'Top3' holds 'Squar' (did you mean 'Square'?)", exact=False).wait_for()
    assert "Squar" in read_compositions(segmented.render_configuration)[1].entries
