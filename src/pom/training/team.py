"""The processes that train one network together: who starts them, how many there are, and how they stop together.

Importing this module brings neither torch nor Lightning, since the console asks it who may speak.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.networks.devices import Devices

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment


@dataclass(frozen=True)
class Team:
    """The processes of a training: ``per_node`` on each of ``nodes`` servers."""

    nodes: int = 1
    per_node: int = 1
    started_by_srun: bool = False
    """Whether SLURM has started all of them; else Lightning starts the others."""

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.nodes * self.per_node

    def environment(self) -> "ClusterEnvironment":
        """Who tells Lightning about the other processes.

        It is named, since Lightning takes any job of SLURM for one whose processes srun has started, and would wait
        for them for ever where it has not. Going back into the queue is the job script's business.
        """
        from lightning.fabric.plugins.environments.lightning import LightningEnvironment
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

        return SLURMEnvironment(auto_requeue=False) if self.started_by_srun else LightningEnvironment()


def team_of(devices: Devices) -> tuple[Team, Devices]:
    """The processes that train on ``devices``, and the devices of each node: one GPU for each of its processes.

    Raises:
        PomError: srun has started more processes on this node than it shows them GPUs.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1:
        return Team(per_node=max(1, len(devices.gpus))), devices
    nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
    per_node = tasks // nodes
    if devices.gpus and len(devices.gpus) < per_node:
        raise PomError(
            f"{per_node} processes are to train on each node, but see only {len(devices.gpus)} of its GPUs: let "
            f"gpus_per_node and -gpus agree, and let no option of sbatch bind tasks to GPUs."
        )
    return Team(nodes, per_node, started_by_srun=True), Devices(devices.gpus[:per_node])


def is_first_process(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks and writes for all that train together; true where it works alone."""
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return environment["SLURM_PROCID"] == "0"
    return environment.get("LOCAL_RANK", "0") == "0"
