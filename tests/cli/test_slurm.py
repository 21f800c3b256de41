"""Commands that submit themselves to SLURM; what a cluster does with the jobs is in tests/slurm/."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pom.cli.main import app
from pom.cli.slurm import without_slurm_options
from pom.jobs.slurm_script import job_script
from pom.project.slurm_settings import SlurmSettings

CONFIGURED: dict[str, Any] = {
    "partition": "gpu", "gpus_per_node": 4, "mem": "64G", "array_size": 3, "extra": ["--qos=low"],
    "setup": ["module load cuda"],
}  # fmt: skip
POM = [sys.executable, "-m", "pom"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's, and the current one; nothing in it but the configuration."""
    path = tmp_path / "a project"
    path.mkdir()
    configuration = {"ontologies": ["A b", "Disc"], "slurm": CONFIGURED}
    (path / "project_configuration.json").write_text(json.dumps(configuration))
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What is handed to SLURM, which stands aside here."""
    calls: list[tuple[object, ...]] = []

    def submit(*arguments: object) -> str:
        calls.append(arguments)
        return "12"

    monkeypatch.setattr("pom.jobs.slurm.submit", submit)
    return calls


def listed(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]


def sbatch_options(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_the_job_script_is_that_of_the_configuration(folder: Path) -> None:
    result = run("shared", "process", "-gpus", "0,1", "--slurm", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    command = [*POM, "shared", "process", "-gpus", "0,1"]
    settings = SlurmSettings(**CONFIGURED)
    assert result.stdout == job_script(settings, command, "pom shared process", folder / "jobs" / "slurm", 3)
    assert sbatch_options(result.stdout) == [
        "job-name='pom shared process'",
        f"chdir='{folder}'",
        f"output='{folder}/jobs/slurm/%A_%a.log'",
        "open-mode=append",
        "requeue",
        "signal=B:USR1@120",
        "array=0-2",
        "nodes=1",
        "ntasks-per-node=1",
        "partition=gpu",
        "gpus-per-node=4",
        "mem=64G",
        "qos=low",
    ]
    assert "\nmodule load cuda\n\n" in result.stdout
    assert f"\n\n{sys.executable} -m pom shared process -gpus 0,1 &\n" in result.stdout


def test_what_the_command_line_says_takes_the_place_of_the_configuration(folder: Path) -> None:
    result = run(
        "single", "process", "--partition", "long", "-o", "A b", "--slurm", "--time=1-12:00:00", "--array-size", "5",
        "--account=lab", "--cpus-per-task", "8", "--mem=1T", "--gpus-per-node", "2", "--dry-run", "--outdated",
        "--extra=--qos=high", "--extra", "--exclusive", "--setup", "source 'my env/bin/activate'",
    )  # fmt: skip
    assert (result.exit_code, result.stderr) == (0, "")
    settings = SlurmSettings(
        partition="long", account="lab", gpus_per_node=2, cpus_per_task=8, mem="1T", time="1-12:00:00", array_size=5,
        extra=("--qos=high", "--exclusive"), setup=("source 'my env/bin/activate'",),
    )  # fmt: skip
    command = [*POM, "single", "process", "-o", "A b", "--outdated"]
    assert result.stdout == job_script(settings, command, "pom single process", folder / "jobs" / "slurm", 5)
    assert f"\n{sys.executable} -m pom single process -o 'A b' --outdated &\n" in result.stdout


def test_a_dry_run_writes_nothing_and_needs_no_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for options in (["--slurm", "--dry-run"], ["--dry-run"]):
        result = run("shared", "process", *options)
        assert result.exit_code == 0
        assert result.stdout.startswith("#!/bin/bash\n")
    assert listed(folder) == ["project_configuration.json"]


def test_a_job_is_submitted_as_it_is_shown(folder: Path, submitted: list[tuple[object, ...]]) -> None:
    result = run("single", "process", "--slurm", "--array-size=2", "-o", "Disc", "-outdated", "1")
    assert result.exit_code == 0
    settings = SlurmSettings(**{**CONFIGURED, "array_size": 2})
    command = [*POM, "single", "process", "-o", "Disc", "-outdated", "1"]
    assert submitted == [(settings, command, "pom single process", Path("jobs/slurm"), 2)]
    assert result.stdout == "Submitted as job 12, an array of 2. Logs: jobs/slurm. How far it is: pom status\n"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (["shared", "train", "-checkpoint", "."], ["shared", "train", "-checkpoint", "."]),
        (["single", "train", "--all"], ["single", "train", "--all"]),
        (["single", "train", "-o", "A b", "-c", "0"], ["single", "train", "-o", "A b", "-c", "0"]),
    ],
)
def test_training_is_one_job_of_all_nodes(
    folder: Path, submitted: list[tuple[object, ...]], line: list[str], command: list[str]
) -> None:
    assert run(*line, "--slurm", "--nodes", "2").stdout == (
        "Submitted as job 12 on 2 nodes. Logs: jobs/slurm. How far it is: pom status\n"
    )
    settings = SlurmSettings(**{**CONFIGURED, "nodes": 2})
    name = " ".join(["pom", *line[:2]])
    assert submitted == [(settings, [*POM, *command], name, Path("jobs/slurm"), None)]
    shown = run(*line, "--dry-run", "--nodes=2").stdout
    assert shown == job_script(settings, [*POM, *command], name, folder / "jobs" / "slurm", None)
    assert {"nodes=2", "ntasks-per-node=4", "gpus-per-node=4"} <= set(sbatch_options(shown))
    assert run(*line, "--slurm").stdout.startswith("Submitted as job 12. Logs:")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ([], []),
        (["--slurm"], []),
        (["-gpus", "-1", "--slurm", "--dry-run"], ["-gpus", "-1"]),
        (["--mem", "64G", "-o", "A b"], ["-o", "A b"]),
        (["--mem=64G", "-o", "A b"], ["-o", "A b"]),
        (["--extra", "--mem=64G", "--workers", "2"], ["--workers", "2"]),
        (["--extra", "--slurm", "--workers=2"], ["--workers=2"]),
        (["--setup", "a=1 b", "--setup=export c=--mem", "--outdated"], ["--outdated"]),
        (["-o", "mem", "--gpus=0", "time"], ["-o", "mem", "--gpus=0", "time"]),
    ],
)
def test_the_job_runs_the_line_without_the_options_of_slurm(line: list[str], kept: list[str]) -> None:
    assert without_slurm_options(line) == kept


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            ["shared", "process", "--mem", "64G"],
            "--mem says what a job asks for: give --slurm too, or leave it out.",
        ),
        (
            ["single", "process", "-o", "Disc", "--array-size=2"],
            "--array-size says what a job asks for: give --slurm too, or leave it out.",
        ),
        (
            ["shared", "process", "--slurm", "--overwrite"],
            "--overwrite cannot be submitted, since every worker would make again what the others have just made: use"
            " --outdated, or remove the outputs.",
        ),
        (
            ["shared", "process", "--slurm", "--mem", "much"],
            'What the job is to ask for holds \'mem\': "much", which must be the memory of a node, such as "64G", or'
            " null.",
        ),
        (
            ["shared", "process", "--dry-run", "--time=1"],
            'What the job is to ask for holds \'time\': "1", which must be 5 minutes or more, such as "1-12:00:00" (a'
            ' day and a half), "12:00:00" or "720", or null.',
        ),
        (
            ["shared", "process", "--slurm", "--array-size", "0"],
            "What the job is to ask for holds 'array_size': 0, which must be a whole number, 1 or more.",
        ),
        (
            ["single", "process", "-o", "Disc", "--slurm", "--extra", "qos=low"],
            "What the job is to ask for holds 'extra': [\"qos=low\"], which must be a list of options of sbatch, such"
            ' as ["--qos=low"].',
        ),
        # What would only be found out when the job has waited its time in the queue.
        (["single", "train", "--slurm"], "Which ontology? Give -o NAME, one of A b, Disc, or --all."),
        (["shared", "train", "--nodes", "2"], "--nodes says what a job asks for: give --slurm too, or leave it out."),
        (["single", "process", "--slurm"], "Which ontology? Give -o NAME, one of A b, Disc."),
        (
            ["single", "process", "--dry-run", "-o", "disc"],
            "There is no ontology 'disc' (did you mean 'Disc'?): the project has A b, Disc.",
        ),
    ],
)
def test_a_fault_is_one_sentence_and_nothing_is_submitted(
    folder: Path, submitted: list[tuple[object, ...]], line: list[str], message: str
) -> None:
    result = run(*line)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {message}\n")
    assert submitted == []
    assert listed(folder) == ["project_configuration.json"]


def test_pretraining_again_may_be_submitted_since_it_is_one_job(
    folder: Path, submitted: list[tuple[object, ...]]
) -> None:
    assert run("pretrain", "-steps", "100", "--slurm", "--overwrite").exit_code == 0
    assert submitted[0][1] == [*POM, "pretrain", "-steps", "100", "--overwrite"]


def test_overwrite_switched_off_may_be_submitted(folder: Path, submitted: list[tuple[object, ...]]) -> None:
    assert run("shared", "process", "--slurm", "--overwrite", "0").exit_code == 0
    assert submitted[0][1] == [*POM, "shared", "process", "--overwrite", "0"]


def test_without_slurm_on_this_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    result = run("shared", "process", "--slurm")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: SLURM's sbatch and srun are not on this machine: submit where your cluster has them.\n"
    )
