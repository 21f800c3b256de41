"""The loop around Lightning's trainer: interrupted, resumed, short of memory, on one device or several."""

import copy
import hashlib
import json
import logging
import math
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from torch import nn

from pom import __version__
from pom.errors import PomError
from pom.networks.devices import Devices
from pom.training.callbacks import History, ProgressLines, StopTogether, averaged_weights
from pom.training.data import Examples, PatchData
from pom.training.task import NetworkTask, Schedule
from pom.training.team import Team, is_first_process, team_of

log = logging.getLogger(__name__)

LEARNING_RATE = 3e-3
DECAY = 0.98
PATIENCE_SHARE = 0.4
STATE = ".training"
"""The folder, within a network's own, of what is kept of a training that goes on."""

Task = TypeVar("Task", bound=NetworkTask)


@dataclass(frozen=True)
class Plan:
    """How to train; everything here that changes the weights is part of the fingerprint."""

    epochs: int
    batch_size: int
    """Patches per step over all devices; fewer where there are few patches, see ``step_size``."""
    learning_rate: float
    seed: int
    bf16: bool
    stop_early: bool
    """Whether the validation patches can be trusted to end the training and to choose the best epoch."""
    n_orientations: int = 1
    """Over how many orientations inference averages; what is calibrated, no part of the fingerprint."""


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


def fingerprint(network: nn.Module, training: Examples, validation: Examples, plan: Plan) -> str:
    """A hash of all that decides the result of a training."""
    decisive = {name: value for name, value in asdict(plan).items() if name != "n_orientations"}
    digest = hashlib.sha256(json.dumps([__version__, decisive, str(network)]).encode())
    for examples in (training, validation):
        for name in examples.__dataclass_fields__:
            digest.update(getattr(examples, name).contiguous().numpy().reshape(-1))
    for weights in network.state_dict().values():
        digest.update(weights.contiguous().numpy().reshape(-1))
    return digest.hexdigest()


def forget_training(folder: Path) -> None:
    """Removes what was kept for going on with a training in ``folder``; for when its network is safely there."""
    shutil.rmtree(folder / STATE, ignore_errors=True)


class TrainingState:
    """What is kept on disk while a training runs, so that it can go on.

    Each training has a folder of its own, named by its fingerprint, so that the processes that train together agree
    on it without asking each other.

    Args:
        folder: of the network.
        mark: the fingerprint of the training.
        plan: how it trains.
        validated: whether it has validation patches.
    """

    def __init__(self, folder: Path, mark: str, plan: Plan, validated: bool) -> None:
        self._folder = folder / STATE / mark[:16]
        self._plan = plan
        self._last = self._folder / "last.ckpt"
        self._best = self._folder / "best.ckpt" if plan.stop_early and validated else None
        if self._last.exists():
            log.info("Going on with the interrupted training in %s.", folder)
        elif any((folder / STATE).glob("*")):
            log.info("The interrupted training in %s was of other data or settings; starting anew.", folder)

    def callbacks(self, title: str) -> list[Callback]:
        """The callbacks that write the state, stop early, and show progress."""
        # The averaged weights come before the checkpoints, which keep both them and the current ones.
        callbacks: list[Callback] = [
            averaged_weights(DECAY),
            StopTogether(),
            RichProgressBar() if sys.stderr.isatty() else ProgressLines(title),
        ]
        if self._best is not None:
            patience = max(5, round(PATIENCE_SHARE * self._plan.epochs))
            callbacks += [
                EarlyStopping("dice", mode="max", patience=patience, check_on_train_epoch_end=True),
                ModelCheckpoint(
                    self._folder,
                    "best",
                    monitor="dice",
                    mode="max",
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
            ]
        # After the best one: what goes on from it must know which epoch is the best up to there.
        last = ModelCheckpoint(
            self._folder, "last", save_on_train_epoch_end=True, enable_version_counter=False, every_n_epochs=1
        )
        return [*callbacks, last]

    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from, if there is one that can be read, and, where it is needed, that of the best."""
        if not self._last.exists():
            return None
        for path in (self._last, self._best):
            try:
                if path is not None:
                    torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except Exception as error:  # a torn file fails in many ways
                log.warning("%s %s; training starts anew.", path, _fault(error))
                return None
        return self._last

    def restore(self, task: NetworkTask) -> None:
        """Gives the network the averaged weights of its best epoch, or of the last where none is to be chosen.

        Raises:
            PomError: in the first process, their checkpoint is gone or torn.
        """
        path = self._best or self._last
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        except Exception as error:
            # On another node than the first process the file may not be seen yet; there the network is not written.
            if is_first_process():
                kept = "the last epoch" if self._best is None else "the best epoch"
                raise PomError(
                    f"{path}, {kept} of this training, {_fault(error)}: let nothing else remove or write files in "
                    f"{self._folder.parent}, and train again."
                ) from error
        else:
            task.load_state_dict(weights)


def _fault(error: Exception) -> str:
    """What is wrong with a checkpoint."""
    return "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read ({type(error).__name__})"


def _trainer(plan: Plan, team: Team, devices: Devices, callbacks: list[Callback], pieces: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator="gpu" if devices.gpus else "cpu",
        devices=list(devices.gpus) if devices.gpus else team.per_node,
        num_nodes=team.nodes,
        strategy="ddp" if team.size > 1 else "auto",
        plugins=team.environment(),
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
