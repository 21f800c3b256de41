"""Step 4: one joint network for all ontologies."""

from pathlib import Path

import numpy as np

from pom.io.checkpoints import ModelCard
from pom.networks.devices import Devices, use_bf16
from pom.project.paths import Project
from pom.sampling.patches import JointPatchSet
from pom.training.fit import LEARNING_RATE, Plan
from pom.training.objectives import joint_objective, joint_patches
from pom.training.run import Assignment, held_out, train


def shared_train(project: Project, devices: Devices, checkpoint: Path | None) -> ModelCard:
    """Trains the joint network.

    Args:
        project: with joint labels.
        devices: where.
        checkpoint: weights to begin with, a safetensors file or a network's folder.

    Raises:
        PomError: there are no joint labels, or the checkpoint does not fit.
    """
    configuration = project.configuration
    patches = JointPatchSet.load(project.joint_dataset, "pom shared initialize")
    outputs = tuple(patches.outputs.tolist())
    labelled = joint_patches(patches)
    assignment = Assignment(
        kind="joint",
        title="Joint network",
        outputs=outputs,
        patches=patches,
        labelled=labelled,
        counterexamples=0,
        folder=project.joint_network,
        checkpoint=checkpoint,
    )
    plan = Plan(
        epochs=configuration.shared_model_epochs,
        batch_size=configuration.shared_model_batch_size,
        learning_rate=configuration.learning_rate or LEARNING_RATE,
        seed=configuration.seed,
        bf16=use_bf16(devices, configuration.precision),
        stop_early=held_out(patches) == "tomograms",
    )
    training = labelled.at(np.flatnonzero(~patches.validation))
    return train(assignment, joint_objective(outputs, training), plan, devices)
