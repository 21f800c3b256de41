"""The demo dataset: a project folder of phantom tomograms, some annotated, and the truth about the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.demo.annotator import DRAWN_BOXES, EMPTY_BOXES, annotate
from pom.demo.microscope import VOXEL_SIZE
from pom.demo.phantom import ONTOLOGIES, Phantom, make_phantom
from pom.demo.shapes import Field, Shape
from pom.errors import PomError
from pom.io.atomic import write_json
from pom.io.mrc import MrcWriter
from pom.io.scns import Annotation, Feature, write_scns
from pom.progress import track
from pom.project.configuration import Configuration
from pom.project.names import segmentation_file
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.truth import LABELS

LARGEST_INT8 = 127


class Role(Enum):
    """What a demo tomogram is for: training, to be segmented and scored, or a look in the test folder."""

    ANNOTATED = auto()
    SCORED = auto()
    TEST = auto()


@dataclass(frozen=True)
class Plan:
    """One tomogram to be made: ``shape`` is (z, y, x) voxels; ``without`` names ontologies not in it."""

    name: str
    shape: Shape
    role: Role
    without: tuple[str, ...] = ()


# Sizes are odd on purpose: no two alike, and few that a network's stride divides.
DEMO_TOMOGRAMS = (
    Plan("TS_001", (72, 272, 288), Role.ANNOTATED),
    Plan("TS_002", (68, 262, 290), Role.ANNOTATED),
    Plan("TS_003", (74, 280, 264), Role.ANNOTATED, without=("Nucleus",)),
    Plan("TS_004", (70, 288, 256), Role.ANNOTATED),
    Plan("TS_005", (71, 250, 262), Role.SCORED),
    Plan("TS_006", (64, 285, 275), Role.SCORED),
    Plan("TS_007", (66, 256, 300), Role.TEST),
)

DEMO_CONFIGURATION = Configuration(apix=VOXEL_SIZE, macromolecules=("Density", "Membrane"), ontologies=ONTOLOGIES)


def write_demo_project(
    folder: Path,
    seed: int = 0,
    configuration: Configuration = DEMO_CONFIGURATION,
    plans: Sequence[Plan] = DEMO_TOMOGRAMS,
    boxes: tuple[int, int] = (DRAWN_BOXES, EMPTY_BOXES),
) -> Project:
    """Makes a project in ``folder``: tomograms, membrane segmentations, annotations, and truth in truth/.

    The same ``seed`` gives the same voxels. ``boxes`` is how many of each ontology are placed in an annotated
    tomogram: with something of it drawn, and without. The configuration is written last: where there is one, the
    dataset is whole.

    Raises:
        PomError: there is a project in the folder already, or it cannot be written.
    """
    path = folder / CONFIGURATION_FILE
    if path.exists():
        raise PomError(f"{folder.absolute()} holds a project already: name another folder for the demo.")
    project = Project(folder, configuration)
    for index, plan in track(list(enumerate(plans)), "Demo tomograms", len(plans)):
        phantom = make_phantom([seed, index], plan.shape, plan.without)
        _write_tomogram(project, plan, phantom)
        if plan.role is Role.ANNOTATED:
            features = annotate(
                np.random.default_rng([seed, index, 1]),
                phantom.labels,
                configuration.ontology_annotation_box_size,
                *boxes,
            )
            _write_annotation(project, plan, features)
        else:
            _write_volume(truth_file(folder, plan.name), phantom.labels.astype(np.int8))
    write_json(path, configuration.model_dump(mode="json", by_alias=True))
    return project


def truth_folder(folder: Path) -> Path:
    """The folder of the true labels."""
    return folder / "truth"


def truth_file(folder: Path, name: str) -> Path:
    """The true labels of a tomogram without annotation: int8, 0 for none, k + 1 for ``ONTOLOGIES[k]``."""
    return truth_folder(folder) / segmentation_file(name, LABELS)


def _write_tomogram(project: Project, plan: Plan, phantom: Phantom) -> None:
    density = project.test_tomogram(plan.name) if plan.role is Role.TEST else project.tomogram(plan.name)
    _write_volume(density, phantom.density)
    membrane = np.round(phantom.membrane * LARGEST_INT8).astype(np.int8)
    _write_volume(project.macromolecule(plan.name, "Membrane"), membrane)


def _write_annotation(project: Project, plan: Plan, features: tuple[Feature, ...]) -> None:
    n_slices, height, width = plan.shape
    annotation = Annotation(
        path=str(project.tomogram(plan.name)),
        n_slices=n_slices,
        height=height,
        width=width,
        pixel_size=VOXEL_SIZE / 10,
        features=features,
    )
    write_scns(project.annotation(plan.name), annotation)


def _write_volume(path: Path, volume: Field | NDArray[np.int8]) -> None:
    depth, height, width = volume.shape
    voxel_size = (VOXEL_SIZE, VOXEL_SIZE, VOXEL_SIZE)
    with MrcWriter(path, (depth, height, width), volume.dtype, voxel_size, origin=(0.0, 0.0, 0.0)) as writer:
        writer.write(volume)
