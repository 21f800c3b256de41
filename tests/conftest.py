"""Fixtures that several folders share: a tiny project, and networks that nobody trained.

A test that needs what is not on every machine, such as a browser, skips itself. Where all that is there,
``POM_TEST_ALL=1`` lets no test be skipped: else a part would go untested and nobody would know.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pom.io.channels import Preprocessing
from pom.io.checkpoints import ModelCard, TrainingRecord
from pom.io.mrc import MrcWriter
from pom.io.pretrained import PretrainedCard
from pom.io.scns import Annotation, Feature, write_scns
from pom.networks.unet import UNet
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.render.window import NoOpenGLError, Window

# Started in the background of a script, a test run ignores Ctrl-C, and so would every process that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ALL_MUST_RUN = os.environ.get("POM_TEST_ALL") == "1"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

SHAPE = (12, 64, 72)
PIXEL_SIZE = 15.68
BOX = 32
DISC, SQUARE, NOTHING = (20, 22), (44, 52), (47, 16)
"""Centres (y, x) of a bright disc, of a dark square, and of a place where neither is."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, one does all of a module, one all of SLURM, one all with a browser."""
    browser = Path(__file__).parent / "app"
    for item in items:
        alone = "slurm" if item.get_closest_marker("slurm") else "app" if browser in item.path.parents else ""
        group = alone or str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of a test, or of a fixture that it needs."""
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Of a whole module, as ``pytest.importorskip`` skips it."""
    return refuse_skip((yield))


def refuse_skip(report: Report) -> Report:
    """Makes a skip a failure where all tests must run; an expected failure stays what it is."""
    if ALL_MUST_RUN and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        report.outcome = "failed"
        report.longrepr = f"{reason}. POM_TEST_ALL=1 says that every test is to run; without it this one is skipped."
    return report


@pytest.fixture(scope="session")
def opengl() -> None:
    """For tests that draw: they are skipped where there is nothing to draw with."""
    try:
        with Window(8):
            pass
    except NoOpenGLError as error:
        pytest.skip(str(error))


def write_mrc(path: Path, volume: NDArray[Any], origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    """Writes a volume (z, y, x) of float32, int8 or uint8 (stored as mode 6)."""
    n_slices, height, width = volume.shape
    with MrcWriter(path, (n_slices, height, width), volume.dtype, (PIXEL_SIZE,) * 3, origin) as writer:
        writer.write(volume)
    return path


def write_tiny_tomogram(project: Project, name: str, seed: int, folder: Path | None = None) -> None:
    """A tomogram with its Membrane: everything in it is a cylinder along z."""
    random = np.random.default_rng(seed)
    disc, square = masks()
    image = 2.0 * disc - 2.0 * square
    density = (image + random.normal(0, 0.4, SHAPE)).astype(np.float32)
    write_mrc((folder or project.tomogram_dir) / f"{name}.mrc", density, (1.0, 2.0, 3.0))
    membrane = np.broadcast_to(200 * disc, SHAPE) + random.integers(0, 50, SHAPE)
    write_mrc(project.macromolecule(name, "Membrane"), membrane.astype(np.uint8))


def masks() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The disc and the square, (y, x)."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    disc = (y - DISC[0]) ** 2 + (x - DISC[1]) ** 2 <= 9**2
    square = np.maximum(abs(y - SQUARE[0]), abs(x - SQUARE[1])) <= 8
    return disc, square


def feature(title: str, centres: Mapping[int, list[tuple[int, int]]], mask: NDArray[np.bool_]) -> Feature:
    """An annotated feature with boxes at centres (y, x), and what was drawn in their slices."""
    boxes: dict[int, list[tuple[float, float]]] = {z: [(x, y) for y, x in places] for z, places in centres.items()}
    return Feature(title, BOX, boxes, {z: mask.astype(np.uint8) for z in centres})


def annotate(project: Project, name: str, features: Sequence[Feature]) -> None:
    path = project.tomogram(name)
    write_scns(project.annotation(name), Annotation(str(path), *SHAPE, PIXEL_SIZE / 10, tuple(features)))


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Makes a project of tiny tomograms, each annotated with a bright disc and a dark square.

    ``make_project(folder=tmp_path, tomograms=("TS_1", "TS_2", "TS_3"), **settings)``; each tomogram gives every
    ontology four boxes, two of them with nothing drawn.
    """

    def make(folder: Path = tmp_path, tomograms: Sequence[str] = ("TS_1", "TS_2", "TS_3"), **settings: Any) -> Project:
        values: dict[str, Any] = {
            "macromolecules": ("Density", "Membrane"),
            "ontologies": ("Disc", "Square"),
            "ontology_annotation_box_size": BOX,
            "z_sum": 1,
            "single_model_epochs": 2,
            "shared_model_epochs": 3,
            "precision": "float32",
        }
        project = Project(folder, Configuration(**{**values, **settings}))
        disc, square = masks()
        for seed, name in enumerate(tomograms):
            write_tiny_tomogram(project, name, seed)
            discs = feature("Disc", {3: [DISC, NOTHING], 8: [DISC, SQUARE]}, disc)
            squares = feature("Square", {4: [SQUARE, NOTHING], 9: [SQUARE, DISC]}, square)
            annotate(project, name, [discs, squares])
        return project

    return make


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a disk of its own: ``disk_of("64k")`` is its folder."""
    made: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a disk needs root on Linux")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def make_read_only() -> Callable[[Path], None]:
    """Lets nothing more be written on a disk of ``disk_of``, not even by root."""

    def make(disk: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    return make


def random_weights(network: UNet) -> dict[str, torch.Tensor]:
    """Weights with which answers differ much from pixel to pixel, and few units are dead; always the same."""
    random = torch.Generator().manual_seed(1)
    weights = network.state_dict()
    for name, tensor in weights.items():
        if tensor.ndim == 4:
            tensor.normal_(0.0, (2.0 / tensor[0].numel()) ** 0.5, generator=random)
        elif name.endswith(("running_var", "weight")):
            tensor.uniform_(0.5, 1.5, generator=random)
        elif tensor.is_floating_point():
            tensor.uniform_(0.0, 1.0, generator=random)
    weights["head.weight"] *= 3.0
    return weights


@pytest.fixture
def random_network() -> Callable[..., tuple[dict[str, torch.Tensor], ModelCard]]:
    """Makes the weights and card of a network that nobody trained."""

    def make(
        kind: Literal["single", "joint"],
        outputs: Sequence[str],
        channels: Sequence[str] = ("Density", "Membrane"),
        widths: tuple[int, ...] = (8, 8, 8),
        z_sum: int = 1,
    ) -> tuple[dict[str, torch.Tensor], ModelCard]:
        weights = random_weights(UNet(len(channels), len(outputs), widths))
        record = TrainingRecord(
            tomograms=("TS_1",), validation_tomograms=(), patches=1, validation_patches=0, counterexamples=0,
            held_out="nothing", epochs=1, batch_size=1, learning_rate=0.1, precision="float32", seed=0, seconds=1.0,
            started_from="",
        )  # fmt: skip
        card = ModelCard(
            kind=kind, outputs=tuple(outputs), pixel_size=PIXEL_SIZE, architecture="UNet", widths=widths,
            preprocessing=Preprocessing(channels=tuple(channels), z_sum=z_sum, binning=(2, 2, 2)),
            weights_sha256="", training=record, validation={}, versions={}, created="",
        )  # fmt: skip
        return weights, card

    return make


@pytest.fixture
def pretrained_card() -> Callable[..., PretrainedCard]:
    """Makes the card of pretrained weights of a narrow network; what is given takes the place of its own values."""

    def make(**changes: Any) -> PretrainedCard:
        values: dict[str, Any] = {
            "preprocessing": Preprocessing(channels=("Density", "Membrane"), z_sum=1, binning=(2, 2, 2)),
            "pixel_size": PIXEL_SIZE, "architecture": "UNet", "widths": (8, 16), "weights_sha256": "",
            "hidden_share": 0.5, "hidden_block": 8, "tomograms": ("TS_1", "TS_2"), "validation_tomograms": (),
            "left_out": {}, "crops": 3, "validation_crops": 0, "steps": 50, "batch_size": 12, "learning_rate": 3e-3,
            "precision": "float32", "seed": 0, "seconds": 1.0, "loss": 0.5, "validation_loss": None, "fingerprint": "",
            "versions": {}, "created": "",
        }  # fmt: skip
        return PretrainedCard(**{**values, **changes})

    return make
