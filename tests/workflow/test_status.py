"""The survey of the work on all tomograms; the outputs are files of a few bytes, and nobody computes."""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE, ModelCard, save_network
from pom.io.processes import place
from pom.jobs.claims import Claims
from pom.jobs.ledger import MOST_TRIES, Ledger, Record, Try, WorkerNote
from pom.project.configuration import Configuration
from pom.project.names import segmentation_file
from pom.project.paths import Project
from pom.workflow.status import Running, StatusSurvey, StepStatus, clear_failures

RandomNetwork = Callable[..., Any]
HOST = socket.gethostname()
NAMES = tuple(f"TS_{number}" for number in range(6))
OUTPUTS = ("Vesicle", "Inner membrane", "Unknown")
NOTHING_ELSE: dict[str, Any] = {
    "running": (), "failed": {}, "outdated": 0, "per_hour": None, "seconds_to_go": None,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Six tomograms that nobody has begun."""
    project = Project(tmp_path, Configuration(ontologies=OUTPUTS[:2]))
    touch(*map(project.tomogram, NAMES))
    return project


@pytest.fixture
def card(project: Project, random_network: RandomNetwork) -> ModelCard:
    """Of the joint network, which was trained an hour ago."""
    return train(project.joint_network, random_network("joint", (*OUTPUTS[:1], "_", *OUTPUTS[1:])), ago=3600)


@pytest.fixture
def claims(project: Project) -> Iterator[Claims]:
    claims = Claims(project.jobs("shared") / "claims")
    yield claims
    claims.close()


def touch(*paths: Path, ago: float = 0.0) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - ago, time.time() - ago))


def train(folder: Path, network: Any, ago: float = 0.0) -> ModelCard:
    card = save_network(folder, *network)
    touch(folder / CARD_FILE, ago=ago)
    return card


def ledger_of(project: Project, step: str = "shared") -> Ledger:
    return Ledger(project.jobs(step), project.records(step))


def write_outputs(project: Project, *names: str, ago: float = 0.0) -> None:
    touch(*(project.output(name, output) for name in names for output in OUTPUTS), ago=ago)


def record(
    name: str, network: str, step: str = "shared", finished_ago: float = 1e6, seconds: float = 60.0, host: str = HOST
) -> Record:
    return Record(
        tomogram=name, step=step, network=network, configuration="", inputs={}, version="", host=host, device="cpu",
        started=time.time() - finished_ago - seconds, seconds=seconds, outputs=(),
    )  # fmt: skip


def fail(project: Project, name: str, times: int = MOST_TRIES, step: str = "shared") -> tuple[Try, ...]:
    ledger = ledger_of(project, step)
    for number in range(times):
        ledger.add_try(
            name,
            Try(host="n1", device="cpu", started=number, seconds=1, reason=f"No {number}.", traceback="", log=""),
        )
    return ledger.tries(name)


def look(project: Project) -> dict[str, StepStatus]:
    return {status.step: status for status in StatusSurvey(project).look()}


def test_nothing_was_begun_and_nothing_is_written(project: Project) -> None:
    before = sorted(project.folder.rglob("*"))
    assert StatusSurvey(project).look() == ()
    assert sorted(project.folder.rglob("*")) == before


def test_each_tomogram_is_counted_once(project: Project, card: ModelCard, claims: Claims) -> None:
    ledger = ledger_of(project)
    # TS_0: done. TS_1: one output is missing. TS_2: running. TS_3: failed. TS_4: will be tried again. TS_5: untouched.
    write_outputs(project, "TS_0", "TS_1")
    ledger.write_record(record("TS_0", card.weights_sha256))
    project.output("TS_1", "Inner membrane").unlink()
    assert claims.take("TS_2")
    tries = fail(project, "TS_3")
    fail(project, "TS_4", times=MOST_TRIES - 1)
    running = Running("TS_2", HOST, "", None, None)
    assert look(project) == {
        "shared": StepStatus(
            "shared", total=6, waiting=3, running=(running,), done=1, failed={"TS_3": tries}, outdated=0,
            per_hour=None, seconds_to_go=None,
        )
    }  # fmt: skip


def test_tomograms_unlike_the_training_data_are_named(project: Project, card: ModelCard) -> None:
    """Those of an older network are not, since another one may know them."""
    scores = {"TS_0": 1.7, "TS_1": 0.6, "TS_2": None, "TS_3": 2.5, "TS_4": 1.0}
    write_outputs(project, *scores, "TS_5")
    for name, score in scores.items():
        ledger_of(project).write_record(record(name, card.weights_sha256).model_copy(update={"unlike": score}))
    ledger_of(project).write_record(record("TS_5", "older").model_copy(update={"unlike": 9.0}))
    status = look(project)["shared"]
    assert (status.done, status.outdated, status.n_unlike) == (6, 1, 2)
    assert list(status.unlike.items()) == [("TS_3", 2.5), ("TS_0", 1.7)]


def test_what_is_done_has_not_failed(project: Project, card: ModelCard) -> None:
    fail(project, "TS_0")
    write_outputs(project, "TS_0")
    ledger_of(project).write_record(record("TS_0", card.weights_sha256))
    assert look(project)["shared"] == StepStatus("shared", total=6, waiting=5, done=1, **NOTHING_ELSE)


def test_who_runs_what_since_when_and_until_when(project: Project, card: ModelCard, claims: Claims) -> None:
    ledger = ledger_of(project)
    for name, seconds in (("TS_0", 100.0), ("TS_1", 200.0), ("TS_5", 900.0)):
        ledger.write_record(record(name, card.weights_sha256, seconds=seconds))
    for name in ("TS_4", "TS_2", "TS_3"):
        assert claims.take(name)
    # One process has one tomogram at a time; the notes on others are past ones, or of other hosts.
    notes = [(HOST, os.getpid(), "TS_3"), ("elsewhere", os.getpid(), "TS_2"), (HOST, os.getpid() + 1, "TS_4")]
    for host, pid, name in notes:
        ledger.note(WorkerNote(host=host, pid=pid, device="cuda:3", tomogram=name, since=5000.0, log=""))
    assert look(project)["shared"].running == (
        Running("TS_2", HOST, "", None, None),
        Running("TS_3", HOST, "cuda:3", 5000.0, 5200.0),
        Running("TS_4", HOST, "", None, None),
    )


def test_a_note_of_before_the_machine_was_started_again_is_a_past_one(project: Project, claims: Claims) -> None:
    assert claims.take("TS_0") and claims.take("TS_1")
    for where, name, since in ((f"{HOST}@~0ld", "TS_0", 5.0), (place(), "TS_1", 5000.0)):
        ledger_of(project).note(
            WorkerNote(host=HOST, place=where, pid=os.getpid(), device="cpu", tomogram=name, since=since, log="")
        )
    assert look(project)["shared"].running == (
        Running("TS_0", HOST, "", None, None), Running("TS_1", HOST, "cpu", 5000.0, None),
    )  # fmt: skip


def test_only_the_latest_records_tell_how_long_a_tomogram_takes(
    project: Project, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pom.workflow.status.LATEST", 3)
    ledger = ledger_of(project)
    for number, seconds in enumerate((9.0, 10.0, 11.0, 500.0, 500.0, 500.0, 500.0)):
        ledger.write_record(record(f"TS_{number}", "", seconds=seconds, finished_ago=100.0 * number))
    assert claims.take("TS_0")
    ledger.note(WorkerNote(host=HOST, pid=os.getpid(), device="cpu", tomogram="TS_0", since=5000.0, log=""))
    assert look(project)["shared"].running[0].expected_end == 5010.0


def test_tomograms_per_hour_and_time_to_go(project: Project, card: ModelCard, claims: Claims) -> None:
    write_outputs(project, "TS_0", "TS_1", "TS_2")
    ledger = ledger_of(project)
    # The work began half an hour ago, on two hosts; an older record does not count.
    ledger.write_record(record("TS_0", card.weights_sha256, finished_ago=7200))
    ledger.write_record(record("TS_1", card.weights_sha256, finished_ago=1200, seconds=600))
    ledger.write_record(record("TS_2", card.weights_sha256, finished_ago=600, seconds=600, host="elsewhere"))
    status = look(project)["shared"]
    assert status.per_hour == pytest.approx(4.0, rel=0.01)
    assert status.seconds_to_go is None  # nobody works
    assert claims.take("TS_3")
    assert look(project)["shared"].seconds_to_go == pytest.approx(3 * 900, rel=0.01)
    write_outputs(project, "TS_3", "TS_4", "TS_5")
    claims.close()
    assert look(project)["shared"].seconds_to_go == 0.0


def test_after_more_than_an_hour_the_last_hour_counts(project: Project, card: ModelCard) -> None:
    write_outputs(project, *NAMES)
    for number in range(6):
        ledger_of(project).write_record(
            record(f"TS_{number}", card.weights_sha256, finished_ago=100 + 1000 * number, seconds=1000)
        )
    assert look(project)["shared"].per_hour == pytest.approx(4.0, rel=0.01)


def test_records_of_hosts_whose_clock_is_ahead(project: Project) -> None:
    write_outputs(project, "TS_0")
    ledger_of(project).write_record(record("TS_0", "", finished_ago=-30, seconds=60))
    assert look(project)["shared"].per_hour == pytest.approx(60.0, rel=0.01)


def test_outputs_of_another_network_are_outdated_whatever_their_times(project: Project, card: ModelCard) -> None:
    write_outputs(project, *NAMES, ago=-100)
    for name in NAMES[:4]:
        # A worker that began before the training and ended after it writes new files of an old network.
        ledger_of(project).write_record(record(name, "old" if name in ("TS_1", "TS_2") else card.weights_sha256))
    touch(project.output("TS_0", "Vesicle"), ago=7200)
    # Without a record the time tells.
    touch(project.output("TS_5", "Unknown"), ago=7200)
    status = look(project)["shared"]
    assert (status.done, status.outdated) == (6, 3)


def test_training_again_makes_all_outputs_old(project: Project, card: ModelCard, random_network: RandomNetwork) -> None:
    survey = StatusSurvey(project)
    write_outputs(project, *NAMES)
    for name in NAMES:
        ledger_of(project).write_record(record(name, card.weights_sha256))
    assert survey.look()[0].outdated == 0
    weights, card = random_network("joint", (*OUTPUTS[:1], "_", *OUTPUTS[1:]))
    weights["head.weight"] *= 2
    new = save_network(project.joint_network, weights, card)
    assert survey.look()[0].outdated == 6
    ledger_of(project).write_record(record("TS_4", new.weights_sha256))
    assert survey.look()[0].outdated == 5


def test_what_is_made_again_is_not_done_and_lets_the_old_ones_wait(
    project: Project, card: ModelCard, claims: Claims
) -> None:
    write_outputs(project, *NAMES)
    for name in NAMES:
        ledger_of(project).write_record(record(name, "old", finished_ago=1800, seconds=1800))
    status = look(project)["shared"]
    assert (status.done, status.outdated, status.seconds_to_go) == (6, 6, 0.0)
    assert claims.take("TS_0")
    status = look(project)["shared"]
    assert (status.done, status.outdated, len(status.running), status.waiting) == (5, 5, 1, 0)
    assert status.seconds_to_go == pytest.approx(3600, rel=0.01)


def test_without_a_network_nothing_is_outdated(project: Project) -> None:
    write_outputs(project, *NAMES[:2])
    ledger_of(project).write_record(record("TS_0", "of a network that was moved away"))
    assert look(project)["shared"] == StepStatus("shared", total=6, waiting=4, done=2, **NOTHING_ELSE)


def test_a_damaged_card_is_said_and_stops_nothing(
    project: Project, card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    write_outputs(project, "TS_0")
    (project.joint_network / CARD_FILE).write_text("{")
    assert look(project)["shared"].done == 1
    assert caplog.messages == [f"{project.joint_network / CARD_FILE} is damaged; train the network again."]


@pytest.mark.parametrize("output", ["Vesicle", "Unknown"])
def test_placeholders_of_the_published_pom_are_no_outputs(project: Project, output: str) -> None:
    write_outputs(project, "TS_0", "TS_1")
    mrcfile.write(project.output("TS_0", output), np.full((10, 10, 10), -1, np.float32), overwrite=True)
    assert look(project)["shared"].done == 1


def test_the_outputs_of_the_network_count_and_not_the_configuration(project: Project, card: ModelCard) -> None:
    write_outputs(project, "TS_0")
    more = Project(project.folder, Configuration(ontologies=(*OUTPUTS[:2], "Granule")))
    assert look(more)["shared"].done == 1
    (project.joint_network / CARD_FILE).unlink()
    assert look(more)["shared"].done == 0


def test_single_steps_and_their_tests(project: Project, random_network: RandomNetwork) -> None:
    touch(project.test_tomogram("A"), project.test_tomogram("B"), project.test_output("B", "Vesicle"))
    touch(project.output("TS_0", "Inner membrane"))
    single = train(project.single_network("Inner membrane"), random_network("single", ("Inner membrane",)))
    ledger_of(project, "single/Inner membrane").write_record(record("TS_0", "old", "single/Inner membrane"))
    ledger_of(project, "single/Vesicle").write_record(record("TS_0", "gone", "single/Vesicle"))
    fail(project, "A", step="test/Inner membrane")
    found = look(project)
    # A step's record without its output and without workers is no beginning.
    assert list(found) == ["single/Inner membrane", "test/Vesicle", "test/Inner membrane"]
    assert (found["single/Inner membrane"].done, found["single/Inner membrane"].outdated) == (1, 1)
    assert (found["test/Vesicle"].total, found["test/Vesicle"].done) == (2, 1)
    assert list(found["test/Inner membrane"].failed) == ["A"]
    ledger_of(project, "single/Inner membrane").write_record(
        record("TS_0", single.weights_sha256, "single/Inner membrane")
    )
    assert look(project)["single/Inner membrane"].outdated == 0


def test_the_joint_network_has_the_outputs_that_both_kinds_write(project: Project) -> None:
    touch(project.output("TS_0", "Vesicle"))
    assert list(look(project)) == ["single/Vesicle"]
    write_outputs(project, "TS_1")
    assert list(look(project)) == ["shared"]
    project.jobs("single/Inner membrane").mkdir(parents=True)
    assert list(look(project)) == ["shared", "single/Inner membrane"]
    assert look(project)["single/Inner membrane"].done == 1


def test_a_step_that_the_configuration_has_no_more_is_shown_while_its_jobs_are_there(project: Project) -> None:
    touch(project.output("TS_0", "Past"), project.jobs("single/Other") / "failures" / "TS_0.json")
    assert list(look(project)) == ["single/Other"]


def test_failures_are_cleared_everywhere(project: Project) -> None:
    for name, times, step in (
        ("TS_0", 3, "shared"), ("TS_1", 1, "shared"), ("A", 3, "test/Vesicle"), ("TS_0", 3, "single/Inner membrane"),
    ):  # fmt: skip
        fail(project, name, times, step)
    assert clear_failures(project) == {
        "shared": ("TS_0", "TS_1"), "single/Inner membrane": ("TS_0",), "test/Vesicle": ("A",),
    }  # fmt: skip
    assert not any(status.failed for status in StatusSurvey(project).look())
    assert clear_failures(project) == {}


def test_failures_of_named_tomograms_are_cleared(project: Project) -> None:
    for name in NAMES[:3]:
        fail(project, name)
    fail(project, "gone")
    touch(project.test_tomogram("A"))
    assert clear_failures(project, ["TS_2", "TS_0", "TS_5", "A", "gone"]) == {"shared": ("TS_0", "TS_2", "gone")}
    assert list(look(project)["shared"].failed) == ["TS_1"]


def test_an_unknown_name_clears_nothing(project: Project) -> None:
    fail(project, "TS_0")
    with pytest.raises(PomError, match=r"There is no tomogram 'ts_00' \(did you mean 'TS_0'\?\): give names"):
        clear_failures(project, ["TS_0", "ts_00"])
    with pytest.raises(PomError, match=r"There is no tomogram 'x': give names without \.mrc"):
        clear_failures(project, ["x"])
    assert list(look(project)["shared"].failed) == ["TS_0"]


@pytest.fixture
def large_folder(tmp_path: Path) -> Iterator[Path]:
    """For more files than pytest should keep, or than a disk makes quickly: in memory where that is possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_ten_thousand_tomograms_take_a_moment(
    large_folder: Path, random_network: RandomNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    ontologies = [f"Ontology {number}" for number in range(20)]
    project = Project(large_folder, Configuration(ontologies=tuple(ontologies)))
    card = train(project.joint_network, random_network("joint", (*ontologies, "Unknown")), ago=60)
    names = [f"TS_{number:05}" for number in range(10_000)]
    for folder in (project.tomogram_dir, project.output_dir, project.records("shared")):
        folder.mkdir(parents=True)
    outputs = project.output_dir  # building it for each of 210,000 files takes longer than making them
    texts = {old: record("NAME", "old" if old else card.weights_sha256).model_dump_json(indent=2) for old in (0, 1)}
    for number, name in enumerate(names):
        create(f"{project.tomogram_dir}/{name}.mrc")
        for ontology in card.outputs:
            create(f"{outputs}/{segmentation_file(name, ontology)}")
        if number % 100:
            text = texts[number % 10 == 5].replace("NAME", name)
            (project.records("shared") / f"{name}.json").write_text(text)
    survey = StatusSurvey(project)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        (status,) = survey.look()
        seconds.append(time.perf_counter() - begin)
        assert (status.total, status.done, status.outdated) == (10_000, 10_000, 1000)
    with capsys.disabled():
        sys.stdout.write(f" [10,000 tomograms of 21 outputs: {seconds[0]:.2f} s, again {seconds[1]:.2f} s] ")
    assert max(seconds) < 5.0


def create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT))
