"""Training and the cutting of patches are done once at a time, whoever begins them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.jobs.claims import Claims
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow.alone import SAMPLING, alone, at_work, refusal, training
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
            assert at_work(project)["training Disc"].place == socket.gethostname()
    claims.close()
