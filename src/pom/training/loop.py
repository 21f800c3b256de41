"""The loop around Lightning's trainer: interrupted, resumed, short of memory, on one device or several."""

import copy
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from torch import nn

from pom.errors import PomError
from pom.networks.devices import Devices
from pom.training.callbacks import History
from pom.training.data import Examples, PatchData
from pom.training.plan import Plan
from pom.training.state import TrainingState, WholeCheckpoints
from pom.training.task import NetworkTask, Schedule
from pom.training.team import Team, team_of

log = logging.getLogger(__name__)

Task = TypeVar("Task", bound=NetworkTask)


@dataclass(frozen=True)
class Learnt(Generic[Task]):
    """What the loop gives."""

    task: Task
    """Its network has the averaged weights and is in evaluation mode, on the CPU."""
    history: list[dict[str, float]]
    epochs: int


def learn(
    network: nn.Module,
    make_task: Callable[[Schedule], Task],
    training: Examples,
    validation: Examples,
    batch_size: int,
    plan: Plan,
    devices: Devices,
    folder: Path,
    title: str,
    mark: str,
) -> Learnt[Task]:
    """Trains a network, going on where the same training was interrupted.

    Args:
        network: with its first weights.
        make_task: what Lightning trains, made of that network.
        training: what to learn from.
        validation: what to judge by, may be none.
        batch_size: examples per step over all devices.
        plan: how to train.
        devices: where; several GPUs train together, and all processes of a job that srun has started.
        folder: gets ``history.csv`` and the checkpoints; they stay until ``forget_training``.
        title: of the progress.
        mark: the fingerprint of the training, by which it goes on.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what was reached is kept.
        PomError: not even one example fits into memory, a process of the job lacks its GPU, or somebody has removed
            the checkpoints meanwhile.
    """
    team, devices = team_of(devices)
    state = TrainingState(folder, mark, plan, bool(len(validation)))
    first_weights = copy.deepcopy(network.state_dict())
    pieces = 1
    while True:
        network.load_state_dict(first_weights)
        history = History(folder / "history.csv")
        per_process = max(1, batch_size // (team.size * pieces))
        data = PatchData(training, validation, per_process, plan.seed)
        steps = math.ceil(data.batches_per_epoch(team.size) / pieces) * plan.epochs
        task = make_task(Schedule(plan.learning_rate, steps))
        callbacks = [history, *state.callbacks(title)]
        try:
            with _quiet():
                trainer = _trainer(plan, team, devices, callbacks, pieces)
                trainer.fit(task, datamodule=data, ckpt_path=state.checkpoint(), weights_only=True)
            break
        except torch.OutOfMemoryError:
            if per_process == 1:
                raise PomError(f"{title}: not even one patch fits into GPU memory; use a GPU with more.") from None
            pieces *= 2
            log.warning("%s: out of GPU memory; going on with %d patches at a time.", title, per_process // 2)
            del trainer, task
            torch.cuda.empty_cache()
        except SystemExit as interrupted:  # Lightning leaves so after Ctrl-C
            raise KeyboardInterrupt from interrupted
    if trainer.interrupted:
        raise KeyboardInterrupt
    task.cpu().eval()
    state.restore(task)
    return Learnt(task, history.rows, trainer.current_epoch)


def _trainer(plan: Plan, team: Team, devices: Devices, callbacks: list[Callback], pieces: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator="gpu" if devices.gpus else "cpu",
        devices=list(devices.gpus) if devices.gpus else team.per_node,
        num_nodes=team.nodes,
        strategy="ddp" if team.size > 1 else "auto",
        plugins=[team.environment(), WholeCheckpoints()],
        precision="bf16-mixed" if plan.bf16 else "32-true",
        max_epochs=plan.epochs,
        accumulate_grad_batches=pieces,
        callbacks=callbacks,
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class _quiet(warnings.catch_warnings):  # noqa: N801
    """Keeps Lightning's advice to programmers from the person who trains."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return entered
