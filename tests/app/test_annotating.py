"""Drawing on the real page, served by the real command, and what is then on disk: the same pixels, exactly."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom.io.annotation_store import AnnotationStore
from pom.io.checkpoints import save_network
from pom.io.scns import read_scns
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.sampling.patches import PatchSet
from pom.workflow.annotations import annotation_of
from pom.workflow.slice_preview import SlicePreview

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]
Point = tuple[float, float]
Pixels = NDArray[np.bool_]

ROWS, COLUMNS, BOX = 64, 72, 32
NM_PER_PIXEL = 1.568
MIDDLE = 6
Y, X = np.mgrid[:ROWS, :COLUMNS].astype(float)


class Person:
    """Somebody with a mouse and a keyboard at a page."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.ready()

    def ready(self) -> None:
        """Waits until slice and drawn pixels are there."""
        self.page.wait_for_function(
            "window.board = getElement(document.querySelector('.pom-canvas').id.slice(1)).board,"
            "board.screen.shown === board.z && board.drawing.masks.slices.get(board.z) !== undefined"
        )

    def board(self, expression: str) -> Any:
        return self.page.evaluate(f"board.{expression}")

    def at(self, x: float, y: float) -> tuple[int, int]:
        """The place on the page nearest to pixel (x, y), in whole CSS pixels."""
        corner = self.page.locator(".pom-stage").bounding_box()
        assert corner is not None
        left, top = self.board(f"view.toScreen({x}, {y})")
        return round(corner["x"] + left), round(corner["y"] + top)

    def exactly(self, x: float, y: float) -> Point:
        """The pixel coordinates of that place."""
        corner = self.page.locator(".pom-stage").bounding_box()
        assert corner is not None
        left, top = self.at(x, y)
        found = self.board(f"view.toPixel({left - corner['x']}, {top - corner['y']})")
        return found[0], found[1]

    def drag(self, *points: Point) -> Pixels:
        """Draws a stroke; gives the pixels that the brush must have covered."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point))
        self.page.mouse.up()
        return covered([self.exactly(*point) for point in points], self.board("options.brush_size"))

    def click(self, *points: Point) -> list[Point]:
        for point in points:
            self.page.mouse.click(*self.at(*point))
        return [self.exactly(*point) for point in points]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self) -> None:
        self.page.wait_for_function("board.drawing.sync.queue.length === 0 && board.drawing.sync.state === 'saved'")

    def seen(self, feature_id: str = "f1") -> Pixels:
        """The pixels that the canvas shows as drawn."""
        self.page.wait_for_function("!board.state.loading")
        self.page.wait_for_timeout(50)
        opaque = self.page.evaluate(
            """(id) => {
              const { width, height } = document.querySelector('.pom-paper canvas.mask');
              const place = board.options.features.findIndex((feature) => feature.id === id);
              const context = document.querySelectorAll('.pom-paper canvas.mask')[place].getContext('2d');
              return [...context.getImageData(0, 0, width, height).data].filter((_, i) => i % 4 === 3);
            }""",
            feature_id,
        )
        seen: Pixels = np.array(opaque).reshape(ROWS, COLUMNS) == 255
        return seen


def covered(points: list[Point], diameter_nm: float) -> Pixels:
    """The pixels whose centre is within the radius of a round brush that went along these points."""
    near = np.full((ROWS, COLUMNS), np.inf)
    for (ax, ay), (bx, by) in zip(points[:1] + points[:-1], points, strict=True):
        dx, dy = bx - ax, by - ay
        along = np.clip(((X - ax) * dx + (Y - ay) * dy) / (dx * dx + dy * dy or 1), 0, 1)
        near = np.minimum(near, np.hypot(X - ax - along * dx, Y - ay - along * dy))
    return near <= diameter_nm / NM_PER_PIXEL / 2


def inside(corners: Sequence[Point]) -> Pixels:
    """The pixels whose centre is inside a polygon: a ray from there to the left crosses its sides oddly often."""
    odd = np.zeros((ROWS, COLUMNS), bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if ay != by:
            crossed = ((ay <= Y) != (by <= Y)) & (ax + (Y - ay) * (bx - ax) / (by - ay) <= X)
            odd ^= crossed
    return odd


def boxed(x: float, y: float) -> Pixels:
    """The pixels of a box with this centre."""
    left, bottom = int(x) - BOX // 2, int(y) - BOX // 2
    box = np.zeros((ROWS, COLUMNS), bool)
    box[max(0, bottom) : bottom + BOX, max(0, left) : left + BOX] = True
    return box


def stored(project: Project, name: str, z: int = MIDDLE) -> Pixels:
    return AnnotationStore.open(project.native_annotation(name)).mask("f1", z) > 0


def pom(project: Project, *arguments: str) -> str:
    command = [sys.executable, "-m", "pom", *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_what_is_drawn_is_what_is_on_disk(open_page: OpenPage, address: str, project: Project) -> None:
    page = open_page(f"{address}/annotate/TS_3")
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_role("menu").get_by_text("Disc", exact=True).click()
    page.get_by_role("listitem").filter(has_text="0 boxes, 0 slices drawn").wait_for()
    person = Person(page)
    page.wait_for_function("board.options.active === 'f1'")
    person.press(*["["] * 4)
    expected = person.drag((20.3, 12.2), (30.1, 18.7), (33.8, 30.4))
    assert 50 < expected.sum() < 600
    person.press("p")
    corners = person.click((40.2, 40.6), (62.7, 44.1), (58.3, 57.9), (50.1, 47.2), (41.6, 58.3))
    person.press("Enter")
    expected |= inside(corners)
    person.press("e")
    expected &= ~person.drag((25.2, 15.1), (48.9, 46.3))
    person.press("x")
    (drawn_x, drawn_y), (empty_x, empty_y) = person.click((47.3, 44.8), (60.4, 11.2))
    page.wait_for_function("board.screen.boxMarks.length === 2")
    assert person.board("screen.boxMarks.map((box) => box.empty)") == [False, True]
    page.get_by_text("2 boxes, 1 slice drawn").wait_for()
    person.press("b")
    person.drag((5, 60), (12, 40))
    person.press(*["Control+z"] * 4)  # the stroke, both boxes, the eraser
    page.wait_for_function("board.drawing.boxes.of('f1', 6).length === 0")
    person.press(*["Control+Shift+Z"] * 2, "Control+y")
    page.wait_for_function("board.drawing.boxes.of('f1', 6).length === 2")
    person.press("Control+s")
    person.saved()
    assert np.array_equal(stored(project, "TS_3"), expected)
    feature = AnnotationStore.open(project.native_annotation("TS_3")).feature("f1")
    boxes = [(round(drawn_x), round(drawn_y)), (round(empty_x), round(empty_y))]
    assert (feature.boxes, feature.drawn) == ({MIDDLE: boxes}, (MIDDLE,))

    page.reload()
    page.get_by_text("2 boxes, 1 slice drawn").wait_for()
    person.ready()
    assert np.array_equal(person.seen(), expected)
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert page.get_by_role("button", name="Redo").is_disabled()

    for annotation in (annotation_of(project, "TS_3"), exported(project, "TS_3")):
        assert annotation is not None
        (disc,) = annotation.features
        assert (disc.title, disc.box_size, disc.boxes) == ("Disc", BOX, {MIDDLE: boxes})
        assert list(disc.slices) == [MIDDLE]
        assert np.array_equal(disc.slices[MIDDLE] > 0, expected)
    pom(project, "single", "initialize")
    patches = PatchSet.load(project.single_dataset("Disc"), "pom single initialize")
    here = patches.tomograms == "TS_3"
    assert patches.centres[here].tolist() == [[MIDDLE, y, x] for x, y in boxes]
    assert (patches.drawn & patches.boxed)[here].any(axis=(1, 2)).tolist() == [True, False]


def test_what_was_undone_before_a_feature_came_back_can_still_be(
    open_page: OpenPage, address: str, project: Project
) -> None:
    page = open_page(f"{address}/annotate/TS_1?z=3")
    person = Person(page)
    person.press("2")
    page.wait_for_function("board.options.active === 'f2'")
    person.press(*["["] * 6)
    drawn = person.drag((10.2, 50.4), (20.7, 52.1))
    person.saved()
    native = project.native_annotation("TS_1")
    assert np.array_equal(AnnotationStore.open(native).mask("f2", 3) > 0, drawn)
    page.get_by_role("button", name="More about Disc").click()
    page.get_by_text("Remove …").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.wait_for_function("board.options.features.length === 1")
    page.evaluate("board.goTo(8)")
    page.wait_for_function("board.drawing.masks.get('f1', 8) === null")
    page.get_by_role("button", name="Put it back").click()
    page.wait_for_function("board.options.features.length === 2 && board.options.active === 'f1'")
    page.wait_for_function("board.drawing.masks.get('f1', 8)?.includes(1)")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("board.drawing.masks.get('f2', 3)?.includes(1) === false")
    person.saved()
    assert not AnnotationStore.open(native).mask("f2", 3).any()


def exported(project: Project, name: str) -> Any:
    pom(project, "annotations", "export", "--scns", name)
    return read_scns(project.annotation(name))


def test_the_network_is_accepted_exactly(
    open_page: OpenPage, address: str, project: Project, random_network: Callable[..., Any]
) -> None:
    page = open_page(f"{address}/annotate/TS_3")
    page.get_by_role("button", name="Add a feature").click()
    page.get_by_role("menu").get_by_text("Disc", exact=True).click()
    page.get_by_role("tab", name="Image").click()
    page.get_by_text("No single network is trained yet").wait_for()
    save_network(project.single_network("Disc"), *random_network("single", ("Disc",)))
    page.get_by_role("checkbox", name="Disc").click(timeout=20_000)  # the page finds the network by itself
    person = Person(page)
    # The server is loading torch for the network just then, which takes long on a busy machine.
    page.wait_for_function(
        "board.options.layers.some(({ kind, visible }) => kind === 'network' && visible)", timeout=60_000
    )
    share = SlicePreview(project, Devices()).predict("TS_3", "Disc", MIDDLE)
    assert 0.1 < (share > 0.5).mean() < 0.9
    page.wait_for_function("board.layers.answer(board.active, board.z)", timeout=60_000)
    person.press("a", *["["] * 3)
    brushed = person.drag((20.2, 20.4), (40.7, 25.1))
    person.saved()
    assert np.array_equal(stored(project, "TS_3"), (share > 0.5) & brushed)

    level = page.get_by_label("Level above which the network says yes")
    for wanted in (0.51, 0.52, 0.53):  # each answered before the next, as by a person
        level.locator("[tabindex]").focus()
        person.press("ArrowRight")
        page.wait_for_function(f"Math.abs(board.options.level - {wanted}) < 1e-9", timeout=60_000)
    person.press("x")
    (corner,) = person.click((50.2, 46.7))
    box = boxed(round(corner[0]), round(corner[1]))
    person.press("Shift+A")
    person.saved()
    assert np.array_equal(stored(project, "TS_3"), ((share > 0.5) & brushed) | ((share > np.float32(0.53)) & box))

    tag = person.board("options.layers.find(({ kind }) => kind === 'network').tag")
    weights, card = random_network("single", ("Disc",))
    weights["head.bias"] += 0.4
    save_network(project.single_network("Disc"), weights, card)
    again = SlicePreview(project, Devices()).predict("TS_3", "Disc", MIDDLE)
    assert (again > 0.53).sum() > (share > 0.53).sum()
    before = stored(project, "TS_3")
    page.wait_for_function("(old) => board.options.layers.every(({ tag }) => tag !== old)", arg=tag)
    page.wait_for_function("board.layers.answer(board.active, board.z)", timeout=60_000)
    person.press("Shift+A")
    person.saved()
    assert np.array_equal(stored(project, "TS_3"), before | ((again > np.float32(0.53)) & box))


def test_nothing_is_lost_with_the_server(open_page: OpenPage, server: Any, project: Project) -> None:
    page = open_page(f"{server.address}/annotate/TS_1?z={MIDDLE}", away=True)
    person = Person(page)
    person.press(*["["] * 6)
    expected = person.drag((10.2, 10.4), (20.7, 12.1))
    person.saved()
    other = open_page(f"{server.address}/annotate/TS_1?z={MIDDLE}", away=True)
    other.get_by_text("edits this tomogram since").wait_for()
    Person(other).drag((30, 50), (40, 55))
    other.get_by_text("Read-only: you can look, not draw.").wait_for()
    server.kill()
    assert np.array_equal(stored(project, "TS_1"), expected)
    expected |= person.drag((10.2, 30.4), (20.7, 32.1))  # it is away
    page.get_by_text("The server is away: what you draw waits for it").wait_for()
    server.start_again()
    page.get_by_text("Saved", exact=True).wait_for(timeout=40_000)
    person.ready()
    person.saved()
    person.press(*["["] * 6)
    expected |= person.drag((50.2, 30.4), (60.7, 52.1))
    person.saved()
    assert np.array_equal(stored(project, "TS_1"), expected)
    other.get_by_text("edits this tomogram since").wait_for()  # it only looked, and has not been faster
    assert np.array_equal(person.seen(), expected)
