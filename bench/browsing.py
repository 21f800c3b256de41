"""Browsing a dataset of 2,000 tomograms: how long pages take on the server and in the browser, the server's memory.

The real server, as ``pom browse`` starts it, on loopback, and a real Chromium where there is one. The project is made
up: volumes of a few voxels with the records of their processing, a summary of random composition, and a picture of
every kind for every tomogram, of which two dozen differ. The files were just written, so they are read from the
system's cache; small pictures are made when they are first asked for, as in a project of one's own.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from PIL import Image
from scipy import ndimage

from pom.io.mrc import MrcWriter
from pom.io.summary_files import COMPONENTS, CONFIDENCE, TOMOGRAM, UNLIKE, UNLIKE_FLAG, VOLUME, write_parquet
from pom.jobs.ledger import Ledger, Record
from pom.project.names import UNKNOWN
from pom.project.paths import CONFIGURATION_FILE, SHARED_STEP, Project
from report import MILLION, report
from scrolling import resident_bytes

if TYPE_CHECKING:
    import pandas as pd
    from playwright.sync_api import Page

ONTOLOGIES = (
    "Cytoplasm", "Mitochondrion", "Nucleus", "Nuclear envelope", "Endoplasmic reticulum", "Vesicle", "Droplet", "Void",
    "Chloroplast", "Pyrenoid",
)  # fmt: skip
MACROMOLECULES = ("Density", "Membrane", "Ribosome")
COMPOSITION, DENSITY = "Top3", "density"
SHAPE = (8, 16, 16)
PICTURE = 512
N_PICTURES = 24
N_ASKED = 20
CHROMIUM = "/usr/bin/chromium"
TARGETS = {"server": 0.300, "paint": 1.5, "filter": 0.100, "memory": 500e6}
MILLI = 1e-3
RANGE = quote("Mitochondrion:10:")


def write_project(folder: Path, n_tomograms: int) -> Project:
    """A project that is wholly processed and summarised, with pictures."""
    kinds = [COMPOSITION, DENSITY]
    settings = {"ontologies": ONTOLOGIES, "macromolecules": MACROMOLECULES, "gallery_categories": kinds}
    (folder / CONFIGURATION_FILE).write_text(json.dumps(settings))
    project = Project.open(folder)
    rng = np.random.default_rng(0)
    names = [f"TS_{number:04d}" for number in range(1, n_tomograms + 1)]
    write_volumes(project, names)
    write_parquet(project.summary_parquet, summary(names, rng))
    write_pictures(project, names, rng)
    return project


def write_volumes(project: Project, names: Sequence[str]) -> None:
    """Each tomogram and output is a link to the same few voxels; each tomogram has a record of its own."""
    small = project.folder / "small.mrc"
    with MrcWriter(small, SHAPE, np.dtype(np.int8), (10.0,) * 3) as writer:
        writer.write(np.zeros(SHAPE, np.int8))
    for folder in (project.tomogram_dir, project.output_dir):
        folder.mkdir()
    ledger = Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP))
    for name in names:
        outputs = [project.output(name, ontology) for ontology in (*ONTOLOGIES, UNKNOWN)]
        for path in (project.tomogram(name), *outputs):
            path.hardlink_to(small)
        ledger.write_record(
            Record(
                tomogram=name, step=SHARED_STEP, network="0" * 64, configuration="0" * 64, inputs={}, version="0",
                host="host", device="cuda:0", started=time.time(), seconds=60.0, unlike=0.5,
                outputs=tuple(path.name for path in outputs),
            )
        )  # fmt: skip


def summary(names: Sequence[str], rng: np.random.Generator) -> "pd.DataFrame":
    """Random compositions: a few ontologies make up most of each tomogram."""
    import pandas as pd

    features = (*ONTOLOGIES, UNKNOWN, *MACROMOLECULES[1:])
    shares = 100 * rng.dirichlet([1.2, 0.5, 0.6, 0.2, 0.4, 0.3, 0.1, 0.8, 0.2, 0.1, 0.15], len(names))
    shares = np.hstack([np.where(shares < 0.05, 0, shares), rng.gamma(2.0, 1.5, (len(names), 2))])
    shares[rng.random(shares.shape) < 0.01] = np.nan
    table = pd.DataFrame(shares, pd.Index(names, name=TOMOGRAM), list(features))
    for feature in features:
        table[f"{feature}{VOLUME}"] = table[feature] * 0.0031
        table[f"{feature}{COMPONENTS}"] = np.ceil(table[feature])
        table[f"{feature}{CONFIDENCE}"] = rng.uniform(0.6, 1.0, len(names))
    table[UNLIKE] = rng.gamma(9.0, 0.06, len(names))
    table[UNLIKE_FLAG] = table[UNLIKE] > 1.0
    return table


def write_pictures(project: Project, names: Sequence[str], rng: np.random.Generator) -> None:
    """A grey and a coloured picture for every tomogram."""
    for kind in (DENSITY, COMPOSITION):
        made = []
        for number in range(N_PICTURES):
            made.append(project.images(kind) / f".{number}.png")
            made[-1].parent.mkdir(parents=True, exist_ok=True)
            _blobs(rng, coloured=kind == COMPOSITION).save(made[-1])
        for index, name in enumerate(names):
            project.picture(name, kind).hardlink_to(made[index % N_PICTURES])


def _blobs(rng: np.random.Generator, *, coloured: bool) -> Image.Image:
    noise = rng.standard_normal((3 if coloured else 1, PICTURE, PICTURE))
    smooth = np.stack([ndimage.gaussian_filter(each, 18 if coloured else 3) for each in noise], axis=-1)
    grey = np.clip(128 + 90 * smooth / smooth.std() * (smooth > 0 if coloured else 1), 0, 255).astype(np.uint8)
    return Image.fromarray(grey if coloured else grey[..., 0])


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """Starts ``pom browse``; yields its port and process."""
    command = [sys.executable, "-m", "pom", "browse", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r":(\d+)/", process.stdout.readline())
            if address is None:
                raise RuntimeError("The server did not start.")
            yield int(address[1]), process.pid
        finally:
            process.send_signal(signal.SIGINT)


def answers(port: int, path: str) -> list[float]:
    """Seconds of several answers to a request, the first one first."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    seconds = []
    for _ in range(N_ASKED):
        begun = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        content = answer.read()
        seconds.append(time.perf_counter() - begun)
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
    return seconds


def in_browser(port: int) -> dict[str, float]:
    """Seconds until a page is painted and whole in Chromium, and from a keystroke to the rows that it asks for."""
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for place in ("table", "gallery"):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(f"http://127.0.0.1:{port}/browse/{place}", wait_until="load")
            found[f"{place}, painted"] = MILLI * page.evaluate(PAINTED)
            page.locator("[data-live]").first.wait_for()
            if place == "gallery":
                page.wait_for_function("[...document.images].filter(i => i.getBoundingClientRect().top < 800)"
                                       ".every(i => i.complete && i.naturalWidth)")  # fmt: skip
                found["gallery, pictures in view"] = MILLI * page.evaluate("performance.now()")
            found[f"{place}, filter"] = filtering(page)
        browser.close()
    return found


PAINTED = """() => new Promise((done) => new PerformanceObserver((list) => done(Math.max(
    ...list.getEntries().map((each) => each.startTime)))).observe({type: 'paint', buffered: true}))"""
FILTERED = """() => new Promise((done) => {
    const box = document.querySelector('[name=q]'), begun = performance.now();
    const end = () => requestAnimationFrame(() => done(performance.now() - begun));
    document.addEventListener('pom-shown', end, {once: true});
    box.value = String(Math.floor(Math.random() * 90) + 10);
    box.dispatchEvent(new Event('input', {bubbles: true}));
})"""


def filtering(page: "Page") -> float:
    """Seconds, the median of several; what the page waits for more keystrokes is in it."""
    taken: list[float] = [page.evaluate(FILTERED) for _ in range(7)]
    return MILLI * statistics.median(taken)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tomograms", type=int, default=2000, help="how many the project has")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (100 MB)")
    parser.add_argument("--project", type=Path, help="make the project here, let it stay, and use it again")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = options.project or Path(temporary)
        if not (folder / CONFIGURATION_FILE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_project(folder, options.tomograms)
        with server(folder) as (port, process):
            paths: dict[str, str] = {
                "overview": "/browse", "table": "/browse/table", "gallery": "/browse/gallery",
                "table, filtered": f"/browse/table?range={RANGE}&sort=Nucleus&desc=1", "rows as JSON": "/api/table",
                "progress": "/browse/progress", "a small picture": f"/api/pictures/{DENSITY}/TS_0001?size=320",
            }  # fmt: skip
            taken = {title: answers(port, path) for title, path in paths.items()}
            seen = in_browser(port) if Path(CHROMIUM).exists() else {}
            memory = resident_bytes(process)
    rows = [[title, *map(_ms, (each[0], statistics.median(each), max(each[1:])))] for title, each in taken.items()]
    rows += [[f"in Chromium: {title}", _ms(seconds), "", ""] for title, seconds in seen.items()]
    notes = [
        f"Targets: table and gallery within {TARGETS['server'] / MILLI:.0f} ms on the server, painted within"
        f" {TARGETS['paint']:.1f} s, filtered within {TARGETS['filter'] / MILLI:.0f} ms,"
        f" less than {TARGETS['memory'] / MILLION:.0f} MB.",
        "First: asked for for the first time since the server's start, in the order of the rows.",
        f"The server has {memory / MILLION:.0f} MB resident after all that.",
    ]
    figures: dict[str, object] = {**taken, **seen, "memory": memory}
    title = f"Browsing {options.tomograms} tomograms"
    report(title, ["what", "first, ms", "median, ms", "longest, ms"], rows, notes, figures, options.json)


def _ms(seconds: float) -> str:
    return f"{seconds / MILLI:.0f}"


if __name__ == "__main__":
    main()
