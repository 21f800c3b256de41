"""Step 4: one joint network for all ontologies."""

from pathlib import Path

import numpy as np

from pom.io.checkpoints import ModelCard
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.sampling.patches import JointPatchSet
from pom.training.objectives import joint_objective, joint_patches
from pom.training.run import Assignment, plan_of, train


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
    epochs, batch_size = configuration.shared_model_epochs, configuration.shared_model_batch_size
    plan = plan_of(configuration, epochs, batch_size, patches, devices)
    training = labelled.at(np.flatnonzero(~patches.validation))
    return train(assignment, joint_objective(outputs, training), plan, devices)
