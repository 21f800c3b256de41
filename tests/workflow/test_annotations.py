import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pom.errors import DiskError, PomError
from pom.io.annotation_store import AnnotationStore
from pom.io.mrc import MrcWriter
from pom.io.scns import Annotation, Feature, read_scns, write_scns
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.sampling.patches import OntologyCount, PatchSet
from pom.workflow import annotation_forms, annotations
from pom.workflow.annotations import (
    AnnotationSummary,
    annotated,
    annotation_of,
    export_scns,
    import_scns,
    last_change,
    newer_annotation,
    open_for_editing,
)
from pom.workflow.freshness import find_outdated
from pom.workflow.single_initialize import single_initialize
from pom.workflow.survey import survey_annotations

MakeProject = Callable[..., Project]
DATA = Path(__file__).parents[1] / "data" / "ais"
SHAPE = (12, 64, 72)  # of the tomograms of make_project
HOUR = 3600


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project(tomograms=("TS_1", "TS_2"))


def set_age(path: Path, hours: float) -> None:
    file = path / "annotation.json" if path.is_dir() else path
    moment = 1_700_000_000 - hours * HOUR
    os.utime(file, (moment, moment))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def draw(project: Project, name: str, z: int = 0) -> AnnotationStore:
    """Draws a square of 3 x 3 pixels as Disc, with a box around it, in the native form."""
    store = open_for_editing(project, name)
    feature = next((f for f in store.features if f.title == "Disc"), None) or store.add_feature("Disc", 32, "#ff0000")
    store.write_patch(feature.id, z, 20, 20, np.ones((3, 3), bool))
    store.set_boxes(feature.id, z, [(21, 21)])
    return store


# Which form counts.


def test_without_an_annotation_there_is_none(project: Project) -> None:
    project.annotation("TS_1").unlink()
    assert annotation_of(project, "TS_1") is None
    assert last_change(project, "TS_1") is None
    assert list(annotated(project)) == ["TS_2"]


def test_the_newer_counts_both_ways_and_it_is_said(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    native, scns = project.native_annotation("TS_1"), project.annotation("TS_1")
    AnnotationStore.create(native, shape=SHAPE, pixel_size=1.568).add_feature("Other", 8, "#ff0000")

    def titles() -> list[str]:
        caplog.clear()
        annotation = annotation_of(project, "TS_1")
        assert annotation is not None
        return [feature.title for feature in annotation.features]

    set_age(native, 1)
    set_age(scns, 2)
    assert (newer_annotation(project, "TS_1"), titles()) == (native, ["Other"])
    assert caplog.messages == ["TS_1 is annotated in both forms: TS_1.annotation counts, as the other is not newer."]
    assert last_change(project, "TS_1") == 1_700_000_000 - HOUR
    set_age(scns, 0)
    assert (newer_annotation(project, "TS_1"), titles()) == (scns, ["Disc", "Square"])
    assert caplog.messages == ["TS_1 is annotated in both forms: TS_1.scns counts, as the other is not newer."]
    assert last_change(project, "TS_1") == 1_700_000_000
    set_age(native, 0)
    assert titles() == ["Other"]
    scns.unlink()
    assert (titles(), caplog.messages) == (["Other"], [])


def test_a_damaged_native_annotation_is_not_passed_over(project: Project) -> None:
    native = project.native_annotation("TS_1")
    AnnotationStore.create(native, shape=SHAPE, pixel_size=1.568)
    (native / "annotation.json").unlink()
    with pytest.raises(PomError, match=r"TS_1\.annotation has no annotation\.json"):
        annotation_of(project, "TS_1")
    assert annotated(project)["TS_1"].fault.startswith(f"{native.absolute()} has no annotation.json")
    assert single_initialize(project).failed.keys() == {"TS_1"}


def test_the_summary_of_both_forms(project: Project) -> None:
    counts = {"Disc": 4, "Square": 4}
    expected = AnnotationSummary("scns", counts, {"Disc": 2, "Square": 2})
    assert annotated(project) == {"TS_1": expected, "TS_2": expected}
    assert annotated(project)["TS_1"].titles == ("Disc", "Square")
    import_scns(project, ["TS_1"])
    assert annotated(project)["TS_1"] == replace(expected, form="native")
    store = draw(project, "TS_1")
    store.add_feature("Disc", 8, "#000000")
    store.add_feature("Empty", 8, "#000000")
    summary = annotated(project)["TS_1"]
    assert (summary.boxes, summary.drawn) == (
        {"Disc": 5, "Square": 4, "Empty": 0},
        {"Disc": 3, "Square": 2, "Empty": 0},
    )
    shutil.rmtree(project.native_annotation("TS_1") / "masks")  # summaries do without
    assert annotated(project)["TS_1"] == summary


# Readers.


def test_patches_are_the_same_from_either_form(project: Project) -> None:
    def sampled() -> tuple[PatchSet, PatchSet]:
        assert single_initialize(project).rows == [
            OntologyCount("Disc", 2, 8, 4, 4),
            OntologyCount("Square", 2, 8, 4, 4),
        ]
        loaded = [PatchSet.load(project.single_dataset(ontology), "") for ontology in ("Disc", "Square")]
        return loaded[0], loaded[1]

    from_ais = sampled()
    import_scns(project, [])
    for name in ("TS_1", "TS_2"):
        project.annotation(name).unlink()
    for one, other in zip(sampled(), from_ais, strict=True):
        np.testing.assert_array_equal(one.drawn, other.drawn)
        np.testing.assert_array_equal(one.boxed, other.boxed)
        np.testing.assert_array_equal(one.images, other.images)


def test_what_is_drawn_in_the_app_is_sampled(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    draw(project, "TS_1")
    caplog.clear()
    disc, _ = single_initialize(project).rows
    assert (disc.boxes, disc.with_pixels) == (9, 5)
    assert [m for m in caplog.messages if "both forms" in m] == [
        "TS_1 is annotated in both forms: TS_1.annotation counts, as the other is not newer."
    ]


def test_a_damaged_mask_leaves_its_tomogram_out(project: Project) -> None:
    draw(project, "TS_1")
    (project.native_annotation("TS_1") / "masks" / "f1" / "c.0.0.0").write_bytes(b"x")
    summary = single_initialize(project)
    assert summary.failed.keys() == {"TS_1"}
    assert "c.0.0.0, the mask of 'Disc' in slice 0, is damaged" in summary.failed["TS_1"]


def test_a_native_annotation_of_another_size(project: Project) -> None:
    AnnotationStore.create(project.native_annotation("TS_1"), shape=(12, 64, 73), pixel_size=1.568)
    with pytest.raises(PomError, match=r"TS_1\.annotation annotates a tomogram of \(12, 64, 73\) voxels"):
        open_for_editing(project, "TS_1")


def test_a_change_in_either_form_outdates_the_patches(project: Project) -> None:
    single_initialize(project)
    sampled_at = project.single_dataset("Disc").stat().st_mtime

    def outdated() -> bool:
        return find_outdated(project, project.annotated_names(), None, {}, {}).patches

    assert not outdated()
    import_scns(project, [])
    export_scns(project, [])
    assert not outdated()  # converting is no change
    draw(project, "TS_1")
    os.utime(project.native_annotation("TS_1") / "annotation.json", (sampled_at + 60, sampled_at + 60))
    assert outdated()


def test_the_survey_counts_the_newer_form_and_notes_both(project: Project) -> None:
    draw(project, "TS_1")
    survey = survey_annotations(project, ["TS_1", "TS_2"])
    assert (survey.boxes, survey.tomograms) == ({"Disc": 9, "Square": 8}, {"Disc": 2, "Square": 2})
    assert survey.notes == [
        "1 tomogram is annotated in Ais and in Pom's own form, of which the newer counts, such as TS_1."
    ]
    project.annotation("TS_1").unlink()
    project.tomogram("TS_1").unlink()
    (note,) = survey_annotations(project, ["TS_2"]).notes
    assert note == "1 annotation does not count for want of a tomogram of the same name, such as TS_1.annotation."


# Editing.


def test_editing_begins_with_an_empty_annotation(project: Project) -> None:
    project.annotation("TS_1").unlink()
    store = open_for_editing(project, "TS_1")
    assert (store.shape, store.features) == (SHAPE, ())
    assert store.pixel_size == pytest.approx(1.568)
    store.add_feature("Disc", 32, "#ff0000")
    assert len(open_for_editing(project, "TS_1").features) == 1
    with pytest.raises(PomError, match=r"There is no tomogram .*TS_9\.mrc"):
        open_for_editing(project, "TS_9")


def test_editing_takes_the_file_of_ais_over(project: Project) -> None:
    store = open_for_editing(project, "TS_1")
    before = read_scns(project.annotation("TS_1"))
    assert [f.title for f in store.features] == ["Disc", "Square"]
    for feature, original in zip(store.features, before.features, strict=True):
        assert dict(feature.boxes) == dict(original.boxes)
        assert feature.drawn == tuple(sorted(original.slices))
        for z in feature.drawn:
            np.testing.assert_array_equal(store.mask(feature.id, z), original.slices[z])
    assert project.annotation("TS_1").exists()
    assert last_change(project, "TS_1") == project.annotation("TS_1").stat().st_mtime


def test_editing_takes_a_newer_file_of_ais_over_and_keeps_the_native_one(project: Project) -> None:
    store = draw(project, "TS_1")
    set_age(store.path, 1)
    set_age(project.annotation("TS_1"), 0)
    again = open_for_editing(project, "TS_1")
    assert 0 not in again.features[0].drawn
    assert again.revision == store.revision + 1
    kept = project.tomogram_dir / "TS_1.annotation.kept-20231114-211320"
    assert AnnotationStore.open(kept).mask("f1", 0).sum() == 9
    # The store that was open meanwhile must not write into what took its place.
    with pytest.raises(PomError, match="was changed by somebody else"):
        store.write_patch("f1", 1, 0, 0, np.ones((2, 2), bool))
    assert project.annotated_names() == ["TS_1", "TS_2"]
    open_for_editing(project, "TS_1")
    assert [name for name in names(project.tomogram_dir) if "kept" in name] == [kept.name]


def test_a_newer_file_of_ais_that_holds_the_same_changes_nothing(project: Project) -> None:
    store = open_for_editing(project, "TS_1")
    os.utime(project.annotation("TS_1"))
    set_age(store.path, 1)
    assert open_for_editing(project, "TS_1").revision == store.revision
    store.write_patch("f1", 1, 0, 0, np.ones((2, 2), bool))


def test_a_damaged_newer_file_of_ais_stops_the_editing(project: Project) -> None:
    store = draw(project, "TS_1")
    project.annotation("TS_1").write_bytes(b"hello")
    set_age(store.path, 1)
    with pytest.raises(PomError, match=r"TS_1\.scns is damaged"):
        open_for_editing(project, "TS_1")
    assert AnnotationStore.open(store.path).mask("f1", 0).sum() == 9


# Conversion.


def test_genuine_files_survive_the_way_there_and_back(tmp_path: Path) -> None:
    project = Project(tmp_path, Configuration(apix=15.68))
    project.tomogram_dir.mkdir()
    expected = json.loads((DATA / "expected.json").read_text())
    stems = ("new_00", "tomo_00")
    for name in stems:
        shutil.copy(DATA / f"{name}.scns", project.annotation(name))
        random = np.random.default_rng(0).normal(size=(40, 192, 192)).astype(np.float32)
        with MrcWriter(project.tomogram(name), (40, 192, 192), np.dtype(np.float32), (15.68,) * 3) as writer:
            writer.write(random)
    assert [path.name for path in import_scns(project, []).done] == ["new_00.annotation", "tomo_00.annotation"]
    for name in stems:
        project.annotation(name).unlink()
    assert [path.name for path in export_scns(project, []).done] == ["new_00.scns", "tomo_00.scns"]
    for name in stems:
        annotation, original = read_scns(project.annotation(name)), read_scns(DATA / f"{name}.scns")
        known = expected[f"{name}.scns"]
        assert (annotation.n_slices, annotation.height, annotation.width) == (40, 192, 192)
        assert annotation.pixel_size == known["pixel_size_nm"]
        assert annotation.path == str(project.tomogram(name))
        assert [f.title for f in annotation.features] == list(known["features"])
        for feature, before in zip(annotation.features, original.features, strict=True):
            of_feature = known["features"][feature.title]
            assert {str(z): [list(c) for c in boxes] for z, boxes in feature.boxes.items()} == of_feature["boxes"]
            assert {str(z): int(drawn.sum()) for z, drawn in feature.slices.items()} == of_feature["drawn_pixels"]
            drawn = b"".join(feature.slices[z].tobytes() for z in sorted(feature.slices))
            assert hashlib.sha256(drawn).hexdigest() == of_feature["sha256"]
            assert (feature.colour, feature.box_size) == (before.colour, before.box_size)


def test_converting_again_changes_nothing(project: Project) -> None:
    assert len(import_scns(project, []).done) == 2
    listing = names(project.tomogram_dir)
    times = [project.annotation("TS_1").stat().st_mtime_ns, last_change(project, "TS_1")]
    for convert in (export_scns, import_scns):
        conversion = convert(project, ["TS_2", "TS_1", "TS_1"])
        assert (conversion.done, conversion.unchanged, conversion.kept) == ([], ["TS_2", "TS_1"], [])
    assert names(project.tomogram_dir) == listing
    assert [project.annotation("TS_1").stat().st_mtime_ns, last_change(project, "TS_1")] == times


def test_export_keeps_the_file_that_it_overwrites(project: Project) -> None:
    original = project.annotation("TS_1").read_bytes()
    draw(project, "TS_1")
    set_age(project.annotation("TS_1"), 0)
    conversion = export_scns(project, ["TS_1"])
    kept = project.tomogram_dir / "TS_1.scns.kept-20231114-221320"
    assert (conversion.done, conversion.kept) == ([project.annotation("TS_1")], [kept])
    assert kept.read_bytes() == original
    (disc, _) = read_scns(project.annotation("TS_1")).features
    assert (disc.slices[0].sum(), disc.boxes[0]) == (9, [(21, 21)])
    native = project.native_annotation("TS_1")
    assert project.annotation("TS_1").stat().st_mtime_ns == (native / "annotation.json").stat().st_mtime_ns
    assert newer_annotation(project, "TS_1") == native
    # Twice within a second the kept files do not meet.
    write_scns(project.annotation("TS_1"), Annotation("", *SHAPE, 1.5, ()))
    set_age(project.annotation("TS_1"), 0)
    assert export_scns(project, ["TS_1"]).kept == [Path(f"{kept}-2")]
    assert kept.read_bytes() == original


def test_an_export_that_fails_leaves_the_file_as_it_was(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(project, "TS_1")
    before = names(project.tomogram_dir), project.annotation("TS_1").read_bytes()

    def full(*_: Any) -> None:
        raise DiskError("The disk is full.")

    monkeypatch.setattr(annotation_forms, "write_scns", full)
    with pytest.raises(DiskError):
        export_scns(project, [])
    assert (names(project.tomogram_dir), project.annotation("TS_1").read_bytes()) == before


def test_an_import_that_fails_leaves_the_native_annotation_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(project, "TS_1")
    before = names(project.tomogram_dir)

    def full(*_: Any, **__: Any) -> None:
        raise DiskError("The disk is full.")

    monkeypatch.setattr(annotation_forms, "write_annotation", full)
    with pytest.raises(DiskError):
        import_scns(project, ["TS_1"])
    assert names(project.tomogram_dir) == before
    assert AnnotationStore.open(project.native_annotation("TS_1")).mask("f1", 0).sum() == 9


def test_one_that_cannot_be_converted_does_not_stop_the_others(project: Project) -> None:
    draw(project, "TS_1")
    other = AnnotationStore.create(project.native_annotation("TS_2"), shape=SHAPE, pixel_size=1.5)
    (other.path / "annotation.json").write_text("{}")
    exported = export_scns(project, [])
    assert (len(exported.done), list(exported.failed)) == (1, ["TS_2"])
    write_scns(project.annotation("TS_1"), Annotation("", 12, 64, 73, 1.5, ()))
    imported = import_scns(project, [])
    assert list(imported.failed) == ["TS_1"]
    assert "TS_1.scns annotates a tomogram of (12, 64, 73) voxels" in imported.failed["TS_1"]
    # The damaged one of TS_2 was replaced, and is kept.
    assert imported.done == [other.path]
    (kept,) = imported.kept
    assert (kept / "annotation.json").read_text() == "{}"


def test_names_that_are_not_there(project: Project) -> None:
    with pytest.raises(PomError, match=r"There is no native annotation in .*tomograms: draw with 'pom annotate' first"):
        export_scns(project, [])
    with pytest.raises(PomError, match=r"'TS_3' has no annotation of Ais .*\(did you mean 'TS_2'\?\)"):
        import_scns(project, ["TS_1", "TS_3"])
    assert not project.native_annotation("TS_1").exists()


def test_boxes_beyond_the_tomogram_stay(project: Project) -> None:
    boxes: dict[int, list[tuple[float, float]]] = {-3: [(1, 2)], 40: [(500, -7.25)]}
    features = (Feature("Disc", 32, boxes, {}), Feature("Disc", 16, {}, {}))
    write_scns(project.annotation("TS_1"), Annotation("", *SHAPE, 1.5, features))
    import_scns(project, ["TS_1"])
    annotation = AnnotationStore.open(project.native_annotation("TS_1")).annotation()
    assert dict(annotation.features[0].boxes) == boxes
    assert export_scns(project, ["TS_1"]).unchanged == ["TS_1"]


def test_thousands_of_annotations_are_read_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a tomogram that is gone are forgotten."""
    read: list[str] = []

    def spy(path: Path) -> Annotation:
        read.append(path.name)
        return read_scns(path)

    monkeypatch.setattr(annotations, "read_scns", spy)
    for number in range(5000):
        project.tomogram(f"many_{number:04}").touch()
        project.annotation(f"many_{number:04}").touch()
    first = annotated(project)
    assert len(first) == len(read) == 5002 and first["TS_1"].titles == ("Disc", "Square")
    assert annotated(project) == first and len(read) == 5002
    draw(project, "TS_1")
    project.tomogram("many_0007").unlink()
    assert "many_0007" not in annotated(project) and len(read) == 5002
    assert project.annotation("many_0007").absolute() not in annotations._remembered
