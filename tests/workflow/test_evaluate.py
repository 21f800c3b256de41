"""Figures of segmentations made by hand, small enough to be counted by hand."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from pom.errors import PomError
from pom.io.channels import Preprocessing
from pom.io.checkpoints import CARD_FILE, ModelCard, TrainingRecord
from pom.io.mrc import MrcWriter
from pom.io.scns import Annotation, Feature, write_scns
from pom.jobs.ledger import Ledger, Record
from pom.measure.confusion import Score
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.evaluate import evaluate
from pom.workflow.evaluation import Evaluation
from pom.workflow.segmented import Segmented

A, B, UNKNOWN = 0, 1, 2
"""Classes, as the segmentations have them."""
FULL_SHAPE, SHAPE = (5, 12, 16), (3, 6, 8)
VOXEL_SIZE = (40.0, 20.0, 20.0)
"""Of the segmentations, Angstrom."""
FULL_SCALE: Mapping[str, float] = {"int8": 127, "uint8": 255, "float32": 1}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, Configuration(ontologies=("A", "B"), apix=10.0))


def write(path: Path, volume: NDArray[Any], voxel_size: tuple[float, float, float] = VOXEL_SIZE) -> Path:
    """Writes int8, uint8 (stored as uint16) or float32."""
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, voxel_size) as writer:
        writer.write(volume)
    return path


def segment(project: Project, name: str, classes: NDArray[np.integer], dtype: DTypeLike = np.int8) -> None:
    """Writes a tomogram, and outputs whose highest is that of the class."""
    write(project.tomogram(name), np.zeros(FULL_SHAPE, np.float32), (20.0, 10.0, 10.0))
    full = FULL_SCALE[np.dtype(dtype).name]
    for label, ontology in enumerate(("A", "B", "Unknown")):
        write(project.output(name, ontology), (full * np.where(classes == label, 0.6, 0.2)).astype(dtype))


def classes_by_hand() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What is there and what was named, (z, y, x): of 48 voxels A 42 are right, of 18 B 12, of 78 others 77."""
    truth = np.full(SHAPE, UNKNOWN, np.uint8)
    truth[:, :, :2] = A
    truth[0], truth[0, :, :4] = UNKNOWN, A
    truth[1, :, 5:8] = B
    predicted = truth.copy()
    predicted[0, :, 3] = B  # 6 of A
    predicted[1, :, 5] = UNKNOWN  # 6 of B
    predicted[2, 0, 7] = A  # one of Unknown
    return truth, predicted


TABLE = [[42, 6, 0], [0, 12, 6], [1, 0, 77]]


def as_labels(classes: NDArray[np.uint8]) -> NDArray[np.int8]:
    return np.where(classes == UNKNOWN, 0, classes + 1).astype(np.int8)


def enlarged(volume: NDArray[Any]) -> NDArray[Any]:
    """On the tomogram's grid: two voxels for one, cut at its size."""
    for axis in range(3):
        volume = np.repeat(volume, 2, axis)
    depth, height, width = FULL_SHAPE
    return np.ascontiguousarray(volume[:depth, :height, :width])


def write_card(project: Project, trained: tuple[str, ...] = (), validation: tuple[str, ...] = ()) -> None:
    record = TrainingRecord(
        tomograms=trained, validation_tomograms=validation, patches=1, validation_patches=0, counterexamples=0,
        held_out="tomograms" if validation else "nothing", epochs=1, batch_size=1, learning_rate=0.1,
        precision="float32", seed=0, seconds=1.0, started_from="",
    )  # fmt: skip
    card = ModelCard(
        kind="joint", outputs=("A", "B", "Unknown"), pixel_size=10.0, architecture="UNet", widths=(8, 8),
        preprocessing=Preprocessing(channels=("Density",), z_sum=1, binning=(2, 2, 2)), weights_sha256="abc",
        training=record, validation={}, versions={}, created="2026-01-02T03:04:05+00:00",
    )  # fmt: skip
    project.joint_network.mkdir(parents=True, exist_ok=True)
    (project.joint_network / CARD_FILE).write_text(card.model_dump_json())


def annotate(project: Project, name: str, *features: Feature) -> None:
    write_scns(project.annotation(name), Annotation("", *FULL_SHAPE, 1.0, features))


def box(title: str, boxes: dict[int, list[tuple[float, float]]], drawn: slice, size: int = 4) -> Feature:
    """Boxes, and in their slices some columns drawn."""
    mask = np.zeros(FULL_SHAPE[1:], np.uint8)
    mask[:, drawn] = 1
    return Feature(title, size, boxes, dict.fromkeys(boxes, mask))


def written(project: Project) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project.evaluation / "evaluation.json").read_text())
    return document


def table_of(evaluation: Evaluation) -> list[list[int]]:
    table: list[list[int]] = evaluation.together().confusion.table.tolist()
    return table


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("full_size", [False, True])
def test_label_volumes(project: Project, dtype: str, full_size: bool) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted, dtype)
    labels = as_labels(truth)
    write(project.folder / "truth" / "TS_1__labels.mrc", enlarged(labels) if full_size else labels)
    evaluation = evaluate(project, project.folder / "truth")
    assert evaluation.classes == ("A", "B", "Unknown")
    assert table_of(evaluation) == TABLE
    document = written(project)
    assert document["classes"] == ["A", "B", "Unknown"]
    assert document["together"]["confusion"] == document["tomograms"]["TS_1"]["confusion"] == TABLE
    figures = document["together"]["figures"]
    assert figures["A"]["dice"] == pytest.approx(84 / (84 + 1 + 6))
    assert figures["A"]["precision"] == pytest.approx(42 / 43)
    assert figures["A"]["recall"] == pytest.approx(42 / 48)
    assert (figures["B"]["right"], figures["B"]["extra"], figures["B"]["missed"]) == (12, 6, 6)
    assert figures["Unknown"]["dice"] == pytest.approx(154 / (154 + 6 + 1))
    assert document["together"]["mean_dice"] == pytest.approx((84 / 91 + 24 / 36) / 2)


def test_slabs_as_small_as_can_be_change_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pom.workflow.segmented.CHUNK_VOXELS", 1)
    test_label_volumes(project, "int8", full_size=True)
    (project.folder / "truth" / "TS_1__labels.mrc").unlink()
    truth, _ = classes_by_hand()
    for label, ontology in ((A, "A"), (B, "B")):
        write(project.folder / "truth" / f"TS_1__{ontology}.mrc", enlarged((truth == label).astype(np.int8)))
    assert table_of(evaluate(project, project.folder / "truth")) == TABLE


def test_the_files(project: Project) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted)
    write(project.folder / "truth" / "TS_1__labels.mrc", as_labels(truth))
    before = set(project.folder.rglob("*"))
    evaluation = evaluate(project, project.folder / "truth")
    assert set(project.folder.rglob("*")) - before == {project.evaluation, evaluation.report, evaluation.picture}
    assert evaluation.picture.read_bytes().startswith(b"\x89PNG")
    document = written(project)
    assert (document["judged_by"], document["network"]) == ("truth", None)
    assert (document["left_out"], document["failed"]) == ({}, {})
    write_card(project, trained=("TS_1",), validation=("TS_2",))
    evaluate(project, project.folder / "truth")
    document = written(project)
    assert document["network"]["weights_sha256"] == "abc"
    assert document["network"]["validation_tomograms"] == ["TS_2"]
    assert document["tomograms"]["TS_1"]["learnt_from"] is True


def test_surfaces_lie_apart_in_nanometres(project: Project) -> None:
    truth, predicted = (np.full(SHAPE, UNKNOWN, np.uint8) for _ in range(2))
    truth[:, :, :3], predicted[:, :, :5] = A, A
    segment(project, "TS_1", predicted)
    write(project.folder / "truth" / "TS_1__labels.mrc", as_labels(truth))
    evaluate(project, project.folder / "truth")
    figures = written(project)["together"]["figures"]
    assert figures["A"]["surface_distance_nm"] == pytest.approx({"mean": 4.0, "percentile_95": 4.0})
    assert figures["B"]["surface_distance_nm"] is None
    assert figures["B"]["dice"] is None


def test_the_configuration_has_the_voxel_size_where_the_header_has_none(project: Project) -> None:
    segment(project, "TS_1", classes_by_hand()[1])
    write(project.output("TS_1", "Unknown"), np.zeros(SHAPE, np.int8), (0.0, 0.0, 5.0))
    with Segmented(project, "TS_1") as segmented:
        assert segmented.voxel_size == (20.0, 20.0, 5.0)


def test_an_ontology_is_named_only_where_it_is_higher_than_unknown(project: Project) -> None:
    volume = np.zeros((1, 1, 4), np.int8)
    for ontology, values in {"A": [60, 60, 60, 59], "B": [10, 60, 60, 60], "Unknown": [60, 10, 59, 59]}.items():
        volume[0, 0] = values
        write(project.output("TS_1", ontology), volume)
    with Segmented(project, "TS_1") as segmented:
        assert segmented.read_all().tolist() == [[[UNKNOWN, A, A, B]]]


def test_outputs_of_several_types_are_compared_as_shares(project: Project) -> None:
    shape = (1, 1, 2)
    write(project.output("TS_1", "A"), np.array([100, 20], np.int8).reshape(shape))  # 0.79, 0.16
    write(project.output("TS_1", "B"), np.array([150, 60], np.uint8).reshape(shape))  # 0.59, 0.24
    write(project.output("TS_1", "Unknown"), np.array([0.1, 0.2], np.float32).reshape(shape))
    with Segmented(project, "TS_1") as segmented:
        assert segmented.read_all().tolist() == [[[A, B]]]


@pytest.mark.parametrize(("value", "dtype"), [(-1, np.int8), (255, np.uint8), (-7.0, np.float32)])
def test_what_is_not_judged_does_not_count(project: Project, value: float, dtype: DTypeLike) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted)
    labels = as_labels(truth).astype(dtype)
    labels[0] = np.array(value).astype(dtype)
    write(project.folder / "truth" / "TS_1__labels.mrc", labels)
    assert table_of(evaluate(project, project.folder / "truth")) == [[24, 0, 0], [0, 12, 6], [1, 0, 53]]


@pytest.mark.parametrize(("top", "dtype"), [(1, np.int8), (127, np.int8), (255, np.uint8), (1, np.float32)])
def test_masks(project: Project, top: int, dtype: DTypeLike) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted)
    for label, ontology in ((A, "A"), (B, "B")):
        mask = enlarged(np.where(truth == label, top, 0.4 * top).astype(dtype))
        write(project.folder / "masks" / f"TS_1__{ontology}.mrc", mask)
    assert table_of(evaluate(project, project.folder / "masks")) == TABLE


def test_only_ontologies_with_a_mask_are_judged(project: Project) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted)
    write(project.folder / "masks" / "TS_1__B.mrc", (truth == B).astype(np.int8))
    evaluation = evaluate(project, project.folder / "masks")
    together = evaluation.together()
    assert together.confusion.table.tolist() == [[0, 0, 0], [0, 12, 6], [0, 0, 0]]
    assert together.confusion.score(B) == Score(right=12, extra=6, missed=6)
    assert together.confusion.score(A) == Score(0, 0, 0)
    assert list(together.surfaces) == ["B"]


def test_a_tomogram_weighs_by_what_is_in_it(project: Project) -> None:
    truth, predicted = classes_by_hand()
    segment(project, "TS_1", predicted)
    segment(project, "TS_2", truth)
    for name in ("TS_1", "TS_2"):
        write(project.folder / "truth" / f"{name}__labels.mrc", as_labels(truth))
    evaluate(project, project.folder / "truth")
    document = written(project)
    assert document["tomograms"]["TS_2"]["figures"]["B"]["dice"] == 1.0
    assert document["together"]["figures"]["B"]["dice"] == pytest.approx(2 * 30 / (2 * 30 + 6 + 6))


def test_annotation_that_the_network_did_not_learn_from(project: Project) -> None:
    """Columns 0 to 3 of binned slice 1 were named A, all else Unknown; annotated is slice 3, which lies in it."""
    predicted = np.full(SHAPE, UNKNOWN, np.uint8)
    predicted[1, :, :4] = A
    for name in ("TS_1", "TS_2"):
        segment(project, name, predicted)
    write_card(project, trained=("TS_2",), validation=("TS_1",))
    annotate(project, "TS_2", box("A", {3: [(2, 2)]}, slice(0, 0)))
    # A box of columns 4 to 11 and rows 2 to 9, four of each when binned; drawn are the columns up to 5, one of them.
    annotate(
        project, "TS_1", box("A", {3: [(8, 6), (8, 6)]}, slice(0, 6), size=8), box("C", {3: [(8, 6)]}, slice(0, 6))
    )
    evaluation = evaluate(project, None)
    assert list(evaluation.tomograms) == ["TS_1"]
    assert list(evaluation.learnt_from) == []
    together = evaluation.together()
    assert together.confusion.score(A) == Score(right=4, extra=4, missed=0)
    assert together.confusion.table.tolist() == [[4, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert together.surfaces == {}
    document = written(project)
    assert (document["judged_by"], document["truth"]) == ("annotation", None)
    assert document["together"]["figures"]["A"]["dice"] == pytest.approx(8 / 12)
    assert document["together"]["figures"]["A"]["surface_distance_nm"] is None


def test_pixels_that_lie_partly_in_a_box_do_not_count(project: Project) -> None:
    segment(project, "TS_1", np.full(SHAPE, A))
    write_card(project)
    annotate(project, "TS_1", box("B", {0: [(7, 7)]}, slice(0, 16)))  # pixels 5 to 9: one binned pixel is whole
    evaluation = evaluate(project, None)
    assert table_of(evaluation) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_without_unseen_annotation_all_of_it_counts_and_a_warning_says_so(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    segment(project, "TS_1", np.full(SHAPE, A))
    write_card(project, trained=("TS_1",))
    annotate(project, "TS_1", box("A", {0: [(8, 6)]}, slice(0, 16)))
    evaluation = evaluate(project, None)
    assert list(evaluation.learnt_from) == ["TS_1"]
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "The joint network learnt from every annotated tomogram, so that these figures flatter it: annotate one more"
        " tomogram, or give --truth."
    ]


def test_without_boxes_of_its_ontologies_a_tomogram_is_left_out(project: Project) -> None:
    write_card(project)
    for name in ("TS_1", "TS_2"):
        segment(project, name, np.full(SHAPE, A))
    annotate(project, "TS_1", box("C", {0: [(8, 6)]}, slice(0, 16)))
    with pytest.raises(PomError, match="nothing to judge by in TS_1: place boxes"):
        evaluate(project, None)
    annotate(project, "TS_2", box("A", {0: [(8, 6)]}, slice(0, 16)))
    assert list(evaluate(project, None).left_out) == ["TS_1"]


def test_tomograms_that_are_not_segmented_are_left_out(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    truth, predicted = classes_by_hand()
    for name in ("TS_1", "TS_2", "TS_3"):
        write(project.tomogram(name), np.zeros(FULL_SHAPE, np.float32))
        write(project.folder / "truth" / f"{name}__labels.mrc", as_labels(truth))
    write(project.folder / "truth" / "TS_9__labels.mrc", as_labels(truth))
    write(project.folder / "truth" / "TS_1__Aa.mrc", as_labels(truth))
    with pytest.raises(PomError, match=r"TS_1, TS_2, TS_3 are not segmented .* run 'pom shared process' first"):
        evaluate(project, project.folder / "truth")
    caplog.clear()
    for name in ("TS_1", "TS_2"):
        segment(project, name, predicted)
    project.output("TS_2", "B").unlink()
    evaluation = evaluate(project, project.folder / "truth")
    assert list(evaluation.tomograms) == ["TS_1"]
    assert evaluation.left_out == dict.fromkeys(["TS_2", "TS_3"], "not segmented in full")
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"{project.folder / 'truth'}: 1 file is no truth, by the name, such as TS_1__Aa.mrc.",
        f"{project.folder / 'truth'}: no tomogram is called TS_9.",
        "Not segmented in full, and left out: TS_2, TS_3; 'pom shared process' does that.",
    ]


def test_the_network_that_segmented_may_be_another(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    truth, predicted = classes_by_hand()
    write_card(project)
    for name, network in (("TS_1", "abc"), ("TS_2", "older")):
        segment(project, name, predicted)
        write(project.folder / "truth" / f"{name}__labels.mrc", as_labels(truth))
        record = Record(
            tomogram=name, step="shared", network=network, configuration="", inputs={}, version="", host="", device="",
            started=0.0, seconds=1.0, outputs=(),
        )  # fmt: skip
        Ledger(project.jobs("shared"), project.records("shared")).write_record(record)
    assert list(evaluate(project, project.folder / "truth").outdated) == ["TS_2"]
    assert "1 tomogram was segmented by an older network" in caplog.text
    assert written(project)["tomograms"]["TS_2"]["outdated"] is True


def _cut_short(project: Project) -> None:
    path = project.folder / "truth" / "TS_1__labels.mrc"
    path.write_bytes(path.read_bytes()[:-7])


def _label(value: float, dtype: DTypeLike) -> Callable[[Project], None]:
    labels = np.zeros(SHAPE, dtype)
    labels[1, 2, 3] = value
    return lambda project: _truth(project, labels)


def _truth(project: Project, volume: NDArray[Any]) -> None:
    write(project.folder / "truth" / "TS_1__labels.mrc", volume)


def _mask(project: Project, value: float) -> None:
    (project.folder / "truth" / "TS_1__labels.mrc").unlink()
    write(project.folder / "truth" / "TS_1__A.mrc", np.full(SHAPE, value, np.float32))


def _output(project: Project, volume: NDArray[Any]) -> None:
    write(project.output("TS_1", "B"), volume)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_short, r"TS_1__labels\.mrc is cut short: 7 bytes are missing"),
        (lambda p: _truth(p, np.zeros((5, 12, 15), np.int8)),
         r"the shape \(5, 12, 15\) .* the segmentations have \(3, 6, 8\) and the tomogram \(5, 12, 16\)"),
        # Of a size that bins to the same, but not the tomogram's.
        (lambda p: _truth(p, np.zeros((6, 12, 16), np.int8)), r"has the shape \(6, 12, 16\)"),
        (_label(3, np.int8), r"labels\.mrc holds the label 3: labels are 0 for Unknown, 1 to 2 for"),
        (_label(254, np.uint8), "holds the label 254"),
        (_label(0.5, np.float32), r"holds the label 0\.5"),
        (_label(np.nan, np.float32), "holds the label nan"),
        (lambda p: _mask(p, 3.0), r"TS_1__A\.mrc has values from 3 to 3, which a mask of float32 cannot have"),
        (lambda p: _mask(p, np.nan), r"TS_1__A\.mrc has values from nan to nan"),
        (lambda p: _output(p, np.full(SHAPE, np.nan, np.float32)), r"TS_1__B\.mrc holds NaN or infinite values"),
        (lambda p: _output(p, np.zeros((3, 6, 7), np.int8)), r"B\.mrc has the shape \(3, 6, 7\) but .*\(3, 6, 8\)"),
    ],
)  # fmt: skip
def test_a_tomogram_that_cannot_be_judged_stops_no_other(
    project: Project, damage: Callable[[Project], None], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    truth, predicted = classes_by_hand()
    for name in ("TS_1", "TS_2"):
        segment(project, name, predicted)
        write(project.folder / "truth" / f"{name}__labels.mrc", as_labels(truth))
    damage(project)
    evaluation = evaluate(project, project.folder / "truth")
    assert table_of(evaluation) == TABLE
    assert list(evaluation.failed) == ["TS_1"]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(evaluation.failed["TS_1"])
    assert written(project)["failed"] == evaluation.failed
    assert "TS_1 cannot be judged" in caplog.text
    (project.folder / "truth" / "TS_2__labels.mrc").unlink()
    with pytest.raises(PomError, match="No tomogram could be judged; TS_1, for one"):
        evaluate(project, project.folder / "truth")


def test_annotation_that_cannot_be_read_stops_no_other(project: Project) -> None:
    write_card(project)
    for name in ("TS_1", "TS_2", "TS_3"):
        segment(project, name, np.full(SHAPE, A))
        annotate(project, name, box("A", {0: [(8, 6)]}, slice(0, 16)))
    project.annotation("TS_1").write_bytes(b"no pickle")
    feature = box("A", {0: [(8, 6)]}, slice(0, 16))
    feature.slices[0].resize((12, 19))
    write_scns(project.annotation("TS_2"), Annotation("", 5, 12, 19, 1.0, (feature,)))
    evaluation = evaluate(project, None)
    assert table_of(evaluation) == [[4, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert str(project.annotation("TS_1")) in evaluation.failed["TS_1"]
    assert (
        "annotates a tomogram of (5, 12, 19) voxels (z, y, x), but its segmentations have (3, 6, 8)"
        in (evaluation.failed["TS_2"])
    )


def test_there_must_be_something_to_judge_by(project: Project) -> None:
    with pytest.raises(PomError, match=r"There is no folder .*nowhere: give --truth"):
        evaluate(project, project.folder / "nowhere")
    folder = project.folder / "truth"
    folder.mkdir()
    with pytest.raises(PomError, match=r"holds no truth: put label volumes NAME__labels\.mrc there, .* NAME__A\.mrc"):
        evaluate(project, folder)
    write(folder / "TS_8__labels.mrc", np.zeros(SHAPE, np.int8))
    with pytest.raises(PomError, match=r"is of TS_8, and no tomogram in .* bears such a name"):
        evaluate(project, folder)
    with pytest.raises(PomError, match=r"no trained network .* run 'pom shared train' first"):
        evaluate(project, None)
    write_card(project)
    with pytest.raises(PomError, match="is annotated: annotate some"):
        evaluate(project, None)
    with pytest.raises(PomError, match="lists no ontologies"):
        evaluate(Project(project.folder, Configuration()), folder)
