import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pom.errors import DiskError, PomError
from pom.io.scns import Annotation, Feature, read_scns, write_scns
from pom.project.paths import Project
from pom.sampling.patches import OntologyCount, PatchSet
from pom.workflow.single_initialize import single_initialize

MakeProject = Callable[..., Project]


def load(project: Project, ontology: str) -> PatchSet:
    return PatchSet.load(project.single_dataset(ontology), "pom single initialize")


def change_features(project: Project, name: str, change: Callable[[tuple[Feature, ...]], tuple[Feature, ...]]) -> None:
    annotation = read_scns(project.annotation(name))
    write_scns(project.annotation(name), replace(annotation, features=change(annotation.features)))


def add_feature(project: Project, name: str, title: str, boxes: dict[int, list[tuple[float, float]]]) -> None:
    change_features(project, name, lambda features: (*features, Feature(title, 32, boxes, {})))


def test_patches_and_their_counts(make_project: MakeProject) -> None:
    project = make_project()
    summary = single_initialize(project)
    assert summary.rows == [OntologyCount("Disc", 3, 12, 6, 6), OntologyCount("Square", 3, 12, 6, 6)]
    assert (summary.unknown_titles, summary.failed) == ([], {})
    patches = load(project, "Disc")
    assert patches.images.shape == (12, 2, 112, 112)
    assert patches.ontologies.tolist() == ["Disc"] * 12
    assert patches.tomograms.tolist() == ["TS_1"] * 4 + ["TS_2"] * 4 + ["TS_3"] * 4
    assert patches.centres[:4].tolist() == [[3, 20, 22], [3, 47, 16], [8, 20, 22], [8, 44, 52]]
    assert patches.pixel_size == pytest.approx(15.68)
    has_pixels = (patches.drawn & patches.boxed).any(axis=(1, 2))
    assert has_pixels.tolist() == [True, False] * 6
    # The disc of radius 9 lies within its box; binned by 2 it has a quarter of its pixels.
    area = (patches.drawn & patches.boxed)[0].sum()
    assert area == pytest.approx(np.pi * 9**2 / 4, rel=0.05)
    # It is bright, and so is its membrane.
    assert patches.images[0, 0][patches.drawn[0]].mean() > 1
    assert patches.images[0, 1][patches.drawn[0]].mean() > 0.5
    assert np.abs(patches.images[:, 1]).max() <= 1


def test_one_tomogram_validates_both_ontologies(make_project: MakeProject) -> None:
    project = make_project()
    single_initialize(project)
    discs, squares = load(project, "Disc"), load(project, "Square")
    held_out = set(discs.tomograms[discs.validation].tolist())
    assert len(held_out) == 1
    assert held_out == set(squares.tomograms[squares.validation].tolist())
    assert discs.validation.sum() == 4
    again = make_project(folder=project.folder / "again", seed=3)
    single_initialize(again)
    assert load(again, "Disc").validation.sum() == 4


def test_a_single_annotated_tomogram_validates_by_boxes(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(tomograms=["TS_1"])
    single_initialize(project)
    assert load(project, "Disc").validation.sum() == 1
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split()[0] for message in warnings] == ["Disc", "Square"]
    assert "come from 1 of its 4 boxes" in warnings[0]


def test_unknown_titles_are_counted(make_project: MakeProject) -> None:
    project = make_project()
    add_feature(project, "TS_1", "disk", {3: [(20, 20), (40, 40)]})
    add_feature(project, "TS_2", "disk", {3: [(20, 20)]})
    add_feature(project, "TS_2", "Ribosome", {3: [(20, 20)]})
    add_feature(project, "TS_2", "no boxes", {})
    assert single_initialize(project).unknown_titles == [("Ribosome", 1), ("disk", 3)]


def test_dropped_boxes_are_counted_with_the_reason(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    outside: dict[int, list[tuple[float, float]]] = {12: [(20, 20)], -1: [(20, 20)], 3: [(200, 20), (20, -60)]}
    add_feature(project, "TS_1", "Disc", {**outside, 0: [(0, 0)], 11: [(71, 63)]})
    disc, square = single_initialize(project).rows
    assert disc == OntologyCount("Disc", 1, 10, 2, 4, {"outside the tomogram": 4})
    assert square.dropped == {}
    assert len(load(project, "Disc")) == 6


def test_a_larger_box_gives_several_patches(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    change_features(project, "TS_1", lambda features: tuple(replace(f, box_size=48) for f in features))
    disc, _ = single_initialize(project).rows
    assert disc == OntologyCount("Disc", 1, 4, 4, 0)
    patches = load(project, "Disc")
    assert patches.images.shape == (16, 2, 112, 112)  # four boxes of four tiles each
    # Every tile is 24 pixels wide; the box of the disc reaches 4 pixels over one edge and 2 over the other.
    assert patches.boxed.sum(axis=(1, 2))[:4].tolist() == [10 * 11, 10 * 12, 12 * 11, 12 * 12]


def test_a_tomogram_that_cannot_be_used_is_reported(
    make_project: MakeProject, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut short, another size, no membrane, no tomogram, no annotation file at all; the others are sampled."""
    project = make_project(tomograms=["ok", "cut", "size", "bare", "gone", "torn"])
    tomogram = project.tomogram("cut")
    tomogram.write_bytes(tomogram.read_bytes()[:-10])
    annotation = read_scns(project.annotation("size"))
    features = tuple(replace(feature, slices={}) for feature in annotation.features)
    write_scns(project.annotation("size"), Annotation("", 12, 64, 73, 1.568, features))
    project.macromolecule("bare", "Membrane").unlink()
    project.tomogram("gone").unlink()
    project.annotation("torn").write_bytes(b"hello")
    summary = single_initialize(project)
    assert [row.tomograms for row in summary.rows] == [1, 1]
    assert {name: reason.split(": ")[0] for name, reason in summary.failed.items()}.keys() == {
        "cut", "size", "bare", "gone", "torn",
    }  # fmt: skip
    assert "cut.mrc is cut short" in summary.failed["cut"]
    assert "size.scns annotates a tomogram of (12, 64, 73) voxels (z, y, x), but" in summary.failed["size"]
    assert "bare__Membrane.mrc is missing" in summary.failed["bare"]
    assert summary.failed["gone"].endswith("gone.mrc is not there")
    assert "torn.scns" in summary.failed["torn"]
    assert sum(record.message.startswith(("cut left", "bare left")) for record in caplog.records) == 2


def test_no_annotations_at_all(make_project: MakeProject) -> None:
    project = make_project()
    for name in project.annotated_names():
        project.annotation(name).unlink()
    with pytest.raises(PomError, match=r"no annotated tomograms in .*put annotation files of Ais \(\.scns\) beside"):
        single_initialize(project)


def test_no_ontologies(make_project: MakeProject) -> None:
    with pytest.raises(PomError, match="lists no ontologies"):
        single_initialize(make_project(ontologies=("_",)))


def test_no_boxes(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    change_features(project, "TS_1", lambda features: tuple(replace(feature, boxes={}) for feature in features))
    with pytest.raises(PomError, match=r"No annotation in .* has a box"):
        single_initialize(project)


def test_no_title_is_an_ontology(make_project: MakeProject) -> None:
    project = make_project(ontologies=("Vesicle",))
    with pytest.raises(PomError, match="the files have 'Disc', 'Square', the configuration Vesicle; make the names"):
        single_initialize(project)


def test_no_tomogram_can_be_used(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    project.tomogram("TS_1").write_bytes(b"")
    with pytest.raises(PomError, match=r"No annotated tomogram could be used; TS_1, for one: .*TS_1\.mrc is empty"):
        single_initialize(project)


def test_an_ontology_without_boxes_keeps_no_stale_patches(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    single_initialize(project)
    assert project.single_dataset("Square").exists()
    change_features(project, "TS_1", lambda features: features[:1])
    disc, square = single_initialize(project).rows
    assert (disc.boxes, square) == (4, OntologyCount("Square"))
    assert not project.single_dataset("Square").exists()


def test_a_failure_keeps_the_patches_from_before(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full loses neither what was written anew nor what stood there before."""
    project = make_project(tomograms=("TS_1",))
    single_initialize(project)
    before = {name: project.single_dataset(name).read_bytes() for name in project.ontologies}

    def fail(patches: PatchSet, path: Path) -> None:
        raise DiskError(f"The disk is full, so {path} was not written.")

    monkeypatch.setattr(PatchSet, "save", fail)
    with pytest.raises(DiskError):
        single_initialize(project)
    assert {name: project.single_dataset(name).read_bytes() for name in project.ontologies} == before


def test_an_empty_channel_and_an_empty_output(make_project: MakeProject) -> None:
    project = make_project(macromolecules=("Density", "_", "Membrane"), ontologies=("_", "Square"))
    summary = single_initialize(project)
    assert [row.ontology for row in summary.rows] == ["Square"]
    assert summary.unknown_titles == [("Disc", 12)]
    patches = load(project, "Square")
    assert patches.images.shape[1] == 3
    assert (patches.images[:, 1] == -1).all()
    assert (patches.images[:, 2] > -1).any()


def test_two_features_of_one_title_belong_together(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    add_feature(project, "TS_1", "Disc", {5: [(30, 30)]})
    disc, _ = single_initialize(project).rows
    assert (disc.tomograms, disc.boxes) == (1, 5)


def test_a_name_with_spaces(make_project: MakeProject) -> None:
    project = make_project(tomograms=["my cell 1", "Zelle ä"], ontologies=("Disc", "Inner Square"))
    change_features(project, "my cell 1", lambda features: (features[0], replace(features[1], title="Inner Square")))
    summary = single_initialize(project)
    assert [row.boxes for row in summary.rows] == [8, 4]
    assert load(project, "Inner Square").tomograms.tolist() == ["my cell 1"] * 4


def test_a_patch_is_what_inference_sees(
    make_project: MakeProject, random_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the annotation to the patch, and from the tomogram through process to the network."""
    from pom.inference.predictor import Predictor
    from pom.io.checkpoints import save_network
    from pom.networks.devices import Devices
    from pom.workflow.single_process import single_process

    project = make_project()
    single_initialize(project)
    save_network(project.single_network("Disc"), *random_network("single", ("Disc",)))
    seen: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    predict = Predictor.predict

    def watched(self: Predictor, images: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
        seen.append(images)
        return predict(self, images)

    monkeypatch.setattr(Predictor, "predict", watched)
    assert single_process(project, "Disc", Devices(), test=False).done == ["TS_1", "TS_2", "TS_3"]
    volumes = dict(zip(["TS_1", "TS_2", "TS_3"], seen, strict=True))
    patches = load(project, "Disc")
    for image, inside, name, (z, y, x) in zip(
        patches.images, patches.inside, patches.tomograms.tolist(), patches.centres.tolist(), strict=True
    ):
        # The box of 32 pixels is 16 binned ones, in the middle of the patch of 112.
        section = np.pad(volumes[name][z // 2], ((0, 0), (112, 112), (112, 112)), "wrap")
        top, left = 112 + (y - 16) // 2 - 48, 112 + (x - 16) // 2 - 48
        window = section[:, top : top + 112, left : left + 112]
        np.testing.assert_array_equal(image[:, inside], window[:, inside])


def test_the_datasets_alone_are_written(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project()
    before = set(tmp_path.rglob("*"))
    single_initialize(project)
    folder = tmp_path / "training_datasets"
    added = set(tmp_path.rglob("*")) - before
    claims = {project.training_claims, project.training_claims.parent}
    assert added - claims == {folder, folder / "single", *(project.single_dataset(o) for o in ("Disc", "Square"))}
    assert list(project.training_claims.iterdir()) == []
