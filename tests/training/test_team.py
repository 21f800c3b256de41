"""Who trains together, by what SLURM and Lightning tell each process."""

import pytest

from pom.errors import PomError
from pom.networks.devices import Devices
from pom.training.team import Team, is_first_process, team_of

STEP = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2"}


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that srun has started, one of four on each of two nodes."""
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("gpus", "processes"), [((), 1), ((1,), 1), ((0, 2, 3), 3)])
def test_on_one_server_there_is_a_process_for_each_gpu(gpus: tuple[int, ...], processes: int) -> None:
    assert team_of(Devices(gpus)) == (Team(1, processes), Devices(gpus))


def test_a_job_on_one_node_without_srun_is_like_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    team, _ = team_of(Devices((0, 1)))
    assert team == Team(1, 2)
    assert not team.environment().creates_processes_externally


@pytest.mark.usefixtures("step")
def test_srun_has_started_all_processes() -> None:
    team, devices = team_of(Devices((0, 1, 2, 3)))
    assert (team, devices, team.size) == (Team(2, 4, started_by_srun=True), Devices((0, 1, 2, 3)), 8)
    assert team_of(Devices((0, 1, 2, 3, 4, 5)))[1] == Devices((0, 1, 2, 3))
    assert team_of(Devices())[0] == team


@pytest.mark.usefixtures("step")
def test_a_process_that_does_not_see_its_gpu() -> None:
    with pytest.raises(PomError, match="4 processes are to train on each node, but see only 1 of its GPUs: let"):
        team_of(Devices((0,)))


def test_one_process_speaks_for_all() -> None:
    assert is_first_process({})
    assert is_first_process({"LOCAL_RANK": "0"})
    assert not is_first_process({"LOCAL_RANK": "1"})
    assert is_first_process({**STEP, "SLURM_PROCID": "0"})
    assert not is_first_process({**STEP, "SLURM_PROCID": "4", "LOCAL_RANK": "0"})
    # In the script of a job, not in a step of several tasks.
    assert is_first_process({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"})
