"""A real SLURM of two nodes on this machine, started for the tests and stopped after them."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NODES = ("n1", "n2")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")

CONFIGURATION = """
ClusterName=pom
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
# What is requeued waits as long as its old credential is valid, by default two minutes; 5 s is the least.
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# What the nodes say they have is believed: this machine may have less.
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PartitionName=main Nodes={nodes} Default=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Asks again and again; fails the test when the time is over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


class Cluster:
    """The daemons of a SLURM in a folder of its own. Each node has 2 CPUs, whatever the machine has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        port, *node_ports = free_ports(1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        text = CONFIGURATION.format(folder=self.folder, host=host, port=port, nodes=",".join(NODES))
        for node, node_port in zip(NODES, node_ports, strict=True):
            text += f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=2\n"
        (self.folder / "slurm.conf").write_text(text)
        self._start_munge()
        self._start("slurmctld", "slurmctld", "-D", "-i")
        for node in NODES:
            self.start_node(node)

    def start_node(self, node: str) -> None:
        """Starts a node and waits until it takes jobs."""
        self._start(node, "slurmd", "-D", "-N", node, POM_TEST_NODE=node)
        wait_until(lambda: self.node_state(node) in ("IDLE", "MIXED", "ALLOCATED"), f"{node} is up")

    def power_off(self, node: str) -> None:
        """Kills all that runs on a node, in an order in which nobody is left to report it, and tells SLURM.

        SLURM would find out by itself, after minutes on most clusters.
        """
        self._daemons.pop(node).kill()
        for key in (f"POM_TEST_NODE={node}", f"SLURMD_NODENAME={node}"):
            self._kill_processes(key)
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def node_state(self, node: str) -> str:
        """IDLE, MIXED, DOWN, ...; a node that does not answer bears a star."""
        return self.run("sinfo", "--noheader", "--nodes", node, "--format=%T", check=False).strip().upper()

    def run(self, *command: str, check: bool = True) -> str:
        """What a command of SLURM writes."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=check
        ).stdout

    def stop(self) -> None:
        """Ends the jobs and all daemons; nothing that was started here stays."""
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._kill_processes(f"SLURM_CONF={self.environment['SLURM_CONF']}")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")]
        self._start("munged", "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *files)
        wait_until((self.folder / "munge.socket").exists, "munged is up")

    def _start(self, name: str, program: str, *options: str, **more: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [program, *options], env={**self.environment, **more}, stdout=output, stderr=output
            )

    def _kill_processes(self, setting: str) -> None:
        """Kills the processes that this cluster started and whose environment holds ``setting``."""
        for process in Path("/proc").iterdir():
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:  # no process, or gone
                continue
            ours = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode() in environment
            if ours and setting.encode() in environment and process.name != str(os.getpid()):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: a real SLURM needs slurm-wlm and munge (apt-get install)")
    if os.geteuid() != 0:
        pytest.skip("starting a real SLURM needs root")
    # Not below pytest's own folder: the path of a socket may have no more than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pom-slurm-", dir="/tmp"))
    folder.chmod(0o755)  # munged refuses a socket that others cannot reach
    cluster = Cluster(folder)
    try:
        try:
            cluster.start()
        except BaseException:
            sys.stderr.write("".join(path.read_text() for path in sorted(folder.glob("*.out"))))
            raise
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, found by SLURM's commands and without jobs; both nodes are up, also after the test."""
    monkeypatch.setenv("SLURM_CONF", running_cluster.environment["SLURM_CONF"])
    yield running_cluster
    running_cluster.run("scancel", "--user=root", check=False)
    wait_until(lambda: not running_cluster.run("squeue", "--noheader", check=False).strip(), "no job is left")
    for node in NODES:
        if running_cluster.node_state(node) not in ("IDLE", "MIXED", "ALLOCATED"):
            running_cluster.start_node(node)
