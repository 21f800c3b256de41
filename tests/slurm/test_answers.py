"""What SLURM's programs may answer, told by stand-ins; test_cluster.py asks the real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.jobs import slurm
from pom.jobs.slurm import SlurmJob, jobs, submit
from pom.project.slurm_settings import SlurmSettings


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets programs be found and no others: ``programs(squeue="echo answer; exit 1")``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(**texts: str) -> None:
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/bash\nPATH=/usr/bin:/bin\n{text}\n")
            (folder / name).chmod(0o755)

    return make


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Notes of the jobs 7, 12 and 100."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in (7, 12, 100):
        (folder / f"{number}.json").write_text(json.dumps({"id": str(number), "name": f"job {number}"}))
    return folder


def test_a_project_that_submitted_nothing_asks_nobody(tmp_path: Path, programs: Callable[..., None]) -> None:
    programs(squeue=f"touch {tmp_path}/asked")
    assert jobs(tmp_path / "logs") == []
    assert not (tmp_path / "asked").exists()


def test_what_squeue_has_forgotten_sacct_may_know(logs: Path, programs: Callable[..., None]) -> None:
    programs(
        squeue="echo '12_0|RUNNING|gpu[3-4]|None'; echo '12_1|PENDING||Priority'; echo '99|RUNNING|a|None'",
        sacct='[ "${@: -1}" = --jobs=7,100 ] || [ "${@: -1}" = --jobs=100,7 ] || exit 1\n'
        "echo '100_[2-3%1]|PENDING|None assigned|0:0'; echo '100_0|CANCELLED by 1000|gpu7|0:15'\n"
        "echo '100_1|COMPLETED|gpu7|0:0'; echo '7|OUT_OF_MEMORY|gpu1|0:125'; echo '7.batch|FAILED|gpu1|1:0'",
    )
    assert jobs(logs) == [
        SlurmJob("7", "job 7", "OUT_OF_MEMORY", "gpu1", "exit status 0:125"),
        SlurmJob("12_0", "job 12", "RUNNING", "gpu[3-4]", ""),
        SlurmJob("12_1", "job 12", "PENDING", None, "Priority"),
        SlurmJob("100_0", "job 100", "CANCELLED", "gpu7", "exit status 0:15"),
        SlurmJob("100_1", "job 100", "COMPLETED", "gpu7", ""),
        SlurmJob("100_2", "job 100", "PENDING", None, ""),
        SlurmJob("100_3", "job 100", "PENDING", None, ""),
    ]
    assert [job.over for job in jobs(logs)] == [True, False, False, True, True, False, False]


def test_a_cluster_without_accounts_is_no_fault(logs: Path, programs: Callable[..., None]) -> None:
    programs(
        squeue="echo '12|FAILED|n1|NonZeroExitCode'", sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1"
    )
    assert jobs(logs) == [SlurmJob("12", "job 12", "FAILED", "n1", "NonZeroExitCode")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "squeue is not on this machine"),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
         "slurm_load_jobs error: Unable to contact slurm controller"),
        ("exit 2", "squeue failed with status 2"),
        ("exec sleep 20", "squeue did not answer within 0.5 s"),
    ],
)  # fmt: skip
def test_where_slurm_does_not_answer_the_jobs_are_unknown(
    logs: Path, programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch, answer: str | None, reason: str
) -> None:
    monkeypatch.setattr(slurm, "SECONDS_TO_ANSWER", 0.5)
    if answer is not None:
        programs(squeue=answer)
    found = jobs(logs)
    assert {job.id for job in found} == {"7", "12", "100"}
    assert {(job.state, job.node, job.reason, job.over) for job in found} == {("UNKNOWN", None, reason, False)}


def test_only_the_latest_jobs_are_asked_about(
    logs: Path, programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slurm, "REMEMBERED", 2)
    (logs / "100.json").write_text("{")
    programs(squeue="echo '12|RUNNING|n1|None'; echo '7|RUNNING|n1|None'")
    assert [job.id for job in jobs(logs)] == ["12"]
    assert "100.json is not valid JSON" in caplog.text


def test_submitting_needs_slurm(tmp_path: Path, programs: Callable[..., None]) -> None:
    with pytest.raises(PomError, match="sbatch and srun are not on this machine"):
        submit(SlurmSettings(), ["true"], "job", tmp_path / "logs", None)


def test_a_job_that_cannot_be_noted_is_cancelled(tmp_path: Path, programs: Callable[..., None]) -> None:
    logs = tmp_path / "logs"
    # The folder is gone, and cannot be made again, when the note is to be written.
    sbatch = f"rmdir {logs}; touch {logs}; echo 'Submitted batch job 12'"
    programs(sbatch=sbatch, srun="", scancel=f"echo $@ > {tmp_path}/cancelled")
    with pytest.raises(PomError, match=r"12\.sh cannot be written"):
        submit(SlurmSettings(), ["true"], "job", logs, None)
    assert (tmp_path / "cancelled").read_text() == "12\n"


def test_an_answer_without_a_number_is_told(tmp_path: Path, programs: Callable[..., None]) -> None:
    programs(sbatch="echo 'see you later'", srun="")
    with pytest.raises(PomError, match="see you later"):
        submit(SlurmSettings(), ["true"], "job", tmp_path / "logs", None)
