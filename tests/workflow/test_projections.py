import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pom.errors import PomError
from pom.io.mrc import MrcReader, MrcWriter
from pom.project.configuration import Configuration
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


def test_pictures_of_what_is_gone_are_removed(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    draw_projections(project)
    project.output("TS_1", "Disc").unlink()
    report = draw_projections(project)
    assert (report.drawn, report.kept, report.removed) == (4, 2, 2)
    assert caplog.messages[-1].startswith("2 pictures were removed, of what is no longer there, has changed, or can no")
    assert not any(project.projection("TS_1", "Disc", side=side).exists() for side in (False, True))
    assert draw_projections(project).removed == 0


def test_pictures_of_what_can_no_longer_be_read_are_removed(project: Project) -> None:
    draw_projections(project)
    path = project.output("TS_1", "Square")
    path.write_bytes(path.read_bytes()[:2000])
    project.tomogram("TS_2").write_bytes(b"")
    foreign = project.density_picture("TS_2")
    Image.new("L", (8, 8)).save(foreign)  # somebody else's, as of the published Pom
    report = draw_projections(project)
    assert set(report.failed) == {"TS_1", "TS_2"}
    assert "TS_1__Square.mrc is cut short" in report.failed["TS_1"]
    assert "remove it and segment again, outputs of networks with 'pom shared process'." in report.failed["TS_1"]
    assert (report.drawn, report.kept, report.removed) == (4, 1, 2)
    assert sorted(str(path.relative_to(project.image_dir)) for path in project.image_dir.glob("*/*.png")) == [
        "Disc_projection/TS_1_Disc.png",
        "Disc_projection/TS_1_Disc_side.png",
        "Unknown_projection/TS_1_Unknown.png",
        "Unknown_projection/TS_1_Unknown_side.png",
        "density/TS_1_density.png",
        "density/TS_2_density.png",
    ]


def test_the_others_are_drawn_without_what_cannot_be_read(project: Project) -> None:
    """As bright as if it were not there, and anew once it can be read."""
    draw_projections(project)
    side, damaged = (
        project.projection("TS_1", "Disc", side=True),
        [project.output("TS_1", o) for o in ("Square", "Unknown")],
    )
    whole, sound = pixels(side), [path.read_bytes() for path in damaged]
    for path, content in zip(damaged, sound, strict=True):
        path.write_bytes(content[:2000])
    report = draw_projections(project)
    assert (report.drawn, report.kept, report.removed) == (2, 2, 4)
    assert (whole.max(), pixels(side).max()) == (round(255 * 1.5 * 4 / 24), 255)
    report = draw_projections(project)  # nothing has changed, and it is told again
    assert (report.drawn, report.kept, report.removed, list(report.failed)) == (0, 4, 0, ["TS_1"])
    for path, content in zip(damaged, sound, strict=True):
        path.write_bytes(content)
    report = draw_projections(project)
    assert (report.drawn, report.failed) == (6, {})
    np.testing.assert_array_equal(pixels(side), whole)


def test_volumes_are_read_some_slices_at_a_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.zeros((50, *SHAPE[1:]), np.int8)
    volume[:, 3, 5:9] = 127
    for ontology in ("Disc", "Square", "Unknown"):
        write(project.output("TS_1", ontology), volume)
    monkeypatch.setattr("pom.workflow.segmented.CHUNK_VOXELS", 1)  # 16 slices are the fewest
    depths: list[int] = []

    def read(reader: MrcReader, start: int, stop: int) -> NDArray[Any]:
        depths.append(stop - start)
        return whole(reader, start, stop)

    whole = MrcReader.read
    monkeypatch.setattr(MrcReader, "read", read)
    assert draw_projections(project).failed == {}
    assert depths == [3, *[6, 16, 8] * 3, 3]  # of each tomogram a slab of its density
    along_z = pixels(project.projection("TS_1", "Disc"))
    np.testing.assert_array_equal(np.argwhere(along_z), [[3, x] for x in range(5, 9)])
    side = pixels(project.projection("TS_1", "Disc", side=True))
    np.testing.assert_array_equal(side > 0, np.tile(volume[0].any(axis=0), (30, 1)))


def test_what_is_segmented_is_drawn_without_its_tomogram(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    draw_projections(project)
    density, disc = project.density_picture("TS_1"), project.projection("TS_1", "Disc")
    before = pixels(disc)
    disc.unlink()
    for name in ("TS_1", "TS_2"):
        project.tomogram(name).unlink()
    report = draw_projections(project)
    assert (report.tomograms, report.drawn, report.kept, report.removed, report.failed) == (1, 6, 0, 0, {})
    np.testing.assert_array_equal(pixels(disc), before)
    assert density.exists()
    folder = project.tomogram_dir
    said = f"1 tomogram is not in {folder}, so that only what is segmented of it is drawn, and no density: TS_1."
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [said]


def test_what_nothing_is_known_of_is_no_tomogram(project: Project) -> None:
    """Placeholders, files of features that the project does not have, and macromolecules, which are not drawn."""
    write(project.output("TS_3", "Disc"), np.full((10, 10, 10), -1, np.int8))
    write(project.macromolecule("TS_4", "Membrane"), np.zeros(SHAPE, np.int8))
    write(project.output("TS_5", "Ring"), np.zeros(SHAPE, np.int8))
    assert draw_projections(project).tomograms == 2


def test_a_project_without_tomograms(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"There are no tomograms \(\.mrc\) in .*tomograms; put some there"):
        draw_projections(Project(tmp_path, Configuration()))


def test_values_that_no_output_has(project: Project) -> None:
    write(project.output("TS_1", "Square"), np.full(SHAPE, -3, np.int8))
    assert "has values from -3 to -3" in draw_projections(project).failed["TS_1"]


def test_damaged_volume_fails_its_tomogram_only(project: Project) -> None:
    path = project.output("TS_1", "Square")
    path.write_bytes(path.read_bytes()[:2000])
    report = draw_projections(project, processes=2)
    assert list(report.failed) == ["TS_1"]
    assert "cut short" in report.failed["TS_1"]
    assert report.drawn == 6  # the densities, and the other ontologies
    assert project.density_picture("TS_1").exists()
    assert project.density_picture("TS_2").exists()
