import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pom.jobs.slurm_script import job_script
from pom.project.slurm_settings import SlurmSettings

STUBBORN = 'trap "echo term >> heard; sleep 0.5; exit $STATUS" TERM; echo up > up; while true; do sleep 0.05; done'
"""A command that takes half a second to stop."""


def options(script: str) -> list[str]:
    """The options of sbatch, without quotes."""
    return [" ".join(shlex.split(line)[1:]) for line in script.splitlines() if line.startswith("#SBATCH")]


def test_the_script_of_an_array_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = SlurmSettings(
        partition="gpu", account="lab", gpus_per_node=4, cpus_per_task=16, mem="64G", time="1-00:00:00", nodes=3,
        extra=("--qos=low", "--exclusive"), setup=("module load cuda", 'source "my env/bin/activate"'),
    )  # fmt: skip
    script = job_script(settings, ["pom", "single", "process", "-o", "Nuclear Envelope"], "pom", tmp_path / "logs", 8)
    assert options(script) == [
        "--job-name=pom",
        f"--chdir={tmp_path}",
        f"--output={tmp_path}/logs/%A_%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--array=0-7",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--partition=gpu",
        "--account=lab",
        "--gpus-per-node=4",
        "--cpus-per-task=16",
        "--mem=64G",
        "--time=1-00:00:00",
        "--qos=low",
        "--exclusive",
    ]
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    first = lines.index("module load cuda")
    # What sbatch reads ends at the first line that is not a comment.
    assert all(line.startswith("#") or not line for line in lines[:first])
    assert lines[first + 1] == 'source "my env/bin/activate"'
    assert lines[-2:] == ["pom single process -o 'Nuclear Envelope' &", 'wait "$!"']


def test_what_is_left_to_the_cluster_is_not_in_the_script(tmp_path: Path) -> None:
    script = job_script(SlurmSettings(), ["pom", "shared", "train"], "train", tmp_path / "100% done", None)
    assert options(script) == [
        "--job-name=train",
        f"--chdir={Path.cwd()}",
        f"--output={tmp_path}/100%% done/%j.log",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--nodes=1",
        "--ntasks-per-node=1",
    ]
    assert "\npom shared train &\n" in script


def test_training_runs_once_per_gpu_on_all_nodes(tmp_path: Path) -> None:
    settings = SlurmSettings(gpus_per_node=2, nodes=3, cpus_per_task=4)
    script = job_script(settings, ["pom", "shared", "train"], "train", tmp_path, None)
    assert {"--nodes=3", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=4"} <= set(options(script))
    assert "\nsrun --kill-on-bad-exit=1 --cpus-per-task=4 pom shared train &\n" in script
    # srun itself would answer SIGTERM by killing its tasks.
    assert 'scancel --signal=TERM "$SLURM_JOB_ID"' in script
    assert "kill -TERM" not in script


def run(folder: Path, status: int, *signals: signal.Signals) -> int:
    """Runs the script of a stubborn command as a job does, sends signals to the shell alone, gives its status."""
    script = job_script(SlurmSettings(), ["bash", "-c", STUBBORN], "job", folder, None)
    (folder / "scontrol").write_text('#!/bin/bash\necho "$@" > requeued\n')
    (folder / "scontrol").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "STATUS": str(status), "SLURM_JOB_ID": "12"}
    with subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment) as shell:
        while not (folder / "up").exists():
            time.sleep(0.02)
        for number in signals:
            shell.send_signal(number)
            time.sleep(0.1)
        return shell.wait(20)


def test_sigterm_ends_the_command_and_nothing_is_requeued(tmp_path: Path) -> None:
    assert run(tmp_path, 3, signal.SIGTERM) == 3
    assert (tmp_path / "heard").read_text() == "term\n"
    assert not (tmp_path / "requeued").exists()


def test_the_job_goes_back_into_the_queue_when_its_time_is_nearly_up(tmp_path: Path) -> None:
    assert run(tmp_path, 3, signal.SIGUSR1) == 3
    assert (tmp_path / "heard").read_text() == "term\n"
    assert (tmp_path / "requeued").read_text() == "requeue 12\n"


def test_a_job_that_was_finished_all_the_same_is_not_requeued(tmp_path: Path) -> None:
    assert run(tmp_path, 0, signal.SIGUSR1) == 0
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGTERM])
def test_who_cancels_has_the_last_word_and_the_command_its_time_to_stop(tmp_path: Path, first: signal.Signals) -> None:
    started = time.monotonic()
    assert run(tmp_path, 3, first, signal.SIGTERM) == 3
    assert time.monotonic() - started > 0.5
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_status_of_the_job_is_that_of_the_command(tmp_path: Path, status: int) -> None:
    script = job_script(SlurmSettings(), ["bash", "-c", f"exit {status}"], "job", tmp_path, 2)
    assert subprocess.run(["bash", "-c", script], check=False).returncode == status
