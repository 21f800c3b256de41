"""A network from its patches to its folder: trained, judged, pictured, saved."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pom.io.channels import DENSITY, Preprocessing
from pom.io.checkpoints import (
    Calibration,
    ModelCard,
    TrainingRecord,
    current_versions,
    read_card,
    save_network,
    timestamp,
)
from pom.networks.devices import Devices, use_bf16
from pom.networks.unet import UNet
from pom.project.configuration import Configuration
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training.calibration import calibrate
from pom.training.data import LabelledPatches
from pom.training.familiarity import familiarity_of
from pom.training.first_weights import Beginning, begin
from pom.training.fit import Trained, fit, validate
from pom.training.pictures import draw_curves, draw_montage, draw_reliability
from pom.training.plan import LEARNING_RATE, Plan
from pom.training.state import fingerprint, forget_training
from pom.training.task import Objective, Schedule, SegmentationTask
from pom.training.team import is_first_process
from pom.training.unknown import make_room_for_unknown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """One network to train."""

    kind: Literal["single", "joint"]
    title: str
    """Of progress and pictures."""
    outputs: tuple[str, ...]
    patches: PatchSet
    labelled: LabelledPatches
    """The same patches, as the network learns from them."""
    counterexamples: int
    """How many of the training patches belong to other ontologies."""
    folder: Path
    labels: Literal["annotations", "single networks"] = "annotations"
    checkpoint: Path | None = None
    """Weights to begin with."""
    pretrained: Path | None = None
    """The folder of pretrained weights to begin with where there is no checkpoint; it need not be there."""
    keep_finished: bool = False
    """Whether a network that is there already, from the very same patches and settings, is left as it is."""


def plan_of(configuration: Configuration, epochs: int, batch_size: int, patches: PatchSet, devices: Devices) -> Plan:
    """How a network is trained on a project's patches; it may stop early where whole tomograms judge it."""
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=configuration.learning_rate or LEARNING_RATE,
        seed=configuration.seed,
        bf16=use_bf16(devices, configuration.precision),
        stop_early=held_out(patches) == "tomograms",
        n_orientations=configuration.shared_model_runs_per_volume,
    )


def train(assignment: Assignment, objective: Objective, plan: Plan, devices: Devices) -> ModelCard:
    """Trains a network and writes it with its card, history, curves and montage into its folder.

    Of several processes that train together the first one writes; the others' card lacks the weights' hash.

    Raises:
        PomError: the checkpoint does not fit, the pretrained network is damaged, or a file cannot be written.
    """
    patches = assignment.patches
    preprocessing = Preprocessing.model_validate_json(patches.preprocessing)
    torch.manual_seed(plan.seed)
    network = UNet(len(preprocessing.channels), len(assignment.outputs))
    beginning = begin(network, assignment.checkpoint, assignment.pretrained, preprocessing, assignment.title)
    training = assignment.labelled.at(np.flatnonzero(~patches.validation))
    validation = assignment.labelled.at(np.flatnonzero(patches.validation))
    mark = fingerprint(network, training, validation, plan)
    if assignment.keep_finished:
        card = read_card(assignment.folder)
        if card is not None and card.training.fingerprint == mark:
            log.info("%s: trained already on these patches with these settings.", assignment.title)
            return card
    density = torch.tensor([channel == DENSITY for channel in preprocessing.channels])
    folder, title = assignment.folder, assignment.title
    trained = fit(network, objective, training, validation, density, plan, devices, folder, title, mark)
    unknown_constant = 0.0
    if assignment.kind == "joint" and assignment.labels == "annotations":
        assert isinstance(trained.network, UNet)
        unknown_constant = make_room_for_unknown(trained.network, validation)
        task = SegmentationTask(trained.network, objective, density, Schedule(plan.learning_rate, 1), plan.seed)
        trained = replace(trained, validation=validate(task, validation))
    card = ModelCard(
        kind=assignment.kind,
        outputs=assignment.outputs,
        preprocessing=preprocessing,
        pixel_size=patches.pixel_size,
        architecture="UNet",
        widths=network.widths,
        weights_sha256="",
        unknown_constant=unknown_constant,
        training=_record(assignment, plan, trained, beginning),
        validation=trained.validation,
        versions=current_versions(),
        created=timestamp(),
    )
    return _write(assignment, objective, plan, trained, card) if is_first_process() else card


def _write(assignment: Assignment, objective: Objective, plan: Plan, trained: Trained, card: ModelCard) -> ModelCard:
    """Calibrates the network, and writes it with what tells about it."""
    patches = assignment.patches
    training_indices, validation_indices = np.flatnonzero(~patches.validation), np.flatnonzero(patches.validation)
    training, validation = assignment.labelled.at(training_indices), assignment.labelled.at(validation_indices)
    if len(validation):
        tomograms = patches.tomograms[validation_indices]
        calibration = calibrate(trained.network, validation, tomograms, plan.n_orientations, plan.seed)
        card = card.model_copy(update={"calibration": calibration})
    _draw_reliability(assignment, card.calibration)
    draw_curves(assignment.folder / "curves.png", assignment.title, trained.history)
    _draw_montage(assignment, objective, trained, validation_indices if len(validation) else training_indices)
    known = None
    if assignment.kind == "joint" and len(training) > 1:
        assert isinstance(trained.network, UNet)
        known = familiarity_of(trained.network, training.images, validation.images)
    card = save_network(assignment.folder, trained.network.state_dict(), card, known)
    forget_training(assignment.folder)
    return card


def held_out(patches: PatchSet) -> Literal["tomograms", "boxes", "nothing"]:
    """Whether validation patches come from tomograms that no training patch is of."""
    if not patches.validation.any():
        return "nothing"
    training = set(patches.tomograms[~patches.validation].tolist())
    return "boxes" if training & set(patches.tomograms[patches.validation].tolist()) else "tomograms"


def _record(assignment: Assignment, plan: Plan, trained: Trained, beginning: Beginning) -> TrainingRecord:
    patches = assignment.patches
    return TrainingRecord(
        tomograms=_names(patches.tomograms[~patches.validation]),
        validation_tomograms=_names(patches.tomograms[patches.validation]),
        patches=int((~patches.validation).sum()),
        validation_patches=int(patches.validation.sum()),
        counterexamples=assignment.counterexamples,
        labels=assignment.labels,
        held_out=held_out(patches),
        epochs=trained.epochs,
        batch_size=trained.batch_size,
        learning_rate=plan.learning_rate,
        precision="bf16" if plan.bf16 else "float32",
        seed=plan.seed,
        seconds=round(trained.seconds, 1),
        started_from=beginning.source,
        pretrained_sha256=beginning.pretrained_sha256,
        fingerprint=trained.fingerprint,
        unknown_threshold=patches.unknown_threshold if isinstance(patches, JointPatchSet) else None,
    )


def _names(tomograms: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(sorted(set(tomograms.tolist())))


def _draw_reliability(assignment: Assignment, calibration: Calibration | None) -> None:
    path = assignment.folder / "reliability.png"
    if calibration is None:
        log.info("%s: nothing was held out to calibrate its probabilities on.", assignment.title)
        path.unlink(missing_ok=True)
    else:
        draw_reliability(path, assignment.title, calibration)


def _draw_montage(assignment: Assignment, objective: Objective, trained: Trained, shown: NDArray[np.intp]) -> None:
    from pom.training.pictures import MOST_PATCHES

    has_drawn = assignment.labelled.drawn.flatten(1).any(dim=1).numpy()
    chosen = np.array(sorted(shown, key=lambda i: not has_drawn[i])[:MOST_PATCHES])
    batch = assignment.labelled.at(chosen)
    with torch.inference_mode():
        predicted = objective.predicted_mask(trained.network(batch.images), batch.own)
    patches = assignment.patches
    names = [f"{patches.tomograms[i]}, z {patches.centres[i][0]}, {patches.ontologies[i]}" for i in chosen]
    draw_montage(
        assignment.folder / "montage.png",
        assignment.title,
        batch.images[:, 0].numpy(),
        batch.drawn.numpy(),
        batch.known.numpy(),
        predicted.numpy(),
        names,
    )
