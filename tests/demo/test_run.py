"""The picture of the demo, of tomograms segmented by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pom.demo.dataset import Plan, Role, truth_file, write_demo_project
from pom.demo.phantom import ONTOLOGIES
from pom.demo.run import draw_demo
from pom.io.mrc import MrcReader, MrcWriter
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.workflow.feature_library import change_library, complete_library, load_library

NAME = "TS_001"
RED = (1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Where the network was right but for the lower half of the picture, which it called Unknown."""
    folder = tmp_path_factory.mktemp("demo") / "project"
    project = write_demo_project(folder, seed=3, plans=(Plan(NAME, (24, 148, 148), Role.SCORED),))
    with MrcReader(truth_file(folder, NAME)) as reader:
        labels = reader.read(0, 24)[::2, ::2, ::2].copy()
    labels[:, :37] = 0
    for label, title in enumerate((UNKNOWN, *ONTOLOGIES)):
        output = np.where(labels == label, 127, 0).astype(np.int8)
        with MrcWriter(project.output(NAME, title), (12, 74, 74), output.dtype, (20.0, 20.0, 20.0)) as writer:
            writer.write(output)
    return project


def colours(project: Project) -> dict[str, tuple[int, ...]]:
    """By feature, 0..255, of the project's other pictures."""
    library = complete_library(project, load_library(project))
    presets = {title: library.get(title) for title in (*ONTOLOGIES, UNKNOWN)}
    return {title: tuple(bytes.fromhex(p.hex_colour.strip("#"))) for title, p in presets.items() if p is not None}


def is_of(picture: NDArray[np.uint8], colour: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels, (y, x), have exactly that colour."""
    found: NDArray[np.bool_] = (picture == colour).all(axis=-1)
    return found


def drawn(project: Project, path: Path) -> NDArray[np.uint8]:
    """(y, x, 3), row 0 at the top."""
    draw_demo(project, [NAME], path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_colours_are_the_projects_and_the_legend_has_unknown(project: Project, tmp_path: Path) -> None:
    picture = drawn(project, tmp_path / "demo.png")
    height, width = picture.shape[:2]
    legend = picture[int(0.93 * height) :]
    assert all(is_of(legend, colour).sum() > 100 for colour in colours(project).values())

    unknown = is_of(picture[: int(0.93 * height)], colours(project)[UNKNOWN])
    third = width // 3
    assert not unknown[:, : 2 * third].any()  # neither in the density nor in the truth
    network = unknown[:, 2 * third :]
    rows = np.flatnonzero(network.any(axis=1))
    assert network[rows].mean() > 0.8  # the lower half: y grows upwards
    assert rows.min() > 0.45 * height
    assert rows.max() > 0.85 * height


def test_nothing_is_cut_off_at_the_edge(project: Project, tmp_path: Path) -> None:
    picture = drawn(project, tmp_path / "demo.png")
    assert all((edge == 255).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def test_another_colour_in_the_library_is_another_one_here(project: Project, tmp_path: Path) -> None:
    preset = complete_library(project, load_library(project)).get("Cytoplasm")
    assert preset is not None
    change_library(project, lambda library: library.with_preset(preset.model_copy(update={"colour": RED})))
    try:
        picture = drawn(project, tmp_path / "demo.png")
    finally:
        project.feature_library.unlink()
    third = picture.shape[1] // 3
    assert is_of(picture[:, third:], (255, 0, 0)).mean() > 0.05
    assert not is_of(picture, colours(project)["Cytoplasm"]).any()
