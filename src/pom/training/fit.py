"""One training of a network from labelled patches: its steps, its validation figures, its fingerprint."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pom.networks.devices import Devices
from pom.training.data import LabelledPatches
from pom.training.loop import learn
from pom.training.plan import Plan
from pom.training.task import Objective, Schedule, SegmentationTask

SMALLEST_BATCH = 4
STEPS_PER_EPOCH = 8
VALIDATION_BATCH = 32


@dataclass(frozen=True)
class Trained:
    """What a training gives."""

    network: nn.Module
    """With the averaged weights, in evaluation mode, on the CPU."""
    validation: dict[str, dict[str, float]]
    history: list[dict[str, float]]
    epochs: int
    batch_size: int
    seconds: float
    fingerprint: str


def fit(
    network: nn.Module,
    objective: Objective,
    training: LabelledPatches,
    validation: LabelledPatches,
    density: Tensor,
    plan: Plan,
    devices: Devices,
    folder: Path,
    title: str,
    mark: str,
) -> Trained:
    """Trains a network, going on where the same training was interrupted.

    Args:
        network: with its first weights.
        objective: loss and validation figures.
        training: patches to learn from.
        validation: patches to judge by, may be none.
        density: (channel,) bool, which channels are density.
        plan: how to train.
        devices: where; several GPUs train together, and all processes of a job that srun has started.
        folder: gets ``history.csv`` and the checkpoints; they stay until ``forget_training``.
        title: of the progress.
        mark: the ``fingerprint`` of the training, by which it goes on.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what was reached is kept.
        PomError: not even one patch fits into memory, a process of the job lacks its GPU, or somebody has removed
            the checkpoints meanwhile.
    """
    started = time.monotonic()
    batch_size = step_size(round(float(training.frequency.sum())), plan.batch_size)

    def task(schedule: Schedule) -> SegmentationTask:
        return SegmentationTask(network, objective, density, schedule, plan.seed)

    learnt = learn(network, task, training, validation, batch_size, plan, devices, folder, title, mark)
    figures = validate(learnt.task, validation)
    seconds = time.monotonic() - started
    return Trained(learnt.task.network, figures, learnt.history, learnt.epochs, batch_size, seconds, mark)


def step_size(n_shown: int, configured: int, steps: int = STEPS_PER_EPOCH) -> int:
    """Patches per step: as configured, but fewer where an epoch would be fewer than so many steps.

    A few dozen patches in steps of 32 or 64 would leave a network all but untrained after a hundred epochs.

    Args:
        n_shown: patches that an epoch shows.
        configured: the most patches in a step.
        steps: that an epoch should take at least.
    """
    return max(1, min(configured, max(SMALLEST_BATCH, n_shown // steps), n_shown))


def validate(task: SegmentationTask, validation: LabelledPatches) -> dict[str, dict[str, float]]:
    """The figures of the weights as they are, in float32 on the CPU; those that are 0/0 are left out."""
    if not len(validation):
        return {}
    with torch.inference_mode():
        for start in range(0, len(validation), VALIDATION_BATCH):
            batch = validation[list(range(start, min(start + VALIDATION_BATCH, len(validation))))]
            task.count(batch, task(batch["images"]))
    return {
        name: {measure: round(value, 4) for measure, value in figures.items() if not math.isnan(value)}
        for name, figures in task.validation_figures().items()
    }
