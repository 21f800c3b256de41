"""Step 4: one joint network for all ontologies."""

from pathlib import Path

import numpy as np

from pom.io.checkpoints import ModelCard
from pom.networks.devices import Devices
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training.data import LabelledPatches
from pom.training.fit import step_size
from pom.training.objectives import DIRECT_STEPS, direct_objective, direct_patches, joint_objective, joint_patches
from pom.training.run import Assignment, plan_of, train
from pom.training.task import Objective
from pom.workflow.alone import JOINT_TRAINING, alone
from pom.workflow.single_train import load_datasets


def shared_train(project: Project, devices: Devices, checkpoint: Path | None, *, direct: bool = False) -> ModelCard:
    """Trains the joint network.

    Args:
        project: with joint labels, or, if ``direct``, with sampled patches.
        devices: where.
        checkpoint: weights to begin with, a safetensors file or a network's folder; without it the pretrained ones,
            where 'pom pretrain' has made them.
        direct: learn from the annotations alone, without what single networks say.

    Raises:
        PomError: the patches are not there, the checkpoint does not fit, or another process does the same.
    """
    with alone(project, [JOINT_TRAINING]):
        return _train(project, devices, checkpoint, direct=direct)


def _train(project: Project, devices: Devices, checkpoint: Path | None, *, direct: bool) -> ModelCard:
    configuration = project.configuration
    outputs, patches, labelled, objective = _from_annotations(project) if direct else _from_joint_labels(project)
    assignment = Assignment(
        kind="joint",
        title="Joint network",
        outputs=outputs,
        patches=patches,
        labelled=labelled,
        counterexamples=0,
        folder=project.joint_network,
        labels="annotations" if direct else "single networks",
        checkpoint=checkpoint,
        pretrained=project.pretrained_network,
    )
    epochs, batch_size = configuration.shared_model_epochs, configuration.shared_model_batch_size
    if direct:
        n_shown = round(float(_training(labelled, patches).frequency.sum()))
        batch_size = step_size(n_shown, batch_size, DIRECT_STEPS)
    return train(assignment, objective, plan_of(configuration, epochs, batch_size, patches, devices), devices)


Lessons = tuple[tuple[str, ...], PatchSet, LabelledPatches, Objective]
"""The outputs, the patches, what is to be learnt from them, and how."""


def _from_joint_labels(project: Project) -> Lessons:
    patches = JointPatchSet.load(project.joint_dataset, "pom shared initialize")
    outputs = tuple(patches.outputs.tolist())
    labelled = joint_patches(patches)
    return outputs, patches, labelled, joint_objective(outputs, _training(labelled, patches))


def _from_annotations(project: Project) -> Lessons:
    patches = PatchSet.concatenate(list(load_datasets(project).values()))
    outputs = (*project.ontology_slots, UNKNOWN)
    labelled, sets = direct_patches(patches, outputs)
    return outputs, patches, labelled, direct_objective(outputs, sets, _training(labelled, patches))


def _training(labelled: LabelledPatches, patches: PatchSet) -> LabelledPatches:
    return labelled.at(np.flatnonzero(~patches.validation))
