"""Single and shared process: which tomograms, which outputs, what is skipped; the networks are random."""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE, WEIGHTS_FILE, read_card, save_network
from pom.jobs.ledger import Ledger, Try
from pom.networks.devices import Devices
from pom.progress import Progress
from pom.project.paths import Project
from pom.workflow.process_tomograms import Redo, _Others
from pom.workflow.segment_tomogram import SegmentTomogram
from pom.workflow.segmentation import Segmentation
from pom.workflow.shared_process import shared_process
from pom.workflow.single_process import single_process

MakeProject = Callable[..., Project]
RandomNetwork = Callable[..., Any]
CPU = Devices()
NAMES = ["TS_1", "TS_2", "TS_3"]
OUTPUTS = ("Disc", "Square", "Unknown")


@pytest.fixture
def project(make_segmentable: MakeProject) -> Project:
    return make_segmentable()


def volume(path: Path) -> NDArray[Any]:
    with mrcfile.open(path) as mrc:
        return np.array(mrc.data)


def outputs(project: Project) -> list[str]:
    return sorted(path.name for path in project.output_dir.glob("*.mrc"))


def test_all_outputs_of_all_tomograms(project: Project) -> None:
    report = shared_process(project, CPU)
    assert (report.done, report.skipped, report.failed) == (NAMES, [], {})
    assert outputs(project) == [f"{name}__{output}.mrc" for name in NAMES for output in OUTPUTS]
    with mrcfile.open(project.output("TS_1", "Disc")) as mrc:
        assert mrc.data.shape == (6, 32, 36)
        assert mrc.data.dtype == np.int8
        assert [float(mrc.voxel_size[axis]) for axis in "xyz"] == pytest.approx([31.36] * 3)
        assert mrc.header.origin.tolist() == (1.0, 2.0, 3.0)
    # The empty place keeps its share of the probability.
    total = np.sum([volume(project.output("TS_1", output)) for output in OUTPUTS], axis=0, dtype=int)
    assert total.max() <= 127 + 2
    assert total.min() < 120


def test_outputs_of_the_configured_type(make_project: MakeProject, random_network: RandomNetwork) -> None:
    project = make_project(output_dtype="float32", tomograms=["TS_1"])
    save_network(project.joint_network, *random_network("joint", ("Disc", "Square", "Unknown")))
    shared_process(project, CPU)
    total = np.sum([volume(project.output("TS_1", output)) for output in OUTPUTS], axis=0)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_a_missing_macromolecule_fails_its_tomogram_alone(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.macromolecule("TS_2", "Membrane").unlink()
    with caplog.at_level(logging.WARNING):
        report = shared_process(project, CPU)
    assert report.done == ["TS_1", "TS_3"]
    assert list(report.failed) == ["TS_2"]
    assert "TS_2__Membrane.mrc is missing: segment Membrane in this tomogram" in report.failed["TS_2"]
    assert caplog.messages == [f"TS_2 failed: {report.failed['TS_2']}"]
    assert not [name for name in outputs(project) if name.startswith("TS_2")]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1000], "is cut short: 1000 bytes are missing"),
        (lambda _: b"", "is empty"),
        (lambda content: content[:1024] + b"\xff" * (len(content) - 1024), "NaN or infinite values"),
        (lambda content: content[:1024] + bytes(len(content) - 1024), "is constant"),
    ],
)
def test_a_bad_tomogram_fails_alone(project: Project, damage: Callable[[bytes], bytes], message: str) -> None:
    path = project.tomogram("TS_2")
    path.write_bytes(damage(path.read_bytes()))
    report = shared_process(project, CPU)
    assert report.done == ["TS_1", "TS_3"]
    assert message in report.failed["TS_2"]
    assert "TS_2.mrc" in report.failed["TS_2"]
    assert not [name for name in outputs(project) if "TS_2" in name]


def test_a_tomogram_whose_name_leaves_no_room_for_another_ending_fails_alone(project: Project) -> None:
    for name, length in (("TS_2", 244), ("TS_3", 251)):  # of outputs, and of locks and records too
        project.tomogram(name).rename(project.tomogram(name + "x" * (length - len(name))))
    report = shared_process(project, CPU)
    assert report.done == ["TS_1"]
    assert [len(name) for name in report.failed] == [244, 251]
    assert all("File name too long" in reason for reason in report.failed.values())
    again = shared_process(project, CPU)  # there is a folder of records now, in which theirs are looked for
    assert (again.done, again.skipped, again.failed.keys()) == ([], ["TS_1"], report.failed.keys())


def on_disk(project: Project, disk: Path) -> Project:
    """The project, with its outputs on another disk."""
    return replace(project, configuration=project.configuration.model_copy(update={"output_dir": str(disk)}))


def test_a_full_disk_and_then_space_again(project: Project, disk_of: Callable[[str], Path]) -> None:
    """Three outputs of 8 KiB each and their tomogram are whole, or not there at all."""
    disk = disk_of("44k")
    project = on_disk(project, disk)
    with pytest.raises(PomError, match=r"The disk is full, so .* was not written: free some space there"):
        shared_process(project, CPU)
    whole = outputs(project)
    assert not [path for path in disk.iterdir() if path.name.startswith(".")]
    assert {volume(disk / name).shape for name in whole} == {(6, 32, 36)}
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    report = shared_process(project, CPU)
    assert (len(report.done) + len(report.skipped), report.failed) == (3, {})
    assert outputs(project) == [f"{name}__{output}.mrc" for name in NAMES for output in OUTPUTS]


def test_a_read_only_output_folder(
    project: Project, disk_of: Callable[[str], Path], make_read_only: Callable[[Path], None]
) -> None:
    disk = disk_of("1m")
    make_read_only(disk)
    with pytest.raises(PomError, match="cannot be written because its folder is read-only"):
        shared_process(on_disk(project, disk), CPU)


def test_what_is_there_is_skipped_until_overwrite(project: Project) -> None:
    shared_process(project, CPU)
    before = {path: path.stat().st_mtime_ns for path in project.output_dir.glob("*.mrc")}
    report = shared_process(project, CPU)
    assert (report.done, report.skipped) == ([], NAMES)
    assert {path: path.stat().st_mtime_ns for path in project.output_dir.glob("*.mrc")} == before
    report = shared_process(project, CPU, redo=Redo.everything())
    assert (report.done, report.skipped) == (NAMES, [])
    after = {path: path.stat().st_mtime_ns for path in project.output_dir.glob("*.mrc")}
    assert all(after[path] > before[path] for path in before)


def test_a_tomogram_that_lacks_an_output_is_done_again(project: Project) -> None:
    shared_process(project, CPU)
    project.output("TS_2", "Unknown").unlink()
    report = shared_process(project, CPU)
    assert (report.done, report.skipped) == (["TS_2"], ["TS_1", "TS_3"])


def test_outputs_without_a_record_go_by_their_time(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """Those that the published Pom, or somebody else, wrote."""
    shared_process(project, CPU)
    shutil.rmtree(project.records("shared"))
    trained = (project.joint_network / CARD_FILE).stat().st_mtime
    os.utime(project.output("TS_2", "Disc"), (trained - 60, trained - 60))
    assert shared_process(project, CPU).skipped == NAMES
    assert "1 tomogram was segmented by an older network" in caplog.text
    assert shared_process(project, CPU, redo=Redo(outdated=True)).done == ["TS_2"]


def test_the_record_tells_of_the_files_that_were_read(project: Project) -> None:
    step = SegmentTomogram(Segmentation.joint(project), CPU)
    step.prepare()
    density = project.tomogram("TS_1")
    before = density.stat()
    inputs = step.read("TS_1")
    # Read ahead, it may wait for minutes while the one before it is done, and be replaced meanwhile.
    os.utime(density, (before.st_mtime + 60, before.st_mtime + 60))
    step.do("TS_1", inputs, lambda: None)
    record = Ledger(project.jobs("shared"), project.records("shared")).record("TS_1")
    assert record is not None
    assert record.inputs["Density"].modified == before.st_mtime
    assert set(record.inputs) == set(Segmentation.joint(project).inputs("TS_1"))


def test_the_record_says_where_outputs_come_from(project: Project) -> None:
    shared_process(project, CPU)
    record = Ledger(project.jobs("shared"), project.records("shared")).record("TS_1")
    assert record is not None
    assert record.network == read_card(project.joint_network).weights_sha256  # type: ignore[union-attr]
    assert record.outputs == tuple(f"TS_1__{output}.mrc" for output in OUTPUTS)
    density = project.tomogram("TS_1")
    assert record.inputs["Density"].file == str(density)
    assert (record.inputs["Density"].bytes, record.inputs["Density"].modified) == (
        density.stat().st_size,
        density.stat().st_mtime,
    )
    assert 0 < record.seconds < 60


def test_a_failed_tomogram_is_left_alone_until_its_files_change(project: Project) -> None:
    path = project.tomogram("TS_2")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    for _ in range(2):
        assert list(shared_process(project, CPU).failed) == ["TS_2"]
    ledger = Ledger(project.jobs("shared"), project.records("shared"))
    assert len(ledger.tries("TS_2")) == 3
    path.write_bytes(whole)
    report = shared_process(project, CPU)
    assert (report.done, report.failed) == (["TS_2"], {})
    assert ledger.failures() == {}


def test_what_others_do_counts_as_progress(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pom.progress")
    monkeypatch.setattr("pom.workflow.process_tomograms.SECONDS_BETWEEN_COUNTS", -1.0)
    monkeypatch.setattr("pom.progress.SECONDS_BETWEEN_LINES", -1.0)
    shared_process(project, CPU)
    ledger = Ledger(project.jobs("shared"), project.records("shared"))
    with Progress("All", 10) as progress:
        _Others(ledger, {"TS_1": None, "TS_2": None, "TS_3": 5.0, "TS_4": None}, 4, progress).count()
    assert caplog.messages[-1] == "All: 6 of 10"


def test_a_tomogram_that_failed_once_is_tried_again(project: Project) -> None:
    attempt = Try(host="a", device="cpu", started=time.time(), seconds=1, reason="No.", traceback="", log="")
    for name in NAMES:
        Ledger(project.jobs("shared"), project.records("shared")).add_try(name, attempt)
    assert shared_process(project, CPU).done == NAMES


def test_a_placeholder_of_the_published_pom_counts_as_absent(project: Project) -> None:
    """10 x 10 x 10 of -1, float32; but 10 x 10 x 10 of anything else is an output."""
    shared_process(project, CPU)
    shutil.rmtree(project.records("shared"))  # the published Pom writes none
    for name, value in (("TS_1", -1.0), ("TS_3", 0.0)):
        with mrcfile.new(project.output(name, "Square"), np.full((10, 10, 10), value, np.float32), overwrite=True):
            pass
    report = shared_process(project, CPU)
    assert (report.done, report.skipped) == (["TS_1"], ["TS_2", "TS_3"])
    assert volume(project.output("TS_1", "Square")).shape == (6, 32, 36)


def test_a_single_network_over_all_tomograms(project: Project) -> None:
    report = single_process(project, "Disc", CPU, test=False)
    assert report.done == NAMES
    assert outputs(project) == [f"{name}__Disc.mrc" for name in NAMES]


def test_test_tomograms_are_read_and_written_in_the_test_folder(project: Project) -> None:
    """Their macromolecules are with the others; what is segmented there is no tomogram to segment."""
    project.test_dir.mkdir()
    project.tomogram("TS_2").rename(project.test_tomogram("TS_2"))
    for skipped in (False, True):
        report = single_process(project, "Disc", CPU, test=True)
        assert (report.done, report.skipped) == (([], ["TS_2"]) if skipped else (["TS_2"], []))
    assert sorted(path.name for path in project.test_dir.glob("*.mrc")) == ["TS_2.mrc", "TS_2__Disc.mrc"]
    assert not project.output_dir.exists()


def test_the_network_knows_its_channels(project: Project, random_network: RandomNetwork) -> None:
    """A changed configuration does not change what a trained network is fed."""
    save_network(project.single_network("Disc"), *random_network("single", ("Disc",), ("_", "Density")))
    for name in NAMES:
        project.macromolecule(name, "Membrane").unlink()
    assert single_process(project, "Disc", CPU, test=False).done == NAMES


def test_process_before_train(make_project: MakeProject) -> None:
    project = make_project()
    message = r"There is no trained network in .*Disc; run 'pom single train -o \"Disc\"' first"
    with pytest.raises(PomError, match=message):
        single_process(project, "Disc", CPU, test=False)
    with pytest.raises(PomError, match=r"There is no trained network in .*joint; run 'pom shared train' first"):
        shared_process(project, CPU)


def test_weights_that_are_not_those_of_the_card(project: Project, random_network: RandomNetwork) -> None:
    """A card of one network beside the weights of another; a file cut short; a card that is none."""
    folder = project.joint_network
    weights = (folder / WEIGHTS_FILE).read_bytes()
    save_network(project.folder / "other", *random_network("joint", ("Disc", "Unknown")))
    (folder / WEIGHTS_FILE).write_bytes((project.folder / "other" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(PomError, match=r"is not the file that card\.json beside it describes; run 'pom shared train'"):
        shared_process(project, CPU)
    (folder / WEIGHTS_FILE).write_bytes(weights[:-5])
    with pytest.raises(PomError, match="is not a safetensors file"):
        shared_process(project, CPU)
    (folder / CARD_FILE).write_text("{}")
    with pytest.raises(PomError, match=r"card\.json is damaged; train the network again"):
        shared_process(project, CPU)


def test_pixels_of_another_size_than_the_network_knows(
    project: Project, random_network: RandomNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    weights, card = random_network("single", ("Disc",))
    save_network(project.single_network("Disc"), weights, card.model_copy(update={"pixel_size": 10.0}))
    assert single_process(project, "Disc", CPU, test=False).done == NAMES
    said = [record.getMessage() for record in caplog.records if "was trained at" in record.getMessage()]
    assert len(said) == len(NAMES)
    assert "has pixels of 15.68 Angstrom, but the network was trained at 10" in said[0]


def test_no_tomograms(project: Project) -> None:
    for name in NAMES:
        project.tomogram(name).unlink()
    with pytest.raises(PomError, match=r"There are no tomograms \(\.mrc\) in .*tomograms; put some there"):
        shared_process(project, CPU)
    with pytest.raises(PomError, match=r"There are no tomograms \(\.mrc\) in .*test; put some there"):
        single_process(project, "Disc", CPU, test=True)
