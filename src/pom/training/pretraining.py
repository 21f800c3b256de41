"""Pretrained weights, from crops to their folder: trained, pictured, saved."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from pom.io.channels import EMPTY, Preprocessing
from pom.io.checkpoints import current_versions, timestamp
from pom.io.pretrained import PretrainedCard, save_pretrained
from pom.networks.devices import Devices, use_bf16
from pom.networks.unet import UNet, trunk_of
from pom.project.configuration import Configuration
from pom.training.data import seeded
from pom.training.hiding import HIDDEN_BLOCK, HIDDEN_SHARE, Crops, PretrainingTask
from pom.training.loop import Learnt, learn
from pom.training.pictures import draw_filled_in, draw_losses
from pom.training.plan import LEARNING_RATE, Plan
from pom.training.state import fingerprint, forget_training
from pom.training.task import Schedule
from pom.training.team import is_first_process

TITLE = "Pretraining"
STEPS_PER_EPOCH = 50
BATCH = 12
MOST_PICTURED = 8


@dataclass(frozen=True)
class Lesson:
    """What is learnt from."""

    preprocessing: Preprocessing
    pixel_size: float
    """Angstrom, before binning; the mean over the tomograms."""
    tomograms: tuple[str, ...]
    training: Crops
    """Its strata are indices into ``tomograms``."""
    validation_tomograms: tuple[str, ...]
    validation: Crops
    left_out: dict[str, str]


def pretraining_plan(configuration: Configuration, steps: int, devices: Devices) -> Plan:
    """How to pretrain for so many steps, rounded up to whole epochs of ``STEPS_PER_EPOCH``."""
    return Plan(
        epochs=-(-steps // STEPS_PER_EPOCH),
        batch_size=BATCH,
        learning_rate=configuration.learning_rate or LEARNING_RATE,
        seed=configuration.seed,
        bf16=use_bf16(devices, configuration.precision),
        stop_early=False,
    )


def pretrain_network(lesson: Lesson, plan: Plan, devices: Devices, folder: Path) -> PretrainedCard:
    """Trains a network to fill in what is hidden of crops; writes it, but for its head, with card and pictures.

    Of several processes that train together the first one writes; the others' card lacks the weights' hash.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM; what was reached is kept.
        PomError: a file cannot be written.
    """
    started = time.monotonic()
    channels = lesson.preprocessing.channels
    torch.manual_seed(plan.seed)
    network = UNet(len(channels), len(channels))
    mark = fingerprint(network, lesson.training, lesson.validation, plan)

    def task(schedule: Schedule) -> PretrainingTask:
        return PretrainingTask(network, channels, schedule, plan.seed)

    learnt = learn(
        network, task, lesson.training, lesson.validation, plan.batch_size, plan, devices, folder, TITLE, mark
    )
    card = PretrainedCard(
        preprocessing=lesson.preprocessing,
        pixel_size=lesson.pixel_size,
        architecture="UNet",
        widths=network.widths,
        weights_sha256="",
        hidden_share=HIDDEN_SHARE,
        hidden_block=HIDDEN_BLOCK,
        tomograms=lesson.tomograms,
        validation_tomograms=lesson.validation_tomograms,
        left_out=lesson.left_out,
        crops=len(lesson.training),
        validation_crops=len(lesson.validation),
        steps=learnt.epochs * STEPS_PER_EPOCH,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        precision="bf16" if plan.bf16 else "float32",
        seed=plan.seed,
        seconds=round(time.monotonic() - started, 1),
        loss=learnt.history[-1]["loss"],
        validation_loss=learnt.history[-1].get("validation_loss"),
        fingerprint=mark,
        versions=current_versions(),
        created=timestamp(),
    )
    if not is_first_process():
        return card
    draw_losses(folder / "curves.png", TITLE, learnt.history)
    _draw_crops(folder / "filled_in.png", lesson, learnt)
    card = save_pretrained(folder, trunk_of(network), card)
    forget_training(folder)
    return card


@torch.inference_mode()
def _draw_crops(path: Path, lesson: Lesson, learnt: Learnt[PretrainingTask]) -> None:
    """Pictures crops of tomograms that were held out, or, without any, some that were learnt from."""
    names, crops = lesson.validation_tomograms, lesson.validation
    if not len(crops):
        names, crops = lesson.tomograms, lesson.training
    chosen = torch.linspace(0, len(crops) - 1, min(len(crops), MOST_PICTURED)).round().long().tolist()
    whole = crops[chosen]["images"]
    puzzle = learnt.task.puzzle(whole, whole, seeded(0))
    filled_in = torch.where(puzzle.hidden, learnt.task(puzzle.seen), whole)
    shown = next(k for k, channel in enumerate(lesson.preprocessing.channels) if channel != EMPTY)
    draw_filled_in(
        path,
        f"{TITLE}: {lesson.preprocessing.channels[shown]}, as it is, what was shown of it, filled in",
        whole[:, shown].numpy(),
        puzzle.hidden[:, 0].numpy(),
        filled_in[:, shown].numpy(),
        [names[int(crops.strata[index])] for index in chosen],
    )
