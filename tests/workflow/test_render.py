"""What ``pom render`` draws, from the command line; few pictures, and small."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from pom.cli.main import app
from pom.io.feature_library import FeatureLibrary, preset_from, write_library
from pom.io.mrc import MrcWriter
from pom.project.paths import Project
from pom.project.render_configuration import Composition
from pom.render.files import write_png
from pom.workflow.feature_library import complete_library, load_library
from pom.workflow.render import (
    FRAMES,
    feature_surface,
    project_compositions,
    render_picture,
    save_compositions,
)

pytestmark = pytest.mark.usefixtures("opengl")

invoke = CliRunner().invoke
NAMES = ("TS_1", "TS_2", "XS_3")
SHAPE = (16, 40, 40)
SIDE = 64
COLOURS = {"Cell": "#ff2020", "Vesicle": "#20ff20", "Ribosome": "#2020ff"}
SETTINGS: dict[str, Any] = {
    "macromolecules": ["Density", "Ribosome"],
    "ontologies": ["Cell", "Vesicle"],
    "image_size": SIDE,
    "camera_pitch": 0,
    "z_margin_summary": 0.25,
    "seed": 3,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The working folder; in every tomogram a Cell at the left, a Vesicle at the right, Ribosomes in the middle."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_configuration.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "render_configuration.json").write_text(json.dumps({"All": ["Cell", "Vesicle", "Ribosome"]}))
    project = Project.open(tmp_path)
    for name in NAMES:
        write(project.tomogram(name), np.zeros(SHAPE, np.int8))
        write(project.output(name, "Cell"), columns(2, 12))
        write(project.output(name, "Vesicle"), columns(28, 38))
        write(project.output(name, "Unknown"), 127 - columns(2, 12) - columns(28, 38))
        write(project.macromolecule(name, "Ribosome"), columns(16, 24))
    write_library(project.feature_library, library())
    return project


def library(**changes: Any) -> FeatureLibrary:
    entries = [{"title": title, "colour": colour, **changes} for title, colour in COLOURS.items()]
    return FeatureLibrary(tuple(preset_from(entry, "") for entry in entries))


def columns(start: int, stop: int) -> NDArray[np.int8]:
    volume = np.zeros(SHAPE, np.int8)
    volume[:, 5:35, start:stop] = 127
    return volume


def write(path: Path, volume: NDArray[np.int8], voxel: float = 20.0) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (voxel,) * 3) as writer:
        writer.write(volume)


def seen(path: Path) -> str:
    """Which of the features is seen at the left, in the middle and at the right; ``-`` where none is."""
    with Image.open(path) as picture:
        assert (picture.mode, picture.size) == ("RGB", (SIDE, SIDE))
        row = np.asarray(picture).astype(int)[SIDE // 2]
    found = ""
    for pixel in (row[12], row[SIDE // 2], row[SIDE - 12]):
        is_colour = max(pixel) > 1.5 * sorted(pixel)[1]
        found += list(COLOURS)[int(np.argmax(pixel))][0] if is_colour else "-"
    return found


def draw(*options: str) -> str:
    """What 'pom render' says; it must succeed."""
    result = invoke(app, ["render", *options])
    assert result.exit_code == 0, result.output
    return result.output


def compose(**compositions: list[str]) -> None:
    Path("render_configuration.json").write_text(json.dumps(compositions))


def test_pictures_by_composition(project: Project) -> None:
    compose(All=["Cell", "Vesicle", "Ribosome"], Right=["Vesicle"])
    assert "6 pictures were drawn, of 3 tomograms" in draw("-p", "2")
    assert seen(project.image_dir / "All" / "TS_1_All.png") == "CRV"
    assert seen(project.image_dir / "Right" / "XS_3_Right.png") == "--V"


def test_what_is_up_to_date_stays(project: Project) -> None:
    draw()
    assert "0 pictures were drawn, 3 there already" in draw()
    assert "3 pictures were drawn" in draw("-o", "1")
    assert "1 picture was drawn" in draw("-o", "-t", "TS_1")
    write(project.output("TS_2", "Cell"), columns(30, 31))
    assert "1 picture was drawn, 2 there already" in draw("-o", "0")
    assert seen(project.picture("TS_2", "All")) == "-RV"
    write_library(project.feature_library, load_library(project).with_preset(library(hide=True).presets[1]))
    assert "3 pictures were drawn" in draw()
    assert seen(project.picture("TS_1", "All")) == "CR-"


def test_a_picture_does_not_depend_on_what_else_is_drawn(project: Project) -> None:
    write(project.macromolecule("TS_1", "Ribosome"), np.repeat(columns(16, 24), 3, axis=0))
    compose(One=["Ribosome"], Two=["Cell"])
    draw("-t", "TS_1")
    beside = project.picture("TS_1", "Two").read_bytes()
    compose(Two=["Cell"])
    draw("-o", "1", "-t", "TS_1")
    assert project.picture("TS_1", "Two").read_bytes() == beside


@pytest.mark.parametrize("clouds", [False, True])
def test_nothing_is_cut_off_where_margins_differ(project: Project, clouds: bool) -> None:
    """Ribosomes in voxels of half the size end at 70 Angstrom, outputs at 60."""
    settings = {**SETTINGS, "z_margin_summary": 0.22, "raytraced_ontologies": clouds}
    (project.folder / "project_configuration.json").write_text(json.dumps(settings))
    small = columns(16, 24).repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    write(project.macromolecule("TS_1", "Ribosome"), small, 10.0)
    (project.folder / "render_configuration.json").write_text(
        json.dumps({"Last": ["Cell", "Vesicle", "Ribosome"], "First": ["Ribosome", "Cell", "Vesicle"]})
    )
    assert invoke(app, ["render", "-t", "TS_1"]).exit_code == 0
    last, first = (np.asarray(Image.open(project.picture("TS_1", name))) for name in ("Last", "First"))
    np.testing.assert_array_equal(last, first)
    assert seen(project.picture("TS_1", "First")) == "CRV"


def test_ranks_go_by_the_summary(project: Project) -> None:
    compose(Top=["rank1", "!Unknown"], Second=["rank2"])
    result = invoke(app, ["render"])
    assert result.exit_code == 1
    assert "run 'pom summarize' first" in result.output
    rows = ["Tomogram,Cell,Vesicle,Unknown", "TS_1,10,20,70", "TS_2,30,15,55"]
    project.summary_csv.write_text("\n".join(rows) + "\n")
    said = draw()
    assert "1 tomogram is not in the summary" in said
    assert [seen(project.picture(name, "Top")) for name in ("TS_1", "TS_2")] == ["--V", "C--"]
    assert [seen(project.picture(name, "Second")) for name in ("TS_1", "TS_2")] == ["--V", "C--"]
    assert not project.picture("XS_3", "Top").exists()


def test_what_is_segmented_is_drawn_without_its_tomogram(project: Project) -> None:
    project.tomogram("TS_1").unlink()
    assert "3 pictures were drawn, of 3 tomograms." in draw()
    assert seen(project.picture("TS_1", "All")) == "CRV"
    project.picture("TS_1", "All").unlink()
    for name in NAMES[1:]:
        project.tomogram(name).unlink()
    assert "1 picture was drawn, of 1 tomogram." in draw("-t", "TS_1")
    # Of a test tomogram there are macromolecules too.
    write(project.test_tomogram("TS_9"), np.zeros(SHAPE, np.int8))
    write(project.macromolecule("TS_9", "Ribosome"), columns(16, 24))
    assert "0 pictures were drawn, 3 there already, of 3 tomograms." in draw()


def test_missing_feature_is_left_out_and_said_once(project: Project) -> None:
    for name in ("TS_1", "TS_2"):
        project.output(name, "Cell").unlink()
    write(project.output("XS_3", "Vesicle"), np.full((10, 10, 10), -1, np.int8))  # published Pom's placeholder
    said = draw()
    assert said.count("Cell is left out of 2 tomograms") == 1
    assert said.count("Vesicle is left out of 1 tomogram") == 1
    assert [seen(project.picture(name, "All")) for name in NAMES] == ["-RV", "-RV", "CR-"]


def test_what_the_project_does_not_have_is_said_and_status_1(project: Project) -> None:
    compose(All=["Cell", "vesicle", "Density", "rank1"], Gone=["Microtubule"])
    project.summary_csv.write_text("Tomogram,Cell,Vesicle,Unknown\nTS_1,10,20,70\n")
    result = invoke(app, ["render", "-t", "TS_1"])
    assert result.exit_code == 1
    which = "which is no ontology or macromolecule of this project: correct it, or take it out."
    said = result.stderr.splitlines()
    assert said[-1] == f"Error: {said[0].removeprefix('Warning: ')} 1 more such name is told above. All else was drawn."
    assert [line for line in said if line.startswith("Warning")] == [
        f"Warning: render_configuration.json: 'All' holds 'vesicle' (did you mean 'Vesicle'?), {which}",
        f"Warning: render_configuration.json: 'Gone' holds 'Microtubule', {which}",
    ]
    assert seen(project.picture("TS_1", "All")) == "C--"
    assert not project.images("Gone").exists()


def test_damaged_volume_fails_its_tomogram_only(project: Project) -> None:
    path = project.output("TS_2", "Vesicle")
    path.write_bytes(path.read_bytes()[:3000])
    result = invoke(app, ["render"])
    assert result.exit_code == 1
    assert "2 pictures were drawn, of 3 tomograms, 1 failed" in result.output
    assert "cut short" in result.output
    assert not project.picture("TS_2", "All").exists()


def test_one_feature_that_fails_leaves_the_other_pictures(project: Project) -> None:
    compose(Left=["Cell"], Right=["Vesicle"], Both=["Cell", "Vesicle"])
    draw("-t", "TS_2")
    path = project.output("TS_2", "Vesicle")
    path.write_bytes(path.read_bytes()[:3000])
    result = invoke(app, ["render", "-t", "TS_2", "-o", "1"])
    assert result.exit_code == 1
    assert "1 picture was drawn" in result.output
    assert "2 pictures were removed" in result.output
    drawn = [project.picture("TS_2", composition).exists() for composition in ("Left", "Right", "Both")]
    assert drawn == [True, False, False]


def test_pictures_of_what_is_gone_are_removed(project: Project) -> None:
    compose(Left=["Cell"], Both=["Cell", "Vesicle"])
    draw("-t", "TS_2", "--spin")
    project.output("TS_2", "Cell").unlink()
    said = draw("-t", "TS_2")
    assert "Cell is left out of 1 tomogram, which has no segmentation of it" in said
    assert "3 pictures were removed" in said  # Left and its movie, and the movie of Both, which showed Cell too
    assert list(project.images("Left").iterdir()) == []
    assert seen(project.picture("TS_2", "Both")) == "--V"


def test_what_is_made_again_meanwhile_is_drawn_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the old volume do not pass for pictures of the new one."""
    compose(Left=["Cell"], Both=["Cell", "Vesicle"])

    def write_and_change(path: Path, picture: NDArray[np.uint8], made_from: str) -> None:
        write_png(path, picture, made_from)
        write(project.output("TS_1", "Cell"), columns(30, 31))

    with monkeypatch.context() as patched:
        patched.setattr("pom.workflow.render.write_png", write_and_change)
        draw("-t", "TS_1")
    assert seen(project.picture("TS_1", "Both")) == "C-V"
    assert "2 pictures were drawn" in draw("-t", "TS_1")
    assert seen(project.picture("TS_1", "Both")) == "--V"


def test_outputs_of_two_shapes_fail_their_tomogram_only(project: Project, tmp_path: Path) -> None:
    (tmp_path / "project_configuration.json").write_text(json.dumps({**SETTINGS, "raytraced_ontologies": True}))
    write(project.output("TS_1", "Vesicle"), columns(28, 38)[:, :20])
    result = invoke(app, ["render"])
    assert result.exit_code == 1
    assert "2 pictures were drawn, of 3 tomograms, 1 failed" in result.output
    assert "The outputs of TS_1 are of different shapes (Cell, Vesicle)" in " ".join(result.output.split())


def test_some_tomograms(project: Project) -> None:
    def drawn() -> set[str]:
        return {path.stem.removesuffix("_All") for path in project.images("All").glob("*.png")}

    draw("-n", "1")
    first = drawn()
    assert len(first) == 1
    assert "1 there already" in draw("--max-number", "1")  # the seed's choice is always the same
    draw("-t", "XS", "-n", "1")
    assert drawn() == {*first, "XS_3"}
    draw("--tomogram", "tomograms/TS_2.mrc")
    assert drawn() >= {"TS_2", "XS_3"}
    result = invoke(app, ["render", "-t", "TS1"])
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: No tomogram's name holds 'TS1' (did you mean 'TS_1'?): there are TS_1, TS_2, XS_3.\n",
    )


@pytest.mark.parametrize("command", ["render", "projections"])
def test_a_project_without_tomograms(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_configuration.json").write_text(json.dumps(SETTINGS))
    result = invoke(app, [command])
    assert (result.exit_code, result.stderr) == (
        1, "Error: There are no tomograms (.mrc) in tomograms; put some there.\n"
    )  # fmt: skip


def test_files_of_compositions_and_features(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"Other": ["Cell", "Vesicle"]}))
    features = [{"title": "Cell", "colour": [0.1, 0.1, 1.0]}, {"title": "Vesicle", "hide": True}]
    ais = tmp_path / "feature_library.txt"
    ais.write_text(json.dumps(features))
    draw("-c", str(other), "-f", str(ais), "-t", "TS_1")
    assert seen(project.picture("TS_1", "Other")) == "R--"  # Ribosome's blue
    assert not project.images("All").exists()


def test_spin_turns_once(project: Project) -> None:
    assert "2 pictures were drawn" in draw("-t", "TS_1", "--spin")
    with Image.open(project.movie("TS_1", "All")) as movie:
        assert (movie.format, getattr(movie, "n_frames", 1), movie.size) == ("WEBP", FRAMES, (SIDE, SIDE))
        frames = []
        for number in (0, FRAMES // 2):
            movie.seek(number)
            frames.append(np.asarray(movie.convert("RGB")).astype(int))
    left, right = (slice(20, 44), slice(10, 18)), (slice(20, 44), slice(46, 54))
    assert [int(np.argmax(frames[0][place].mean(axis=(0, 1)))) for place in (left, right)] == [0, 1]
    assert [int(np.argmax(frames[1][place].mean(axis=(0, 1)))) for place in (left, right)] == [1, 0]
    assert "2 there already" in draw("-t", "TS_1", "--spin")


def test_a_movie_of_what_has_changed_goes_where_none_is_asked_for(project: Project) -> None:
    draw("-t", "TS_1", "--spin")
    assert "1 there already" in draw("-t", "TS_1")
    assert project.movie("TS_1", "All").exists()
    os.utime(project.output("TS_1", "Cell"))
    assert "1 picture was removed" in draw("-t", "TS_1")
    assert not project.movie("TS_1", "All").exists()
    assert project.picture("TS_1", "All").exists()


def test_clouds_where_the_configuration_says_so(project: Project, tmp_path: Path) -> None:
    (tmp_path / "project_configuration.json").write_text(json.dumps({**SETTINGS, "raytraced_ontologies": True}))
    draw("-t", "TS_1")
    assert seen(project.picture("TS_1", "All")) == "CRV"


def test_compositions_are_saved_and_read_again(project: Project) -> None:
    compositions = (Composition("Both", ("Cell", "rank1")), *project_compositions(project))
    save_compositions(project, compositions)
    assert project_compositions(project) == compositions
    project.render_configuration.unlink()
    assert [composition.name for composition in project_compositions(project)] == ["Macromolecules", "Top3"]


def test_picture_and_mesh_for_the_browser(project: Project) -> None:
    picture = render_picture(project, "TS_1", ["Vesicle", "Nothing"], FeatureLibrary(), 40)
    assert picture.shape == (40, 40, 3)
    assert (picture[20, 8] == 255).all()
    assert (picture[20, 32] < 255).any()
    assert (render_picture(project, "TS_1", ["Nothing"], FeatureLibrary(), 8) == 255).all()
    preset = complete_library(project, FeatureLibrary()).get("Ribosome")
    assert preset is not None
    found = feature_surface(project, "TS_1", preset)
    # A quarter of the 16 slices is left out above, and below; a voxel is 2 nm.
    assert found.vertices.min(axis=0) == pytest.approx([32, 10, 8], abs=0.5)
    assert found.vertices.max(axis=0) == pytest.approx([48, 70, 24], abs=0.5)
