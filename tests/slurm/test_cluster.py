"""Jobs on a real SLURM of two nodes; see conftest.py."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.slurm.conftest import NODES, Cluster, wait_until

from pom.errors import PomError
from pom.jobs.slurm import SlurmJob, jobs, submit
from pom.project.slurm_settings import SlurmSettings

pytestmark = pytest.mark.slurm

WHOLE_NODE = SlurmSettings(cpus_per_task=2)
RESUMABLE = """\
trap 'echo saved >> progress; exit 143' TERM
echo "run on $SLURMD_NODENAME" >> progress
[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && exit 0
while true; do sleep 0.1; done
"""
"""Runs until it is told to stop; when it is run again, it is done."""


def bash(text: str) -> list[str]:
    return ["bash", "-c", text]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def states(logs: Path) -> list[str]:
    return [job.state for job in jobs(logs)]


def ended(logs: Path) -> bool:
    found = jobs(logs)
    return bool(found) and all(job.over for job in found)


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which jobs run; its name is one that needs quotes."""
    path = tmp_path / "a lab's 100% project"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def test_an_array_runs_on_both_nodes_and_each_element_has_its_log(folder: Path) -> None:
    logs = folder / "jobs" / "slurm"
    command = bash('sleep 1; echo "$SLURM_ARRAY_TASK_ID in $PWD on $SLURMD_NODENAME, $GREETING"; echo bad >&2')
    settings = SlurmSettings(partition="main", setup=("export GREETING='good day'",), extra=("--comment=x",))
    number = submit(settings, command, "four", logs, 4)
    wait_until(lambda: ended(logs), "the array has ended")
    found = jobs(logs)
    assert found == [SlurmJob(f"{number}_{i}", "four", "COMPLETED", job.node, "") for i, job in enumerate(found)]
    assert {job.node for job in found} == set(NODES)
    for i, job in enumerate(found):
        text = (logs / f"{number}_{i}.log").read_text()
        assert text == f"{i} in {folder} on {job.node}, good day\nbad\n"
    assert sorted(path.name for path in logs.iterdir() if path.suffix != ".log") == [f"{number}.json", f"{number}.sh"]
    assert json.loads((logs / f"{number}.json").read_text())["command"] == command
    assert "#SBATCH --array=0-3\n" in (logs / f"{number}.sh").read_text()


def test_jobs_tells_what_waits_and_what_failed(cluster: Cluster, folder: Path) -> None:
    logs = folder / "logs"
    failing = submit(SlurmSettings(), bash("exit 3"), "failing", logs, None)
    wait_until(lambda: states(logs) == ["FAILED"], "it has failed")
    assert jobs(logs)[0].reason == "NonZeroExitCode"
    waiting = submit(WHOLE_NODE, bash("sleep 60"), "long", logs, 3)
    wait_until(lambda: states(logs)[1:] == ["RUNNING", "RUNNING", "PENDING"], "two of three run")
    found = jobs(logs)
    assert [job.id for job in found] == [failing, *(f"{waiting}_{i}" for i in range(3))]
    assert (found[3].node, found[3].reason, found[3].over) == (None, "Resources", False)
    cluster.run("scancel", waiting)
    wait_until(lambda: ended(logs), "they are cancelled")
    assert states(logs) == ["FAILED", *["CANCELLED"] * 3]


def test_a_cancelled_job_may_save_what_it_has(cluster: Cluster, folder: Path) -> None:
    number = submit(SlurmSettings(), bash(RESUMABLE), "job", folder / "logs", None)
    wait_until(lambda: lines(folder / "progress"), "it runs")
    cluster.run("scancel", number)
    wait_until(lambda: states(folder / "logs") == ["CANCELLED"], "it is cancelled")
    assert set(lines(folder / "progress")[1:]) == {"saved"}


@pytest.mark.parametrize("how", [("scancel", "--batch", "--signal=USR1"), ("scontrol", "requeue")])
def test_a_job_that_is_requeued_saves_what_it_has_and_goes_on(
    cluster: Cluster, folder: Path, how: Sequence[str]
) -> None:
    """By the warning that its time is nearly up, or by an administrator."""
    number = submit(SlurmSettings(), bash(RESUMABLE), "job", folder / "logs", 1)
    wait_until(lambda: lines(folder / "progress"), "it runs")
    cluster.run(*how, f"{number}_0")
    wait_until(lambda: states(folder / "logs") == ["COMPLETED"], "it has run again")
    progress = [line.split(" on ")[0] for line in lines(folder / "progress")]
    # SLURM itself sends SIGTERM too, so that it may be heard twice.
    assert progress in (["run", "saved", "run"], ["run", "saved", "saved", "run"])


def test_the_element_of_a_node_that_dies_is_done_on_another(cluster: Cluster, folder: Path) -> None:
    logs = folder / "logs"
    command = bash('echo "$SLURMD_NODENAME" >> $SLURM_ARRAY_TASK_ID; until [ -e end ]; do sleep 0.1; done')
    submit(WHOLE_NODE, command, "job", logs, 2)
    wait_until(lambda: lines(folder / "0") and lines(folder / "1"), "both run")
    (victim,), (other,) = lines(folder / "1"), lines(folder / "0")
    assert {victim, other} == set(NODES)
    cluster.power_off(victim)
    (folder / "end").touch()
    wait_until(lambda: states(logs) == ["COMPLETED"] * 2, "all is done", 60)
    assert lines(folder / "1") == [victim, other]
    assert "DOWN" in cluster.node_state(victim)


def test_training_runs_on_all_nodes_and_all_of_it_may_save(cluster: Cluster, folder: Path) -> None:
    text = """\
        trap 'sleep 0.5; echo saved > saved-$SLURM_PROCID; exit 1' TERM
        echo "$SLURM_NTASKS $SLURM_CPUS_PER_TASK" > $SLURM_PROCID
        while true; do sleep 0.1; done
        """
    number = submit(SlurmSettings(nodes=2, cpus_per_task=2), bash(text), "training", folder / "logs", None)
    wait_until(lambda: lines(folder / "0") == lines(folder / "1") == ["2 2"], "both tasks run")
    cluster.run("scancel", "--batch", "--signal=USR1", number)
    wait_until(lambda: lines(folder / "saved-0") == lines(folder / "saved-1") == ["saved"], "both saved")
    wait_until(lambda: states(folder / "logs") == ["PENDING"], "it is in the queue again")


def test_the_size_of_a_job_does_not_pass_to_what_is_submitted_from_within(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_NONSENSE", "of the job around")
    submit(SlurmSettings(), bash('echo "${SLURM_NONSENSE:-nothing}"'), "inner", folder / "logs", None)
    wait_until(lambda: ended(folder / "logs"), "it has ended")
    (log,) = (folder / "logs").glob("*.log")
    assert log.read_text() == "nothing\n"


def test_slurm_refuses_a_job(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PomError, match=r"^SLURM does not take the job \(invalid partition specified: gpuu; .*\): mend"):
        submit(SlurmSettings(partition="gpuu"), ["true"], "job", folder / "logs", 2)
    assert jobs(folder / "logs") == []
    assert capfd.readouterr() == ("", "")


def test_jobs_that_slurm_has_forgotten_are_left_out(folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir()
    for old in (999_998, 999_999):
        (logs / f"{old}.json").write_text(json.dumps({"id": str(old), "name": "old"}))
        assert jobs(logs) == []
    number = submit(SlurmSettings(), ["true"], "new", logs, None)
    assert [job.id for job in jobs(logs)] == [number]


def test_the_command_line_reaches_the_program_as_it_is(folder: Path) -> None:
    submit(SlurmSettings(), ["printf", "%s|", "Nuclear Envelope", "$HOME", "it's", "*"], "job", folder / "logs", 1)
    wait_until(lambda: ended(folder / "logs"), "it has ended")
    (log,) = (folder / "logs").glob("*.log")
    assert log.read_text() == "Nuclear Envelope|$HOME|it's|*|"
