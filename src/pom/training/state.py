"""What is kept on disk of a training while it runs, so that it can go on where it was interrupted."""

import hashlib
import io
import json
import logging
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from torch import nn

from pom import __version__
from pom.errors import PomError
from pom.io.atomic import atomic_path
from pom.training.callbacks import ProgressLines, StopTogether, averaged_weights
from pom.training.data import Examples
from pom.training.plan import Plan
from pom.training.task import NetworkTask
from pom.training.team import is_first_process

log = logging.getLogger(__name__)

DECAY = 0.98
PATIENCE_SHARE = 0.4
STATE = ".training"
"""The folder, within a network's own, of what is kept of a training that goes on."""


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
                MovableModelCheckpoint(
                    self._folder,
                    "best",
                    monitor="dice",
                    mode="max",
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
            ]
        # After the best one: what goes on from it must know which epoch is the best up to there.
        last = MovableModelCheckpoint(
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


class MovableModelCheckpoint(ModelCheckpoint):
    """Goes on in a folder that was moved, or has another path on this host, and still knows the best epoch.

    Lightning's own forgets it there, and takes the next epoch for the best.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what it was, with the files where they are now."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": scores, "dirpath": self.dirpath})


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, beside where it belongs.

    Lightning's own way goes by the folder for temporary files, which may be small, and on another disk, from where a
    file comes in parts.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes one.

        Raises:
            PomError: it cannot be written, for one because the disk is full.
        """
        contents = io.BytesIO()
        torch.save(checkpoint, contents)
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(contents.getbuffer())
