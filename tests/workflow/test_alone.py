"""Training and the making of patches are done once at a time, whoever begins them; short changes wait."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback

from pom.errors import PomError
from pom.jobs.claims import Claims
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.training.state import TrainingState
from pom.workflow.alone import (
    JOINT_TRAINING,
    LABELLING,
    PRETRAINING,
    SAMPLING,
    alone,
    at_work,
    changing,
    refusal,
    training,
)
from pom.workflow.pretrain import pretrain
from pom.workflow.shared_initialize import shared_initialize
from pom.workflow.shared_train import shared_train
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_train import single_train

HERE = f"Process {os.getpid()} on {socket.gethostname()}"
ELSEWHERE = f"{socket.gethostname()}@4026532281"
KILLED = """
import os, signal, sys
from pathlib import Path
from pom.jobs.claims import Claims
assert Claims(Path(sys.argv[1])).take("training Disc")
os.kill(os.getpid(), signal.SIGKILL)
"""


WORKS: dict[str, Callable[[Project], object]] = {
    LABELLING: lambda project: shared_initialize(project, True, Devices()),
    JOINT_TRAINING: lambda project: shared_train(project, Devices(), None),
    f"{JOINT_TRAINING} from the annotations": lambda project: shared_train(project, Devices(), None, direct=True),
    PRETRAINING: lambda project: pretrain(project, Devices()),
}


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(tomograms=("TS_1",), single_model_epochs=1)


def test_what_is_trained_already_is_refused(project: Project) -> None:
    single_initialize(project)
    with alone(project, [training("Disc")]):
        assert set(at_work(project)) == {"training Disc"}
        sentence = f"{HERE} is training Disc already: wait for its end, or stop it there."
        assert refusal("training Disc", at_work(project)["training Disc"]) == sentence
        for ontologies in (["Disc"], ["Square", "Disc"]):
            with pytest.raises(PomError) as refused:
                single_train(project, ontologies, Devices(), counterexamples=True)
            assert str(refused.value) == sentence
        assert not project.single_network("Square").exists()  # of several, none is begun
        assert set(single_train(project, ["Square"], Devices(), counterexamples=True)) == {"Square"}
    assert at_work(project) == {}
    assert set(single_train(project, ["Disc"], Devices(), counterexamples=True)) == {"Disc"}


def test_patches_are_cut_once_at_a_time(project: Project) -> None:
    with alone(project, [SAMPLING]), pytest.raises(PomError, match=f"{HERE} is cutting the training patches already"):
        single_initialize(project)
    single_initialize(project)


@pytest.mark.parametrize("name", WORKS)
def test_what_concerns_all_ontologies_is_done_once_at_a_time(make_project: Callable[..., Project], name: str) -> None:
    project, do = make_project(tomograms=()), WORKS[name]
    work = name.removesuffix(" from the annotations")
    with alone(project, [work]):
        with pytest.raises(PomError) as refused:
            do(project)
        assert str(refused.value) == f"{HERE} is {work} already: wait for its end, or stop it there."
    others = [other for other in (SAMPLING, LABELLING, JOINT_TRAINING, PRETRAINING) if other != work]
    with alone(project, others), pytest.raises(PomError, match=r"There are no|is not there"):
        do(project)
    assert at_work(project) == {}


@pytest.mark.parametrize(
    "second", [{"LOCAL_RANK": "1"}, {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}], ids=["Lightning", "srun"]
)
@pytest.mark.parametrize("work", [JOINT_TRAINING, PRETRAINING])
def test_of_those_that_train_together_the_first_takes_the_right(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, work: str, second: dict[str, str]
) -> None:
    project = make_project(tomograms=())
    with alone(project, [work]):
        for name, value in second.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(PomError, match=r"There are no|is not there"):
            WORKS[work](project)
        assert set(at_work(project)) == {work}


def test_who_trains_the_joint_network_a_second_time_takes_nothing_from_the_first(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tomograms=("TS_1",), shared_model_epochs=2)
    single_initialize(project)
    refused: list[str] = []

    class Again(Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            with pytest.raises(PomError, match="is training the joint network already") as error:
                shared_train(project, Devices(), None, direct=True)
            refused.append(str(error.value))

    original = TrainingState.callbacks
    monkeypatch.setattr(TrainingState, "callbacks", lambda self, *args: [*original(self, *args), Again()])
    card = shared_train(project, Devices(), None, direct=True)
    assert (card.training.epochs, len(refused)) == (2, 2)
    assert at_work(project) == {}


def test_short_changes_wait_for_each_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pom.workflow.alone.SECONDS_TO_WAIT", 0.05)
    with changing(project, "library"):
        with (
            pytest.raises(PomError, match="Somebody else is changing the library just now"),
            changing(project, "library"),
        ):
            pass
        with changing(project, "subsets"), alone(project, [SAMPLING]):
            assert set(at_work(project)) == {SAMPLING}
    monkeypatch.setattr("pom.workflow.alone.SECONDS_TO_WAIT", 30.0)
    order: list[str] = []
    waits = threading.Event()
    monkeypatch.setattr(time, "sleep", lambda _seconds: waits.set())

    def change() -> None:
        with changing(project, "library"):
            order.append("second")

    thread = threading.Thread(target=change)
    with changing(project, "library"):
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_a_team_holds_its_right_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with alone(project, [SAMPLING]):
        monkeypatch.setenv("LOCAL_RANK", "1")
        with alone(project, [SAMPLING]):
            assert set(at_work(project)) == {SAMPLING}
        assert set(at_work(project)) == {SAMPLING}


def test_what_was_killed_here_stands_in_nobodys_way(project: Project) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(project.training_claims)], check=False)
    assert at_work(project) == {} and Claims(project.training_claims).is_taken("training Disc")
    began = time.monotonic()
    with alone(project, [training("Disc")]):
        assert at_work(project)["training Disc"].pid == os.getpid()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("lives", [True, False])
def test_another_machine_is_given_time_to_show_that_it_lives(
    project: Project, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    """A training that SLURM begins again must not fail for the claim of the one that it killed."""
    claims = Claims(project.training_claims)
    with monkeypatch.context() as patch:
        patch.setattr("pom.jobs.locks.place", lambda: ELSEWHERE)
        claim = claims.take("training Disc")
    assert claim is not None

    def look_later(seconds: float) -> None:
        if lives:
            claim.refresh()
        else:
            for path in Path(project.training_claims).iterdir():
                os.utime(path, (time.time() - 60, time.time() - 60))

    monkeypatch.setattr(time, "sleep", look_later)
    if lives:
        with pytest.raises(PomError, match="is training Disc already"), alone(project, [training("Disc")]):
            pass
    else:
        with alone(project, [training("Disc")]):
            assert at_work(project)["training Disc"].is_here
    claims.close()
