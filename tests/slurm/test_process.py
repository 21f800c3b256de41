"""Tomograms segmented by jobs of a real SLURM of two nodes; see conftest.py. The network is random."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.slurm.conftest import NODES, Cluster, wait_until
from typer.testing import CliRunner

import pom
from pom.cli.main import app
from pom.io.checkpoints import save_network
from pom.io.mrc import MrcReader
from pom.jobs.claims import Claims
from pom.jobs.ledger import Ledger, Record
from pom.jobs.slurm import jobs
from pom.project.paths import CONFIGURATION_FILE, SHARED_STEP, Project

pytestmark = pytest.mark.slurm

NAMES = tuple(f"TS_{number:02}" for number in range(1, 13))
OUTPUTS = ("Disc", "Square", "Unknown")
POM = [sys.executable, "-m", "pom"]
PATIENCE = 60.0
"""Seconds for one step of a test: two processes import PyTorch on a machine that may be busy."""


@pytest.fixture
def project(
    cluster: Cluster, make_project: Callable[..., Project], random_network: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:  # fmt: skip
    """In the current folder, with a joint network so large that a tomogram takes some time."""
    made = make_project(tomograms=NAMES, shared_model_runs_per_volume=8)
    (made.folder / CONFIGURATION_FILE).write_text(made.configuration.model_dump_json(by_alias=True))
    save_network(made.joint_network, *random_network("joint", OUTPUTS, widths=(64, 128, 256)))
    monkeypatch.chdir(made.folder)
    # SLURM hands both on to the jobs.
    monkeypatch.setenv("PYTHONPATH", str(Path(pom.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Project.open(Path())


def submit() -> None:
    """Submits two workers, each of which takes a whole node."""
    line = ["shared", "process", "-gpus", "-1", "--slurm", "--array-size", "2", "--cpus-per-task=2"]
    done = subprocess.run([*POM, *line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "an array of 2. Logs: jobs/slurm. How far it is: pom status" in done.stdout


def status() -> tuple[dict[str, Any], list[str]]:
    """What 'pom status --json' says of the step, and the states of SLURM's jobs."""
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    (step,) = document["steps"]
    assert step["step"] == SHARED_STEP
    return step, [job["state"] for job in document["jobs"]]


def ledger(project: Project) -> Ledger:
    return Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP))


def records(project: Project) -> dict[str, Record]:
    return {record.tomogram: record for record in ledger(project).records()}


def workers_of(project: Project) -> dict[str, list[int]]:
    """The processes that now have a tomogram, by node; both nodes give the name of this machine as their own."""
    found: dict[str, list[int]] = {node: [] for node in NODES}
    for holder in Claims(project.jobs(SHARED_STEP) / "claims").holders().values():
        try:
            environment = Path(f"/proc/{holder.pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        (node,) = (node for node in NODES if f"SLURMD_NODENAME={node}".encode() in environment)
        found[node].append(holder.pid)
    return found


def watch_to_the_end(project: Project) -> dict[str, set[float]]:
    """Waits until the array has ended; when each tomogram was begun, once for each time that it was done."""
    begun: dict[str, set[float]] = {}

    def ended() -> bool:
        for name, record in records(project).items():
            begun.setdefault(name, set()).add(record.started)
        found = jobs(project.slurm_jobs)
        return len(found) == 2 and all(job.over for job in found)

    wait_until(ended, "the array has ended", PATIENCE)
    return begun


def assert_all_done(project: Project) -> None:
    """Every tomogram has whole outputs and a record; nobody has any; no try failed."""
    assert sorted(records(project)) == list(NAMES)
    for name in NAMES:
        for ontology in OUTPUTS:
            with MrcReader(project.output(name, ontology)) as reader:
                assert reader.header.shape == (6, 32, 36)
                assert len(reader.read(0, 6)) == 6
    assert {path.name for path in project.output_dir.iterdir() if not path.name.startswith(".")} == {
        "records", *(project.output(name, ontology).name for name in NAMES for ontology in OUTPUTS)
    }  # fmt: skip
    assert list((project.jobs(SHARED_STEP) / "claims").iterdir()) == []
    assert ledger(project).failures() == {}
    now, at_work = status()
    assert (now["total"], now["waiting"], now["running"], now["done"], now["failed"]) == (12, 0, [], 12, {})
    assert at_work == []


def freeze_workers(project: Project) -> dict[str, int]:
    """Waits until both nodes work, and holds each up in the middle of a tomogram: the worker's process, by node."""
    frozen: dict[str, int] = {}

    def freeze() -> bool:
        for node, pids in workers_of(project).items():
            for pid in pids if node not in frozen else ():
                os.kill(pid, signal.SIGSTOP)
                if pid in workers_of(project)[node]:
                    frozen[node] = pid
                else:
                    os.kill(pid, signal.SIGCONT)
        return len(frozen) == len(NODES)

    wait_until(freeze, "both nodes work", PATIENCE)
    return frozen


def test_an_array_does_each_tomogram_once(project: Project) -> None:
    submit()
    workers = freeze_workers(project)
    now, at_work = status()
    assert (len(now["running"]), at_work) == (2, ["RUNNING"] * 2)
    assert {run["device"] for run in now["running"]} <= {"cpu", ""}
    assert now["waiting"] + now["done"] + 2 == now["total"] == len(NAMES)
    for pid in workers.values():
        os.kill(pid, signal.SIGCONT)
    begun = watch_to_the_end(project)
    assert [len(begun[name]) for name in NAMES] == [1] * len(NAMES)
    found = jobs(project.slurm_jobs)
    assert [(job.state, job.name) for job in found] == [("COMPLETED", "pom shared process")] * 2
    assert {job.node for job in found} == set(NODES)
    assert_all_done(project)
    for job in found:
        assert " segmented" in (project.slurm_jobs / f"{job.id}.log").read_text()
    assert len(list((project.jobs(SHARED_STEP) / "logs").glob("*.log"))) == 2


def let_time_pass(project: Project, pid: int, seconds: float = 120.0) -> None:
    """Two lifetimes of a claim in which a dead process has not put off its end, without waiting for them."""
    for path in (project.jobs(SHARED_STEP) / "claims").glob(f"*|{pid}|*"):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_what_a_node_had_that_dies_is_done_by_the_other(cluster: Cluster, project: Project) -> None:
    submit()
    workers = freeze_workers(project)
    victim, other = NODES
    cluster.power_off(victim)
    assert status()[0]["done"] < len(NAMES)
    os.kill(workers[other], signal.SIGCONT)
    let_time_pass(project, workers[victim])
    begun = watch_to_the_end(project)
    assert [len(begun[name]) for name in NAMES] == [1] * len(NAMES)
    # That of the dead node has been requeued, and found nothing left to do.
    assert [(job.state, job.node) for job in jobs(project.slurm_jobs)] == [("COMPLETED", other)] * 2
    assert "DOWN" in cluster.node_state(victim)
    assert_all_done(project)


def test_workers_whose_time_is_nearly_up_let_go_and_come_back(cluster: Cluster, project: Project) -> None:
    submit()
    wait_until(lambda: any(workers_of(project).values()), "a node works", PATIENCE)
    (number,) = {job.id.split("_")[0] for job in jobs(project.slurm_jobs)}
    cluster.run("scancel", "--batch", "--signal=USR1", number)
    # Within less than a claim needs to expire.
    begun = watch_to_the_end(project)
    assert [len(begun[name]) for name in NAMES] == [1] * len(NAMES)
    found = jobs(project.slurm_jobs)
    assert [job.state for job in found] == ["COMPLETED"] * 2
    assert "Interrupted: " in "".join((project.slurm_jobs / f"{job.id}.log").read_text() for job in found)
    assert_all_done(project)
