"""Makes the pictures in docs/images/: a demo project, the real commands and server, a browser that looks at it.

Run ``python docs/make_pictures.py`` with Pom and its test tools installed, and Chromium on the machine, for those of
'pom annotate'. The folder of the demo project is thrown away afterwards, unless one is named: it then stays, and is
used again. With ``--demo FOLDER`` those of 'pom browse' and 'pom render', of 'pom evaluate' and of the demo itself are
made instead, of a copy of what 'pom demo FOLDER' has made.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import KDTree

from pom.demo.dataset import DEMO_CONFIGURATION, DEMO_TOMOGRAMS, Plan, Role, truth_folder, write_demo_project
from pom.demo.phantom import ONTOLOGIES, make_phantom
from pom.demo.run import draw_demo
from pom.io.atomic import atomic_path
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.annotations import open_for_editing

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1440, 900
EXACT, GREYS, MIXED = 32, 20, 128
"""How many colours a picture has: those of flat areas, exactly; greys; and for all else. More greys, more bytes."""
STRONG = 8
"""A colour whose parts differ by more is no grey."""

SEED = 0
SHAPE = (64, 440, 520)
PLANS = (
    Plan("TS_001", SHAPE, Role.ANNOTATED),
    Plan("TS_002", SHAPE, Role.ANNOTATED),
    Plan("TS_003", SHAPE, Role.ANNOTATED),
    Plan("TS_004", SHAPE, Role.SCORED),
)
BOX = 96
EPOCHS = 48
NETWORK = "Mitochondrion"
NOT_IT = "Vesicle"
"""Has a membrane as well: a box on some says that they are no mitochondria."""
SHOWN, UNSEEN = 28, 44
"""Slices of the first tomogram: one that is annotated here, and one that nobody has drawn in."""

COMPOSITION = "Cell"
COMPOSITIONS = {
    COMPOSITION: ["Membrane", "Mitochondrion", "Nucleus", "Vesicle", "Droplet"],
    "Top3": ["rank1", "rank2", "rank3", "!Unknown"],
}
LOOKS = {
    "raytraced_ontologies": True, "z_margin_summary": 0.15, "image_size": 720, "gallery_categories": [COMPOSITION],
}  # fmt: skip
RENDERED_TOMOGRAM = "TS_003"
BROWSED_TOMOGRAM = "TS_001"
NOT_COPIED = ("training_datasets", "evaluation", "images")
"""Folders of the finished demo that its pictures are not made of, or that are made anew."""


def main() -> None:
    """Makes them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="where the demo project is, or is to be")
    parser.add_argument("--demo", type=Path, help="what 'pom demo' has made: make the pictures of it")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    options = parser.parse_args()
    if not options.chromium:
        parser.error("there is no chromium here: name a browser's program with --chromium")
    if options.demo and options.folder:
        parser.error("name a folder or --demo, not both: they are of different pictures")
    if options.demo and not (options.demo / CONFIGURATION_FILE).exists():
        parser.error(f"{options.demo} is no project: make it with 'pom demo'")
    with tempfile.TemporaryDirectory() as temporary:
        if options.demo:
            make_pictures_of_finished(options.demo, Path(temporary), options.chromium)
        else:
            make_pictures_of_annotate(options.folder or Path(temporary) / "pom-demo", options.chromium)


def make_pictures_of_annotate(folder: Path, chromium: str) -> None:
    """Those of 'pom annotate', of the demo project in the folder, which is made where there is none."""
    if not (folder / CONFIGURATION_FILE).exists():
        make_project(folder)
    with server(folder, "annotate") as address, browser(chromium) as page:
        take_pictures_of_annotate(page, address, Project.open(folder))


def make_pictures_of_finished(demo: Path, temporary: Path, chromium: str) -> None:
    """Those of a copy of a finished demo."""
    project = copy_of(demo.resolve(), temporary)
    make_pictures_of_demo(project)
    make_pictures_of_browse(project, chromium)


def make_pictures_of_demo(project: Project) -> None:
    """Those of 'pom demo' and 'pom evaluate'."""
    drawn = project.folder / "demo.png"
    draw_demo(project, [plan.name for plan in DEMO_TOMOGRAMS if plan.role is Role.SCORED], drawn)
    take_over(drawn, "demo.png")
    run(project.folder, "evaluate", "-truth", truth_folder(project.folder).name)
    take_over(project.evaluation / "evaluation.png", "evaluation.png")


def make_pictures_of_browse(project: Project, chromium: str) -> None:
    """Those of 'pom render' and 'pom browse'."""
    for command in (("summarize",), ("projections",), ("render", "-p", "2")):
        run(project.folder, *command)
    take_over(project.picture(RENDERED_TOMOGRAM, COMPOSITION), "render.png")
    with server(project.folder, "browse") as address, browser(chromium) as page:
        take_pictures_of_browse(page, f"{address}/browse")


# The projects


def make_project(folder: Path) -> None:
    """The demo's tomograms, larger than usual, one slice annotated for the eye, and one network."""
    settings = {"ontology_annotation_box_size": BOX, "single_model_epochs": EPOCHS, "single_model_batch_size": 8}
    project = write_demo_project(folder, SEED, DEMO_CONFIGURATION.model_copy(update=settings), PLANS)
    annotate_one_slice(project, PLANS[0].name, make_phantom([SEED, 0], SHAPE).labels[SHOWN])
    run(folder, "single", "initialize")
    run(folder, "single", "train", "-o", NETWORK)


def copy_of(demo: Path, temporary: Path) -> Project:
    """A project like the finished demo, with the compositions and looks of these pictures."""
    folder = temporary / demo.name
    shutil.copytree(demo, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    configuration = folder / CONFIGURATION_FILE
    configuration.write_text(json.dumps(json.loads(configuration.read_text()) | LOOKS, indent=2))
    project = Project.open(folder)
    project.render_configuration.write_text(json.dumps(COMPOSITIONS, indent=2))
    return project


def run(folder: Path, *command: str) -> None:
    """A command of Pom in a project's folder."""
    subprocess.run([sys.executable, "-m", "pom", *command], cwd=folder, check=True)


def annotate_one_slice(project: Project, name: str, labels: NDArray[np.uint8]) -> None:
    """Places boxes where most of an ontology is and draws what is in them; and one that holds nothing of it."""
    store = open_for_editing(project, name)
    masks = {title: labels == value for value, title in enumerate(ONTOLOGIES, start=1)}
    free = np.ones(labels.shape)
    boxes: dict[str, list[tuple[float, float]]] = {NETWORK: [], NOT_IT: []}
    for title in (NETWORK, NETWORK, NOT_IT, None):
        worth = masks[NOT_IT] - 100.0 * masks[NETWORK] if title is None else 1.0 * masks[title]
        place = place_with_most(np.where(free, worth, -1.0))
        boxes[title or NETWORK].append(place)
        free[area(place)] = 0
    for feature in store.features:
        drawn = np.zeros_like(labels, bool)
        for place in boxes.get(feature.title, []):
            drawn[area(place)] = masks[feature.title][area(place)]
        store.write_patch(feature.id, SHOWN, 0, 0, drawn)
        store.set_boxes(feature.id, SHOWN, boxes.get(feature.title, []))


def place_with_most(worth: NDArray[np.float64]) -> tuple[float, float]:
    """The centre (x, y) of the box that lies within the slice and is worth most."""
    means = ndimage.uniform_filter(worth, BOX, mode="constant")
    half = BOX // 2
    inner = means[half:-half, half:-half]
    y, x = np.unravel_index(int(inner.argmax()), inner.shape)
    return float(x + half), float(y + half)


def area(centre: tuple[float, float]) -> tuple[slice, slice]:
    """The pixels of a box, [y, x]."""
    left, bottom = (int(value) - BOX // 2 for value in centre)
    return slice(bottom, bottom + BOX), slice(left, left + BOX)


# The server and the browser


@contextlib.contextmanager
def server(folder: Path, place: str) -> Iterator[str]:
    """A running 'pom annotate' or 'pom browse'; yields its address."""
    command = [sys.executable, "-m", "pom", place, "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    yield address[0]
                    break
            else:
                raise SystemExit(f"'pom {place}' has ended: what it says above is why.")
        finally:
            process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def browser(chromium: str) -> Iterator["Page"]:
    """A page of a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        program = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = program.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=1)
        page.set_default_timeout(60_000)
        yield page
        program.close()


# The pictures


def take_pictures_of_annotate(page: "Page", address: str, project: Project) -> None:
    """All of them, in docs/images/."""
    name = PLANS[0].name
    boxes = {feature.title: feature.boxes for feature in open_for_editing(project, name).features}

    show(page, f"{address}/annotate/{name}?z={SHOWN}")
    page.get_by_role("listitem").filter(has_text=NETWORK).locator("button.pom-feature-title").click()
    page.mouse.move(*on_screen(page, boxes["Vesicle"][SHOWN][0]))
    save(page, "annotate.png")

    page.get_by_role("button", name="All keys (?)").click()
    page.mouse.move(WIDTH / 2, HEIGHT - 20)
    save(page, "annotate-keys.png")
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Library").click()
    page.mouse.move(WIDTH / 2, HEIGHT - 20)
    save(page, "annotate-library.png")

    show(page, f"{address}/annotate/{name}?z={UNSEEN}")
    page.get_by_role("listitem").filter(has_text=NETWORK).locator("button.pom-feature-title").click()
    page.get_by_role("button", name="Accept: take what the network says here (A)").click()
    page.get_by_role("tab", name="Image").click()
    layer = page.locator(".pom-layers > *").filter(has_text="Networks").locator(f"~ .pom-layer:has-text('{NETWORK}')")
    with page.expect_response(lambda answer: f"/layers/network-{NETWORK}/" in answer.url):
        layer.get_by_role("checkbox").click()
    groove = layer.locator(".q-slider").bounding_box()
    assert groove is not None
    page.mouse.click(groove["x"] + 0.3 * groove["width"], groove["y"] + groove["height"] / 2)
    page.get_by_role("button", name="Boxes: what is inside is fully annotated (X)").click()
    page.mouse.click(*on_screen(page, boxes[NETWORK][SHOWN][0]))
    page.get_by_role("button", name="Accept: take what the network says here (A)").click()
    page.get_by_role("button", name="In all boxes").click()
    page.mouse.move(*on_screen(page, boxes[NETWORK][SHOWN][1]))
    save(page, "annotate-network.png")
    for _ in range(2):
        page.keyboard.press("Control+z")
    layer.get_by_role("checkbox").click()
    page.get_by_role("button", name="Hand: move the slice (H)").click()

    page.get_by_role("tab", name="Network").click()
    page.get_by_role("button", name="Find places").click()
    page.locator("button.pom-suggestion").first.wait_for()
    page.locator("button.pom-suggestion").first.hover()
    save(page, "annotate-next.png")


def take_pictures_of_browse(page: "Page", address: str) -> None:
    """All of them, in docs/images/."""
    page.set_viewport_size({"width": 1290, "height": 995})  # two whole rows of pictures
    page.goto(f"{address}/gallery?size=large&sort=Nucleus&desc=1")
    save(page, "browse-gallery.png")

    page.set_viewport_size({"width": WIDTH, "height": 320})  # the demo has few tomograms
    page.goto(f"{address}/table?range=Nucleus:10:&sort=Mitochondrion&desc=1")
    save(page, "browse-table.png")

    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    page.goto(f"{address}/settings")
    page.get_by_alt_text("Preview").wait_for()
    save(page, "browse-settings.png")

    page.set_viewport_size({"width": WIDTH, "height": 960})  # the whole record
    page.goto(f"{address}/tomogram/{BROWSED_TOMOGRAM}?sort=Nucleus&desc=1&z=24")
    page.locator(".t-page[data-ready]").wait_for()
    for title in ("Mitochondrion", "Vesicle", "Membrane"):
        page.get_by_label(f"{title} over the slices").check()
    for title in (*ONTOLOGIES, "Membrane"):
        page.get_by_label(f"{title} as a surface").set_checked(title in ("Vesicle", "Droplet", "Membrane"))
    page.get_by_label("Slice in it").check()
    page.wait_for_function("!document.querySelector('[data-busy]')")
    save(page, "browse-tomogram.png")


def show(page: "Page", address: str) -> None:
    """Opens a page of 'pom annotate' and waits until it is complete."""
    page.goto(address)
    page.get_by_text("Saved", exact=True).wait_for()


def on_screen(page: "Page", place: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel (x, y) of the slice is in the page, while the whole slice is shown."""
    room = page.locator(".pom-stage").bounding_box()
    assert room is not None
    scale = 0.97 * min(room["width"] / SHAPE[2], room["height"] / SHAPE[1])
    x, y = (place[0] - (SHAPE[2] - 1) / 2, place[1] - (SHAPE[1] - 1) / 2)
    return room["x"] + room["width"] / 2 + scale * x, room["y"] + room["height"] / 2 - scale * y


def save(page: "Page", name: str) -> None:
    """What the page shows once it has come to rest."""
    page.wait_for_load_state("networkidle")
    page.locator(".pom-loading").wait_for(state="hidden")
    time.sleep(1.5)  # menus and hints fade
    write(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), name)


def take_over(path: Path, name: str) -> None:
    """Writes a picture that Pom has drawn into docs/images/."""
    with Image.open(path) as picture:
        write(picture.convert("RGB"), name)


def write(picture: Image.Image, name: str) -> None:
    """Writes a picture, RGB, into docs/images/ as a small PNG, and says how small."""
    with atomic_path(IMAGES / name) as temporary:
        of_few_colours(picture).save(temporary, format="PNG", optimize=True)
    sys.stdout.write(f"{IMAGES / name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB\n")


def of_few_colours(picture: Image.Image) -> Image.Image:
    """A picture, RGB, with a palette.

    Flat areas, such as the page's and the marks that tell features apart, keep their colours, however small they are;
    of all other pixels, those of pictures mostly, the colours are about right.
    """
    codes = np.asarray(picture).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    flat = ndimage.maximum_filter(codes, 3) == ndimage.minimum_filter(codes, 3)
    areas, counts = np.unique(codes[flat], return_counts=True)
    exact = parts(areas[np.argsort(-counts)][:EXACT])
    greys = np.linspace(0, 255, GREYS).astype(int)[:, None].repeat(3, axis=1)
    pixels = np.asarray(picture).reshape(-1, 3)
    coloured = Image.fromarray(pixels[np.ptp(pixels, axis=1) > STRONG][None])
    mixed = np.reshape(coloured.quantize(MIXED, kmeans=1).getpalette() or [], (-1, 3))
    palette = np.concatenate([exact, greys, mixed])
    seen, places = np.unique(codes, return_inverse=True)
    # Pillow takes a colour near the nearest, which tints what is grey.
    nearest = np.asarray(KDTree(palette).query(parts(seen))[1], np.uint8)
    small = Image.fromarray(nearest[places].reshape(codes.shape))
    small.putpalette(palette.astype(np.uint8).tobytes())
    return small


def parts(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Red, green and blue, (n, 3), of colours as numbers."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


if __name__ == "__main__":
    main()
