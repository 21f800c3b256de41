"""Step 3: the single networks label every patch, for the joint network to learn from."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.inference.predictor import Predictor
from pom.io.checkpoints import load_network
from pom.networks.devices import Devices, use_bf16
from pom.networks.orientations import N_ORIENTATIONS
from pom.progress import track
from pom.project.names import EMPTY, UNKNOWN
from pom.project.paths import Project
from pom.sampling.joint_labels import joint_labels
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.workflow.single_train import load_datasets


@dataclass(frozen=True)
class JointSummary:
    """What ``pom shared initialize`` made."""

    patches: int
    validation_patches: int
    share_of_pixels: dict[str, float]
    """Per output of the joint network, its share of all labelled pixels, 0..1."""


def shared_initialize(project: Project, selective: bool, devices: Devices) -> JointSummary:
    """Makes the joint network's training data.

    Args:
        project: with trained single networks of every ontology that is annotated.
        selective: only patches with an annotated pixel.
        devices: where; the first GPU is used.

    Raises:
        PomError: nothing is sampled, or a network is missing.
    """
    datasets = load_datasets(project)
    patches = PatchSet.concatenate(list(datasets.values()))
    if selective:
        patches = patches.with_drawn_pixels()
    if not len(patches):
        raise PomError("No patch has an annotated pixel; annotate some, or use -selective 0.")
    probabilities = np.zeros((len(patches), len(datasets), *patches.images.shape[2:]), np.float32)
    for index, ontology in track(list(enumerate(datasets)), "Single networks", len(datasets)):
        probabilities[:, index] = _predict(project, ontology, patches, devices)
    # The networks speak for the annotated ontologies; the joint network has a place for every configured one.
    outputs = (*project.ontology_slots, UNKNOWN)
    place = np.array([outputs.index(ontology) for ontology in datasets] + [len(outputs) - 1], np.uint8)
    order = {ontology: index for index, ontology in enumerate(datasets)}
    labels = place[
        joint_labels(
            probabilities,
            np.array([order[ontology] for ontology in patches.ontologies.tolist()]),
            patches.drawn,
            patches.boxed,
            project.configuration.shared_model_unknown_class_threshold,
        )
    ]
    joint = JointPatchSet(**vars(patches), labels=labels, outputs=np.array(outputs))
    joint.save(project.joint_dataset)
    return _summary(joint)


def _predict(project: Project, ontology: str, patches: PatchSet, devices: Devices) -> NDArray[np.float32]:
    """What the single network of an ontology says of every patch: (n, y, x), 0..1."""
    weights, card = load_network(project.single_network(ontology), f'pom single train -o "{ontology}"')
    if card.preprocessing.model_dump_json() != patches.preprocessing:
        raise PomError(
            f"The network of {ontology} was trained with other channels, z_sum or binning than the patches have; "
            f"train it again."
        )
    bf16 = use_bf16(devices, project.configuration.precision)
    predictor = Predictor(weights, card, devices.first, bf16=bf16, n_orientations=N_ORIENTATIONS)
    return np.concatenate(list(predictor.predict(patches.images)))[:, 0]


def _summary(joint: JointPatchSet) -> JointSummary:
    counted = Counter(joint.labels[joint.inside].tolist())
    total = max(1, sum(counted.values()))
    shares = {name: counted[i] / total for i, name in enumerate(joint.outputs.tolist()) if name != EMPTY}
    return JointSummary(int((~joint.validation).sum()), int(joint.validation.sum()), shares)
