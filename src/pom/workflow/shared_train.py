"""Step 4: one joint network for all ontologies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pom.io.checkpoints import ModelCard
from pom.networks.devices import Devices
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training.data import LabelledPatches
from pom.training.objectives import direct_objective, direct_patches, joint_objective, joint_patches
from pom.training.run import Assignment, plan_of, train
from pom.workflow.pseudo_labels import pseudo_patches
from pom.workflow.single_train import load_datasets

TITLE = "Joint network"
SECOND_SHARE = 0.3
"""How much of all epochs the second training has, if there are two."""
SECOND_RATE = 0.5
"""Its learning rate, as a share of the first one's."""
UNANNOTATED_SHARE = 1 / 3
"""How many of the patches that the second training shows are of places that nobody annotated."""
FEWEST_UNANNOTATED = 256


def shared_train(project: Project, devices: Devices, checkpoint: Path | None, *, direct: bool = False) -> ModelCard:
    """Trains the joint network.

    Args:
        project: with joint labels, or, if ``direct``, with sampled patches.
        devices: where.
        checkpoint: weights to begin with, a safetensors file or a network's folder.
        direct: learn from the annotations alone, without what single networks say.

    Raises:
        PomError: the patches are not there, or the checkpoint does not fit.
    """
    return _train_directly(project, devices, checkpoint) if direct else _train(project, devices, checkpoint)


def _train(project: Project, devices: Devices, checkpoint: Path | None) -> ModelCard:
    patches = JointPatchSet.load(project.joint_dataset, "pom shared initialize")
    outputs = tuple(patches.outputs.tolist())
    labelled = joint_patches(patches)
    assignment = Assignment(
        kind="joint",
        title=TITLE,
        outputs=outputs,
        patches=patches,
        labelled=labelled,
        counterexamples=0,
        folder=project.joint_network,
        labels="single networks",
        checkpoint=checkpoint,
    )
    plan = plan_of(project.configuration, *_size(project), patches, devices)
    return train(assignment, joint_objective(outputs, _training(labelled, patches)), plan, devices)


def _train_directly(project: Project, devices: Devices, checkpoint: Path | None) -> ModelCard:
    """Trains on the annotations, then goes on with what that network says of unannotated places as well."""
    patches = PatchSet.concatenate(list(load_datasets(project).values()))
    outputs = (*project.ontology_slots, UNKNOWN)
    labelled, sets = direct_patches(patches, outputs)
    assignment = Assignment(
        kind="joint",
        title=f"{TITLE}, first part",
        outputs=outputs,
        patches=patches,
        labelled=labelled,
        counterexamples=0,
        folder=project.joint_teacher,
        labels="annotations",
        checkpoint=checkpoint,
        keep_finished=True,
    )
    # The answers of a network are sets of one class each.
    n_sets, sets = len(sets), torch.cat([sets, torch.eye(len(outputs), dtype=torch.bool)])
    training = _training(labelled, patches)
    objective = direct_objective(outputs, sets, training)
    epochs, batch_size = _size(project)
    plan = plan_of(project.configuration, epochs, batch_size, patches, devices)
    second_epochs = round(SECOND_SHARE * epochs)
    teacher = train(assignment, objective, replace(plan, epochs=max(1, epochs - second_epochs)), devices)
    unannotated = pseudo_patches(
        project,
        project.joint_teacher,
        teacher.training.validation_tomograms,
        max(FEWEST_UNANNOTATED, len(training)),
        patches.images.shape[2],
        devices,
    )
    shown = float(training.frequency.sum()) * UNANNOTATED_SHARE / (1.0 - UNANNOTATED_SHARE)
    unannotated = replace(
        unannotated,
        target=unannotated.target + n_sets,
        frequency=torch.full((len(unannotated),), shown / len(unannotated), dtype=torch.float64),
    )
    second = replace(
        assignment,
        title=f"{TITLE}, second part",
        folder=project.joint_network,
        checkpoint=project.joint_teacher,
        unannotated=unannotated,
        keep_finished=False,
    )
    plan = replace(plan, epochs=max(1, second_epochs), learning_rate=SECOND_RATE * plan.learning_rate)
    return train(second, objective, plan, devices)


def _size(project: Project) -> tuple[int, int]:
    """Epochs and batch size of the joint network."""
    return project.configuration.shared_model_epochs, project.configuration.shared_model_batch_size


def _training(labelled: LabelledPatches, patches: PatchSet) -> LabelledPatches:
    return labelled.at(np.flatnonzero(~patches.validation))
