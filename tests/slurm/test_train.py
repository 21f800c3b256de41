"""A network trained by two nodes of a real SLURM together; see conftest.py. The patches are random."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.slurm.conftest import NODES, Cluster, wait_until

import pom
from pom.io.channels import Preprocessing
from pom.io.checkpoints import load_network
from pom.jobs.slurm import jobs
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.sampling.patches import JointPatchSet

pytestmark = pytest.mark.slurm

EPOCHS = 40
PATIENCE = 90.0
"""Seconds for one step of the test: two processes import PyTorch on a machine that may be busy."""


def random_patches(n: int) -> JointPatchSet:
    random = np.random.default_rng(0)
    everywhere = np.ones((n, 32, 32), np.bool_)
    # Validated by boxes, which never end a training early.
    validation = np.arange(n) % 4 == 3
    return JointPatchSet(
        images=random.normal(size=(n, 1, 32, 32)).astype(np.float32), drawn=random.random((n, 32, 32)) < 0.3,
        boxed=everywhere, inside=everywhere, ontologies=np.array(["Disc"] * n), tomograms=np.array(["TS_1"] * n),
        centres=np.zeros((n, 3), np.int64), corners=np.zeros((n, 3), np.int64), validation=validation, pixel_size=10.0,
        preprocessing=Preprocessing(channels=("Density",), z_sum=1, binning=(1, 1, 1)).model_dump_json(),
        labels=random.integers(0, 2, (n, 32, 32)).astype(np.uint8), outputs=np.array(["Disc", "Unknown"]),
        unknown_threshold=0.33,
    )  # fmt: skip


@pytest.fixture
def project(cluster: Cluster, make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> Project:
    """In the current folder, with patches for a joint network."""
    # The nodes of this cluster are names that lead nowhere.
    slurm = {"nodes": 2, "cpus_per_task": 2, "setup": ["export MASTER_ADDR=127.0.0.1"]}
    made = make_project(tomograms=(), shared_model_epochs=EPOCHS, slurm=slurm)
    (made.folder / CONFIGURATION_FILE).write_text(made.configuration.model_dump_json(by_alias=True))
    made.joint_dataset.parent.mkdir(parents=True)
    random_patches(16).save(made.joint_dataset)
    monkeypatch.chdir(made.folder)
    # SLURM hands both on to the job.
    monkeypatch.setenv("PYTHONPATH", str(Path(pom.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Project.open(Path())


def epochs(project: Project) -> list[int]:
    """Those in the history of the training."""
    path = project.joint_network / "history.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return [int(row.split(",")[0]) for row in rows]


def nodes_at_work(project: Project) -> set[str]:
    """The nodes on which a process trains; both give the name of this machine as their own."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # no process, or gone
            continue
        if b"\0pom\0shared\0train\0" in command and b"srun" not in command:
            found |= {node for node in NODES if f"SLURMD_NODENAME={node}".encode() in environment}
    return found


def test_two_nodes_train_together_and_go_on_after_their_time_was_up(cluster: Cluster, project: Project) -> None:
    line = [sys.executable, "-m", "pom", "shared", "train", "-gpus", "-1", "--slurm"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" on 2 nodes. Logs: jobs/slurm. How far it is: pom status\n")
    (job,) = jobs(project.slurm_jobs)
    wait_until(lambda: len(epochs(project)) > 1, "the first epochs are done", PATIENCE)
    assert nodes_at_work(project) == set(NODES)
    cluster.run("scancel", "--batch", "--signal=USR1", job.id)
    wait_until(lambda: not nodes_at_work(project), "both have stopped", PATIENCE)
    reached = len(epochs(project))
    assert reached < EPOCHS
    assert not (project.joint_network / "card.json").exists()
    wait_until(lambda: all(job.over for job in jobs(project.slurm_jobs)), "the job has ended", PATIENCE)
    assert [job.state for job in jobs(project.slurm_jobs)] == ["COMPLETED"]
    assert epochs(project) == list(range(1, EPOCHS + 1))
    _, card = load_network(project.joint_network, "pom shared train")
    assert card.training.epochs == EPOCHS
    log = (project.slurm_jobs / f"{job.id}.log").read_text()
    assert log.count("Interrupted: give the same command again to go on.") == len(NODES)
    # One of the two speaks.
    assert log.count("Going on with the interrupted training in") == 1
    assert log.count("Validation") == 1
