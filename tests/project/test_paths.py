import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pom.errors import PomError
from pom.project.configuration import Configuration
from pom.project.paths import Project


def make(folder: Path, *files: str, **settings: Any) -> Project:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return Project(folder, Configuration(**settings))


def test_open_reads_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "project_configuration.json").write_text('{"seed": 3}')
    project = Project.open(tmp_path)
    assert project.folder == tmp_path
    assert project.configuration.seed == 3


def test_open_without_a_project_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"no project_configuration\.json in .*run 'pom' there"):
        Project.open(tmp_path)


def test_folders_lie_under_the_root(tmp_path: Path) -> None:
    project = make(tmp_path, root="data", test_dir="/elsewhere/test")
    assert project.tomogram_dir == tmp_path / "data" / "tomograms"
    assert project.macromolecule_dir == tmp_path / "data" / "macromolecules"
    assert project.output_dir == tmp_path / "data" / "output"
    assert project.image_dir == tmp_path / "data" / "images"
    assert project.test_dir == Path("/elsewhere/test")
    assert make(tmp_path).tomogram_dir == tmp_path / "tomograms"
    assert make(tmp_path, root="/data").tomogram_dir == Path("/data/tomograms")
    assert make(tmp_path, root="~/data").tomogram_dir == Path.home() / "data" / "tomograms"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (lambda p: p.tomogram("TS 1"), "data/tomograms/TS 1.mrc"),
        (lambda p: p.test_tomogram("TS_1"), "data/test/TS_1.mrc"),
        (lambda p: p.annotation("TS_1"), "data/tomograms/TS_1.scns"),
        (lambda p: p.native_annotation("TS_1"), "data/tomograms/TS_1.annotation"),
        (lambda p: p.macromolecule("TS_1", "Membrane"), "data/macromolecules/TS_1__Membrane.mrc"),
        (lambda p: p.output("TS_1", "ER"), "data/output/TS_1__ER.mrc"),
        (lambda p: p.test_output("TS_1", "ER"), "data/test/TS_1__ER.mrc"),
        (lambda p: p.single_dataset("ER"), "training_datasets/single/ER.npz"),
        (lambda p: p.joint_dataset, "training_datasets/joint.npz"),
        (lambda p: p.single_network("ER"), "models/single/ER"),
        (lambda p: p.joint_network, "models/joint"),
        (lambda p: p.evaluation, "evaluation"),
        (lambda p: p.records("summary"), "data/output/records/summary"),
        (lambda p: p.summary, "data/summary.xlsx"),
        (lambda p: p.summary_csv, "data/summary.csv"),
        (lambda p: p.summary_parquet, "data/summary.parquet"),
        (lambda p: p.subset("Good ones"), "subsets/Good ones.txt"),
        (lambda p: p.images("Top3"), "data/images/Top3"),
        (lambda p: p.picture("TS_1", "Top3"), "data/images/Top3/TS_1_Top3.png"),
        (lambda p: p.movie("TS_1", "Top3"), "data/images/Top3/TS_1_Top3.webp"),
        (lambda p: p.density_picture("TS_1"), "data/images/density/TS_1_density.png"),
        (lambda p: p.projection("TS_1", "ER"), "data/images/ER_projection/TS_1_ER.png"),
        (lambda p: p.projection("TS_1", "ER", side=True), "data/images/ER_projection/TS_1_ER_side.png"),
        (lambda p: p.render_configuration, "render_configuration.json"),
        (lambda p: p.browse_cache, ".pom/cache"),
        (lambda p: p.ome_zarr("TS_1"), "data/output/TS_1.ome.zarr"),
    ],
)
def test_where_each_file_lies(tmp_path: Path, path: Callable[[Project], Path], expected: str) -> None:
    assert path(make(tmp_path, root="data")) == tmp_path / expected


def test_a_name_with_a_dot_keeps_it(tmp_path: Path) -> None:
    project = make(tmp_path, "tomograms/TS_1.rec_b4.mrc")
    assert project.tomogram_names() == ["TS_1.rec_b4"]
    assert project.tomogram("TS_1.rec_b4").exists()


def test_input_files_follow_the_channels(tmp_path: Path) -> None:
    project = make(tmp_path, macromolecules=["Membrane", "_", "Density"])
    membrane = tmp_path / "macromolecules" / "TS_1__Membrane.mrc"
    assert project.input_files("TS_1") == {"Membrane": membrane, "Density": tmp_path / "tomograms" / "TS_1.mrc"}
    assert project.input_files("TS_1", test=True)["Density"] == tmp_path / "test" / "TS_1.mrc"
    assert project.input_files("TS_1", test=True)["Membrane"] == membrane
    assert list(project.input_files("TS_1", channels=("Density",))) == ["Density"]


def test_names_are_the_stems_of_tomograms_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(
        tmp_path,
        "tomograms/b.mrc",
        "tomograms/a 2.mrc",
        "tomograms/a 2.scns",
        "tomograms/.c.mrc",
        "tomograms/notes.txt",
        "tomograms/folder.mrc/inside.mrc",
    )
    assert project.tomogram_names() == ["a 2", "b"]
    assert project.annotated_names() == ["a 2"]
    assert caplog.records == []


def test_segmentations_among_the_tomograms_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path, "tomograms/a.mrc", "tomograms/a__Membrane.mrc", "tomograms/a__ER.mrc")
    assert project.tomogram_names() == ["a"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 files are left out because '__' in the name marks" in record.getMessage()
    assert "a__ER.mrc" in record.getMessage()


def test_files_that_only_look_like_tomograms_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path, "tomograms/a.mrc", "tomograms/b.MRC", "tomograms/c.rec", "tomograms/d.mrc.gz")
    assert project.tomogram_names() == ["a"]
    (record,) = caplog.records
    assert "3 files are left out for want of the ending '.mrc'" in record.getMessage()
    assert "b.MRC" in record.getMessage()


def test_names_that_nothing_can_be_called_after_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    latin1 = os.fsdecode(b"TS_\xe9")
    project = make(
        tmp_path,
        "tomograms/a.mrc",
        "tomograms/a.scns",
        f"tomograms/{latin1}.mrc",
        f"tomograms/{latin1}.scns",
        f"tomograms/{latin1}.annotation/x",
        f"tomograms/{latin1}__ER.mrc",
        "tomograms/b .mrc",
    )
    assert (project.annotated_names(), project.orphaned_annotations()) == (["a"], [])
    said = (
        f"{tmp_path / 'tomograms'}: 4 files are left out for their names (one holds {{}}); rename what is a tomogram or"
        " annotation."
    )
    assert caplog.messages == [said.format(r"'TS_\xe9', and a name must be UTF-8")] * 2
    caplog.clear()
    assert project.tomogram_names() == ["a"]
    assert caplog.messages[0] == said.format(r"'TS_\xe9', and a name must be UTF-8")
    assert r"such as TS_\xe9__ER.mrc" in caplog.messages[1]


def test_segmentations_where_they_belong_are_not_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path, "test/a.mrc", "test/a__ER.mrc", "test/a__Unknown.mrc", ontologies=["ER"])
    assert project.test_names() == ["a"]
    together = make(
        tmp_path,
        *("all/a.mrc", "all/a__Membrane.mrc", "all/a__ER.mrc"),
        **{"tomogram_dir": "all", "macromolecule_dir": "all", "output_dir": "all"},
        macromolecules=["Density", "Membrane"],
        ontologies=["ER"],
    )
    assert together.tomogram_names() == ["a"]
    assert caplog.records == []


def test_a_broken_link_is_a_tomogram_so_that_its_loss_is_said(tmp_path: Path) -> None:
    project = make(tmp_path, "tomograms/a.mrc")
    (tmp_path / "tomograms" / "b.mrc").symlink_to(tmp_path / "gone.mrc")
    (tmp_path / "tomograms" / "c.mrc").symlink_to(tmp_path)
    assert project.tomogram_names() == ["a", "b"]


def test_annotations_without_a_tomogram_are_listed_apart(tmp_path: Path) -> None:
    project = make(tmp_path, "tomograms/a.mrc", "tomograms/a.scns", "tomograms/b.scns", "tomograms/.c.scns")
    assert project.annotated_names() == ["a"]
    assert project.orphaned_annotations() == ["b"]


def test_an_absent_folder_holds_no_tomograms(tmp_path: Path) -> None:
    project = make(tmp_path)
    assert project.tomogram_names() == project.test_names() == project.annotated_names() == []


def test_a_file_in_a_folders_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="tomograms cannot be read"):
        make(tmp_path, "tomograms").tomogram_names()


def test_ontologies_keep_their_slots(tmp_path: Path) -> None:
    project = make(tmp_path, ontologies=["ER", "_", "Golgi", "_"])
    assert project.ontologies == ("ER", "Golgi")
    assert project.ontology_slots == ("ER", "_", "Golgi", "_")


def test_an_unknown_ontology_is_answered_with_the_nearest_and_the_list(tmp_path: Path) -> None:
    project = make(tmp_path, ontologies=["Mitochondrion", "_", "ER"])
    assert project.known_ontology("ER") == "ER"
    with pytest.raises(PomError, match=r"'mitochondria' \(did you mean 'Mitochondrion'\?\).* Mitochondrion, ER\."):
        project.known_ontology("mitochondria")
    with pytest.raises(PomError, match="no ontology '_'"):
        project.known_ontology("_")
    with pytest.raises(PomError, match="lists no ontologies"):
        make(tmp_path).known_ontology("ER")


def test_annotations_of_both_forms_and_what_is_kept_of_them(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        *(f"tomograms/{name}.mrc" for name in ("a", "b", "c", "d.annotation", "e")),
        "tomograms/a.scns",
        "tomograms/b.annotation/annotation.json",
        "tomograms/b.annotation/masks/f1/zarr.json",
        "tomograms/c.scns",
        "tomograms/c.annotation/annotation.json",
        "tomograms/d.annotation.mrc.scns",
        "tomograms/e.scns.kept-20250102-030405",
        "tomograms/e.annotation.kept-20250102-030405/annotation.json",
        "tomograms/f.annotation/annotation.json",
        "tomograms/g.annotation",
        "tomograms/.h.annotation/annotation.json",
    )
    assert project.tomogram_names() == ["a", "b", "c", "d.annotation", "e"]
    assert project.annotated_names() == ["a", "b", "c"]
    assert project.orphaned_annotations() == ["d.annotation.mrc", "f"]
