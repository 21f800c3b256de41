"""What the tests of the web page share: a project, a real server of it, and pages of a real browser."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pom.io.mrc import MrcWriter
from pom.io.summary_files import TOMOGRAM, UNLIKE, write_parquet
from pom.project.names import UNKNOWN
from pom.project.paths import CONFIGURATION_FILE, Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

Value = TypeVar("Value")

CHROMIUM = Path("/usr/bin/chromium")
COMMAND = (sys.executable, "-m", "pom")
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """For one file at a time: its event loop must not be that of other tests."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed: a real browser needs chromium (apt-get install)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Three tomograms, the third without annotation."""
    project = make_project()
    project.annotation("TS_3").unlink()
    values = project.configuration.model_dump(mode="json", by_alias=True)
    (project.folder / CONFIGURATION_FILE).write_text(json.dumps(values, indent=2))
    return project


class Server:
    """A server of a project's folder as a process of its own; ``program`` is its command line but for the port."""

    def __init__(self, folder: Path, program: Sequence[str]) -> None:
        self._folder, self._program = folder, program
        self._log = folder / "server.log"
        self.address = self.start(0)

    def start(self, port: int) -> str:
        """Starts it, and gives its address once it answers."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._program, str(port)], cwd=self._folder, stdout=log, stderr=log, env=ENVIRONMENT
            )
        return wait_for(self._announced)

    def _announced(self) -> str:
        match = re.search(r"http://127\.0\.0\.1:\d+", self._log.read_text())
        return match[0] if match else ""

    def kill(self) -> None:
        """Ends it without a chance to do anything more."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """At the same address."""
        self.start(int(self.address.rpartition(":")[2]))

    def end(self) -> None:
        """Ends it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)


@pytest.fixture
def program() -> Sequence[str]:
    """What serves the project; a file of tests that needs another server has a fixture of its own of this name."""
    return (*COMMAND, "annotate", "--port")


@pytest.fixture
def server(project: Project, program: Sequence[str]) -> Iterator[Server]:
    """Of the project."""
    server = Server(project.folder, program)
    yield server
    server.end()


@pytest.fixture
def address(server: Server) -> str:
    return server.address


@pytest.fixture
def open_page(chromium: "Browser", server: Server) -> Iterator[Callable[..., "Page"]]:
    """Opens an address in a browser of its own: ``open_page(address, away=False)``.

    The test fails if the browser's console tells an error, be it of a script or of the content security policy. With
    ``away``, that the server does not answer is none.
    """
    errors: list[str] = []
    pages: list[Page] = []

    def open_page(address: str, *, away: bool = False) -> "Page":
        def heard(message: "ConsoleMessage") -> None:
            expected = away and re.search("ERR_CONNECTION|WebSocket|ERR_EMPTY_RESPONSE|404", message.text)
            if message.type in ("error", "warning") and not expected:
                errors.append(message.text)

        page = chromium.new_context(viewport={"width": 1300, "height": 800}, accept_downloads=True).new_page()
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", heard)
        page.goto(address)
        page.locator(".pom-stage").wait_for()
        page.get_by_text("Saved", exact=True).or_(page.get_by_text("Read-only")).first.wait_for()
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert errors == []


def wait_for(value: Callable[[], Value | None], seconds: float = 30) -> Value:
    deadline = time.monotonic() + seconds
    while not (result := value()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert result
    return result


@pytest.fixture
def until() -> Callable[..., object]:
    """Waits until a function gives something true, and gives that: ``until(function, seconds=30)``."""
    return wait_for


SEGMENTED_SHAPE = (12, 64, 72)
"""(z, y, x) of the tomograms of ``segmented``; a pixel is 1 nm."""
DISC, SQUARE = (20, 22), (44, 52)
"""Centres (y, x) of what is in them, along all of z."""


@pytest.fixture(scope="module")
def segmented_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ``segmented``; the same for all tests of a file, so that one server will do."""
    folder = tmp_path_factory.mktemp("segmented")
    _fill(folder)
    return folder


@pytest.fixture
def segmented(segmented_folder: Path) -> Project:
    """A project to browse: TS_1 is segmented, TS_2 is not, TS_3 has a damaged Disc, TS_4 is in the summary only.

    Its tomograms grow brighter from slice to slice. Ring is nowhere.
    """
    for path in segmented_folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return _fill(segmented_folder)


def _fill(folder: Path) -> Project:
    settings: dict[str, Any] = {"ontologies": ["Disc", "Square", "Ring"], "macromolecules": ["Density", "Membrane"]}
    settings |= {"binning": [1, 1, 1], "z_margin_summary": 0.0, "image_size": 128, "single_model_epochs": 1}
    (folder / CONFIGURATION_FILE).write_text(json.dumps(settings))
    project = Project.open(folder)
    for name in ("TS_1", "TS_2", "TS_3"):
        slices = np.arange(SEGMENTED_SHAPE[0], dtype=np.float32)[:, None, None]
        _write_volume(project.tomogram(name), np.broadcast_to(slices, SEGMENTED_SHAPE))
    y, x = np.mgrid[: SEGMENTED_SHAPE[1], : SEGMENTED_SHAPE[2]]
    disc = (y - DISC[0]) ** 2 + (x - DISC[1]) ** 2 <= 9**2
    square = np.maximum(abs(y - SQUARE[0]), abs(x - SQUARE[1])) <= 8
    masks = {"Disc": disc, "Square": square, "Ring": np.zeros_like(disc), UNKNOWN: ~(disc | square)}
    for name in ("TS_1", "TS_3"):
        for title, mask in masks.items():
            _write_volume(project.output(name, title), np.broadcast_to(127 * mask.astype(np.int8), SEGMENTED_SHAPE))
    damaged = project.output("TS_3", "Disc")
    damaged.write_bytes(damaged.read_bytes()[:5000])
    index = pd.Index(["TS_1", "TS_3", "TS_4"], name=TOMOGRAM)
    shares = {"Disc": [5.5, 6.5, 50.0], "Square": [6.3, 6.0, 0.0], "Ring": [0.0, 0.0, 1.0], UNKNOWN: [88.2, 87.5, 49.0]}
    write_parquet(project.summary_parquet, pd.DataFrame({**shares, UNLIKE: [0.5, 1.5, 0.2]}, index))
    return project


def _write_volume(path: Path, volume: NDArray[Any]) -> None:
    n_slices, height, width = volume.shape
    with MrcWriter(path, (n_slices, height, width), volume.dtype, (10.0,) * 3) as writer:
        writer.write(np.ascontiguousarray(volume))


@pytest.fixture(scope="module")
def browsed_folder(segmented_folder: Path) -> Path:
    """Of ``browsed``; a file of tests that browses another project has fixtures of its own of these two names."""
    return segmented_folder


@pytest.fixture
def browsed(segmented: Project) -> Project:
    """The project that ``browse`` shows, as it is to be when a test begins."""
    return segmented


@pytest.fixture(scope="module")
def browse_address(browsed_folder: Path) -> Iterator[str]:
    """Of ``pom browse`` for the project ``browsed``."""
    command = [*COMMAND, "browse", "--port", "0"]
    with subprocess.Popen(command, cwd=browsed_folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        announced = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert announced
        yield announced[0]
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0


@pytest.fixture
def browse(chromium: "Browser", browse_address: str, browsed: Project) -> Iterator[Callable[..., "Page"]]:
    """Opens a path of the place Browse in a browser of its own: ``browse("/browse/settings", expected="409|422")``.

    The test fails if the console tells an error or a broken policy, but for what matches ``expected``.
    """
    errors: list[str] = []
    pages: list[Page] = []

    def browse(path: str, expected: str = "") -> "Page":
        def heard(message: "ConsoleMessage") -> None:
            # The first is of looking at pixels, as tests do.
            known = re.search("ReadPixels|readback", message.text) or (expected and re.search(expected, message.text))
            if message.type in ("error", "warning") and not known:
                errors.append(message.text)

        page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
        pages.append(page)
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", heard)
        page.goto(f"{browse_address}{path}")
        return page

    yield browse
    for page in pages:
        page.context.close()
    assert errors == []
