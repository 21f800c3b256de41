"""The whole way on the phantom cell: annotated boxes in, segmented tomograms out, and how good they are."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pom.demo.dataset import DEMO_CONFIGURATION, DEMO_TOMOGRAMS, Role, truth_file, truth_folder, write_demo_project
from pom.demo.phantom import ONTOLOGIES
from pom.io.mrc import MrcReader
from pom.measure.dice import majority_labels
from pom.networks.devices import choose_devices
from pom.project.names import UNKNOWN
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.evaluate import evaluate
from pom.workflow.feature_library import complete_library, load_library
from pom.workflow.segmented import Segmented

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEMO_SETTINGS = {
    "single_model_epochs": 30,
    "shared_model_epochs": 150,
    "single_model_batch_size": 8,
    "shared_model_batch_size": 8,
}
"""A demo is to end within minutes on two CPU cores; a real project trains longer."""


@dataclass(frozen=True)
class DemoResult:
    """How good the demo's segmentations are, on tomograms that no training saw.

    ``dice``: per ontology, 0..1. ``picture``: a PNG. ``seconds``: what it all took.
    """

    dice: Mapping[str, float]
    picture: Path
    seconds: float


def run_demo(folder: Path, seed: int) -> DemoResult:
    """Makes the phantom dataset in ``folder``, unless it is there, and goes every step of the recommended way.

    Raises:
        PomError: something cannot be written.
    """
    from pom.workflow.process_tomograms import Redo
    from pom.workflow.shared_process import shared_process
    from pom.workflow.shared_train import shared_train
    from pom.workflow.single_initialize import single_initialize

    started = time.monotonic()
    project = _dataset(folder, seed)
    devices = choose_devices(None, project.configuration.GPUS)
    single_initialize(project)
    shared_train(project, devices, checkpoint=None, direct=True)
    shared_process(project, devices, redo=Redo.everything())
    scored = [plan.name for plan in DEMO_TOMOGRAMS if plan.role is Role.SCORED]
    picture = folder / "demo.png"
    draw_demo(project, scored, picture)
    return DemoResult(_dice(project), picture.absolute(), time.monotonic() - started)


def _dataset(folder: Path, seed: int) -> Project:
    if (folder / CONFIGURATION_FILE).exists() and truth_folder(folder).is_dir():
        return Project.open(folder)
    configuration = DEMO_CONFIGURATION.model_copy(update={**DEMO_SETTINGS, "seed": seed})
    return write_demo_project(folder, seed, configuration)


def _dice(project: Project) -> dict[str, float]:
    """As 'pom evaluate --truth truth' has it, whose files stay too."""
    confusion = evaluate(project, truth_folder(project.folder)).together().confusion
    scores = {ontology: confusion.score(label) for label, ontology in enumerate(ONTOLOGIES)}
    return {ontology: math.nan if score.dice is None else score.dice for ontology, score in scores.items()}


def _truth(project: Project, name: str) -> NDArray[np.uint8]:
    """The true labels, (z, y, x) binned; 0 for none."""
    labels = _read(truth_file(project.folder, name))
    return majority_labels(labels, project.configuration.binning, len(ONTOLOGIES) + 1)


def _segmentation(project: Project, name: str) -> NDArray[np.uint8]:
    """The most probable output everywhere, (z, y, x) binned; 0 for Unknown."""
    with Segmented(project, name) as segmented:
        return (segmented.read_all() + 1) % (len(ONTOLOGIES) + 1)


def _read(path: Path) -> NDArray[Any]:
    with MrcReader(path) as reader:
        return reader.read(0, reader.header.shape[0])


def draw_demo(project: Project, names: Sequence[str], path: Path) -> None:
    """Draws a PNG: density, truth and segmentation of the central slab of each tomogram, side by side.

    Args:
        project: a demo, whose feature library has the colours.
        names: of segmented tomograms.
        path: of the picture.

    Raises:
        PomError: a file is missing or damaged, or the picture cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Patch

    from pom.io.atomic import atomic_path
    from pom.io.channels import read_network_input
    from pom.workflow.single_initialize import preprocessing_of

    figure = Figure(figsize=(12, 4 * len(names) + 0.6), layout=ConstrainedLayoutEngine(h_pad=0.1))  # less cuts titles
    colours = _colours(project)
    rows = figure.subplots(len(names), 3, squeeze=False)
    preprocessing = preprocessing_of(project)
    for axes, name in zip(rows, names, strict=True):
        density = read_network_input(project.input_files(name), preprocessing, project.configuration.apix).data[0]
        z = len(density) // 2
        axes[0].imshow(density[z], cmap="gray", origin="lower", vmin=-3, vmax=3)
        _show_labels(axes[1], _truth(project, name)[z], colours)
        _show_labels(axes[2], _segmentation(project, name)[z], colours)
        for axis, title in zip(axes, (f"{name}: density", "truth", "joint network"), strict=True):
            axis.set_title(title)
            axis.set_axis_off()
    handles = [Patch(color=colours[feature], label=feature) for feature in (*ONTOLOGIES, UNKNOWN)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _colours(project: Project) -> dict[str, str]:
    """Of Unknown, and of each ontology, in the order of the labels: those of the project's other pictures."""
    features = (UNKNOWN, *ONTOLOGIES)
    library = complete_library(project, load_library(project), features)
    return {title: preset.hex_colour for title in features if (preset := library.get(title)) is not None}


def _show_labels(axis: "Axes", labels: NDArray[Any], colours: Mapping[str, str]) -> None:
    from matplotlib.colors import ListedColormap

    axis.imshow(labels, cmap=ListedColormap(list(colours.values())), origin="lower",
                vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")  # fmt: skip
