"""A project whose segmentations are OME-Zarrs: made, skipped, made again, judged and looked at; random networks."""

import logging
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.checkpoints import read_card, save_network
from pom.io.mrc import MrcReader
from pom.io.volume_files import open_volume
from pom.jobs.claims import ClaimLost
from pom.jobs.ledger import Ledger
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.volumes.binning import bin_mean
from pom.workflow.evaluate import evaluate
from pom.workflow.export import export
from pom.workflow.process_tomograms import Redo
from pom.workflow.segment_tomogram import SegmentTomogram
from pom.workflow.segmentation import Segmentation
from pom.workflow.segmented import Segmented
from pom.workflow.shared_process import shared_process
from pom.workflow.single_process import single_process
from pom.workflow.status import StatusSurvey, clear_failures
from pom.workflow.survey import survey_outputs
from pom.workflow.where_to_look import suggest

MakeProject = Callable[..., Project]
RandomNetwork = Callable[..., Any]
CPU = Devices()
NAMES = ["TS_1", "TS_2", "TS_3"]
OUTPUTS = ("Disc", "Square", "Unknown")


@pytest.fixture
def project(make_segmentable: MakeProject) -> Project:
    return make_segmentable(output_format="ome-zarr")


def changed(project: Project, **settings: Any) -> Project:
    return replace(project, configuration=project.configuration.model_copy(update=settings))


def read(project: Project, name: str, output: str) -> NDArray[Any]:
    with open_volume(project.output(name, output)) as reader:
        return reader.read(0, reader.header.shape[0])


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "records")


def stores(names: list[str]) -> list[str]:
    return [f"{name}.ome.zarr" for name in names]


def retrain(project: Project, random_network: RandomNetwork) -> None:
    """Another joint network, with other answers."""
    weights, card = random_network("joint", ("Disc", "_", "Square", "Unknown"))
    weights["head.weight"] *= -1.0
    save_network(project.joint_network, weights, card)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_they_hold_what_the_mrc_files_would(project: Project, tmp_path: Path, dtype: str) -> None:
    project = changed(project, output_dtype=dtype)
    report = shared_process(project, CPU)
    assert (report.done, report.skipped, report.failed) == (NAMES, [], {})
    assert listing(project.output_dir) == stores(NAMES)
    mrc = changed(project, output_format="mrc", output_dir=str(tmp_path / "mrc"))
    assert shared_process(mrc, CPU).done == NAMES
    for output in OUTPUTS:
        with open_volume(project.output("TS_1", output)) as ours, MrcReader(mrc.output("TS_1", output)) as theirs:
            assert ours.header.dtype == dtype
            assert ours.header.shape == theirs.header.shape
            assert ours.header.voxel_size == pytest.approx(theirs.header.voxel_size)
            assert ours.header.origin == theirs.header.origin == (1.0, 2.0, 3.0)
            np.testing.assert_array_equal(ours.read(0, 6), theirs.read(0, 6))
    with Segmented(project, "TS_1") as ours, Segmented(mrc, "TS_1") as theirs:
        np.testing.assert_array_equal(ours.read_all(), theirs.read_all())
        assert ours.voxel_size == pytest.approx(theirs.voxel_size)


def test_they_hold_the_tomogram_as_it_was_binned(project: Project) -> None:
    shared_process(project, CPU)
    with MrcReader(project.tomogram("TS_1")) as reader:
        density = reader.read(0, 12)
    image = zarr.open_group(project.ome_zarr("TS_1"), mode="r")
    np.testing.assert_array_equal(np.asarray(image["0"][...]), bin_mean(density, (2, 2, 2)))  # type: ignore[index]
    scales: Any = [
        zarr.open_group(folder, mode="r").attrs["ome"]["multiscales"][0]["datasets"][0]  # type: ignore[index, call-overload]
        for folder in (project.ome_zarr("TS_1"), project.ome_zarr("TS_1") / "labels" / "segmentation")
    ]
    for mine, labels in zip(*(scale["coordinateTransformations"] for scale in scales), strict=True):
        kind = mine["type"]
        assert mine[kind] == pytest.approx(labels[kind])


def test_what_is_there_is_skipped_in_either_format(project: Project) -> None:
    shared_process(project, CPU)
    assert shared_process(project, CPU).skipped == NAMES
    mrc = changed(project, output_format="mrc")
    assert shared_process(mrc, CPU).skipped == NAMES
    assert shared_process(mrc, CPU, redo=Redo.everything()).done == NAMES
    assert len(list(project.output_dir.glob("*.mrc"))) == 9
    assert shared_process(project, CPU).skipped == NAMES


def test_made_again_it_takes_the_place_of_either_format(project: Project, random_network: RandomNetwork) -> None:
    shared_process(changed(project, output_format="mrc"), CPU)
    before = read(project, "TS_1", "Disc")
    retrain(project, random_network)
    assert shared_process(project, CPU).skipped == NAMES
    assert shared_process(project, CPU, redo=Redo(outdated=True)).done == NAMES
    assert listing(project.output_dir) == stores(NAMES)
    after = read(project, "TS_1", "Disc")
    assert (before != after).any()
    assert shared_process(project, CPU, redo=Redo(outdated=True)).skipped == NAMES
    retrain(project, random_network)  # the same weights: nothing is older
    assert shared_process(project, CPU, redo=Redo(outdated=True)).skipped == NAMES
    moment = time.time()
    assert shared_process(project, CPU, redo=Redo(before=moment)).done == NAMES
    assert shared_process(project, CPU, redo=Redo(before=moment)).skipped == NAMES
    np.testing.assert_array_equal(read(project, "TS_1", "Disc"), after)
    assert listing(project.output_dir) == stores(NAMES)


def test_without_records_their_time_counts(project: Project, random_network: RandomNetwork) -> None:
    shared_process(project, CPU)
    for path in project.records("shared").iterdir():
        path.unlink()
    assert shared_process(project, CPU, redo=Redo(outdated=True)).skipped == NAMES
    retrain(project, random_network)
    assert shared_process(project, CPU, redo=Redo(outdated=True)).done == NAMES


def test_the_record_names_the_store(project: Project) -> None:
    shared_process(project, CPU)
    record = Ledger(project.jobs("shared"), project.records("shared")).record("TS_1")
    assert record is not None
    assert record.outputs == ("TS_1.ome.zarr",)
    card = read_card(project.joint_network)
    assert card is not None
    assert record.network == card.weights_sha256


def test_a_damaged_store_is_made_again(project: Project) -> None:
    shared_process(project, CPU)
    (project.ome_zarr("TS_2") / "probabilities" / "zarr.json").write_text("{")
    report = shared_process(project, CPU)
    assert (report.done, report.skipped) == (["TS_2"], ["TS_1", "TS_3"])
    assert read(project, "TS_2", "Disc").shape == (6, 32, 36)


def test_what_another_program_wrote_is_never_replaced(project: Project) -> None:
    foreign = project.ome_zarr("TS_2")
    (foreign / "0").mkdir(parents=True)
    (foreign / ".zattrs").write_text("{}")
    report = shared_process(project, CPU)
    assert report.done == ["TS_1", "TS_3"]
    assert list(report.failed) == ["TS_2"]
    assert "TS_2.ome.zarr is damaged, or not one that Pom wrote, so it is not replaced" in str(report.failed["TS_2"])
    assert listing(foreign) == [".zattrs", "0"]
    foreign.rename(foreign.with_name("theirs"))
    clear_failures(project)
    assert shared_process(project, CPU).done == ["TS_2"]
    assert read(project, "TS_2", "Disc").shape == (6, 32, 36)


def test_it_is_there_before_the_old_outputs_are_removed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shared_process(changed(project, output_format="mrc"), CPU)
    step = SegmentTomogram(Segmentation.joint(project), CPU)
    step.prepare()
    remove, removed = shutil.rmtree, []

    def look_and_remove(folder: Path, **options: Any) -> None:
        removed.append([name for name in listing(folder) if name.endswith(".mrc")])
        there = [name for name in listing(project.output_dir) if name.startswith("TS_1")]
        assert there == (old if len(removed) == 1 else ["TS_1.ome.zarr"])
        remove(folder, **options)

    old = [f"TS_1__{output}.mrc" for output in OUTPUTS]
    monkeypatch.setattr(shutil, "rmtree", look_and_remove)
    step.do("TS_1", step.read("TS_1"), lambda: None)
    assert removed == [old, old]  # the hidden ones that the store was made from, and those of before


def test_a_lost_claim_leaves_what_was_there(project: Project) -> None:
    shared_process(project, CPU)
    before = project.ome_zarr("TS_1").stat().st_mtime_ns
    step = SegmentTomogram(Segmentation.joint(project), CPU)
    step.prepare()
    checks = []

    def check() -> None:
        checks.append(project.ome_zarr("TS_1").stat().st_mtime_ns)
        if len(checks) == 2:  # once all is computed, and once all is written
            raise ClaimLost("gone")

    with pytest.raises(ClaimLost):
        step.do("TS_1", step.read("TS_1"), check)
    assert checks == [before, before]
    assert [path.name for path in project.output_dir.iterdir() if path.name.startswith(".")] == []
    assert project.ome_zarr("TS_1").stat().st_mtime_ns == before


def test_a_full_disk_and_then_space_again(project: Project, disk_of: Callable[[str], Path]) -> None:
    disk = disk_of("120k")
    project = changed(project, output_dir=str(disk))
    with pytest.raises(PomError, match=r"The disk is full, so .* was not written: free some space there"):
        shared_process(project, CPU)
    assert not [path for path in disk.iterdir() if path.name.startswith(".")]
    assert not list(disk.glob("*.mrc"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    report = shared_process(project, CPU)
    assert (len(report.done) + len(report.skipped), report.failed) == (3, {})
    assert listing(disk) == stores(NAMES)


def test_single_networks_write_mrc_files(project: Project) -> None:
    single_process(project, "Disc", CPU, test=False)
    assert listing(project.output_dir) == [f"{name}__Disc.mrc" for name in NAMES]
    # What the joint network finds takes the place of that, as among MRC files.
    assert shared_process(project, CPU).done == NAMES
    assert listing(project.output_dir) == stores(NAMES)
    assert single_process(project, "Disc", CPU, test=False).skipped == NAMES


def test_status_and_survey_take_them_for_what_they_are(project: Project, random_network: RandomNetwork) -> None:
    shared_process(project, CPU)
    (step,) = StatusSurvey(project).look()
    assert (step.done, step.waiting, step.outdated) == (3, 0, 0)
    survey = survey_outputs(project, NAMES)
    assert sorted(survey.processed) == NAMES
    metadata = {name: project.ome_zarr(name) / "probabilities" / "zarr.json" for name in NAMES}
    assert survey.processed == {name: path.stat().st_mtime for name, path in metadata.items()}
    assert survey.counts == {"Disc": 3, "Square": 3, "Unknown": 3}
    retrain(project, random_network)
    (step,) = StatusSurvey(project).look()
    assert step.outdated == 3


def test_the_same_places_are_suggested(project: Project, tmp_path: Path) -> None:
    mrc = changed(project, output_format="mrc", output_dir=str(tmp_path / "mrc"))
    project.annotation("TS_3").unlink()
    places = []
    for each in (project, mrc):
        shared_process(each, CPU)
        places.append(suggest(each, CPU, most=3))
    assert places[0] == places[1]
    assert {place.tomogram for place in places[0]} == {"TS_3"}
    assert "the network is unsure" in places[0][0].reason.lower() or "both claim this place" in places[0][0].reason


def test_evaluation_gives_the_same_figures(project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mrc = changed(project, output_format="mrc", output_dir=str(tmp_path / "mrc"))
    figures = []
    for each in (project, mrc):
        shared_process(each, CPU)
        with caplog.at_level(logging.WARNING):
            evaluation = evaluate(each, None)
        # TS_1 is what the network says that it learnt from.
        assert list(evaluation.tomograms) == ["TS_2", "TS_3"]
        assert not evaluation.outdated
        figures.append(evaluation.together().confusion.table.tolist())
    assert figures[0] == figures[1]
    assert np.sum(figures[0]) > 0


def test_the_export_leaves_them_and_writes_elsewhere(project: Project, tmp_path: Path) -> None:
    shared_process(project, CPU)
    before = project.ome_zarr("TS_1").stat().st_mtime_ns
    report = export(project, overwrite=True)
    assert (report.done, report.outputs) == ([], NAMES)
    assert project.ome_zarr("TS_1").stat().st_mtime_ns == before
    assert export(project, folder=tmp_path / "whole").done == NAMES
    image = zarr.open_array(tmp_path / "whole" / "TS_1.ome.zarr" / "0", mode="r")
    assert image.shape == (12, 64, 72)
