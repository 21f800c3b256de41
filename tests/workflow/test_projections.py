import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pom.io.mrc import MrcWriter
from pom.project.paths import Project
from pom.workflow.projections import draw_projections

SHAPE = (10, 24, 32)


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Two tomograms; the first is segmented: a box that is Disc, and in the upper half of all else Square."""
    project = make_project(tomograms=("TS_1", "TS_2"), z_margin_summary=0.2)
    disc, square = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    disc[:, 4:8, 10:20] = 127
    square[5:] = 127 - disc[5:]
    for ontology, volume in {"Disc": disc, "Square": square, "Unknown": 127 - disc - square}.items():
        write(project.output("TS_1", ontology), volume)
    return project


def write(path: Path, volume: NDArray[np.int8]) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (20.0, 20.0, 20.0)) as writer:
        writer.write(volume)


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


def test_pictures_show_what_lies_between_the_margins(project: Project) -> None:
    report = draw_projections(project)
    assert (report.drawn, report.kept, report.failed) == (8, 0, {})  # two densities, and three ontologies twice
    along_z = pixels(project.image_dir / "Disc_projection" / "TS_1_Disc.png")
    expected = np.zeros(SHAPE[1:])
    expected[4:8, 10:20] = 255  # row 0 is y = 0
    np.testing.assert_array_equal(along_z, expected)
    # 6 slices count; seen from the side Square has 24 voxels in a row at most, and Disc 4.
    side = pixels(project.image_dir / "Disc_projection" / "TS_1_Disc_side.png")
    assert side.shape == (6, 32)
    np.testing.assert_array_equal(np.unique(side), [0, round(255 * 1.5 * 4 / 24)])
    square = pixels(project.projection("TS_1", "Square"))
    assert square[0, 0] == round(255 * 1.5 * 3 / 6)
    assert square[5, 15] == 0
    assert not project.projection("TS_2", "Disc").exists()
    density = pixels(project.image_dir / "density" / "TS_1_density.png").astype(int)
    assert density.shape == (64, 72)
    assert density[20, 22] > density[16, 47] + 30 > density[52, 44] + 60  # a bright disc, and a dark square


def test_only_what_has_changed_is_drawn_anew(project: Project) -> None:
    draw_projections(project)
    assert draw_projections(project).drawn == 0
    path = project.output("TS_1", "Disc")
    write(path, np.zeros(SHAPE, np.int8))
    os.utime(path, (0, 0))
    report = draw_projections(project)
    assert (report.drawn, report.kept) == (6, 2)  # all ontologies of that tomogram, since they are as bright
    assert pixels(project.projection("TS_1", "Disc")).max() == 0
    assert draw_projections(project, overwrite=True).drawn == 8
    project.density_picture("TS_2").write_bytes(b"")
    assert draw_projections(project).drawn == 1


def test_damaged_volume_fails_its_tomogram_only(project: Project) -> None:
    path = project.output("TS_1", "Square")
    path.write_bytes(path.read_bytes()[:2000])
    report = draw_projections(project, processes=2)
    assert list(report.failed) == ["TS_1"]
    assert "cut short" in report.failed["TS_1"]
    assert report.drawn == 1
    assert project.density_picture("TS_1").exists()
    assert project.density_picture("TS_2").exists()
