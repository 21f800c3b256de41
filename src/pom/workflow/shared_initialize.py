"""Step 3: the single networks label every patch, for the joint network to learn from."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Literal

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
from pom.sampling.joint_labels import USUAL_THRESHOLD, choose_threshold, joint_labels
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.workflow.alone import LABELLING, alone
from pom.workflow.single_train import load_datasets

log = logging.getLogger(__name__)

ThresholdFrom = Literal["the configuration", "the validation patches", "nothing held out"]


@dataclass(frozen=True)
class JointSummary:
    """What ``pom shared initialize`` made."""

    patches: int
    validation_patches: int
    share_of_pixels: dict[str, float]
    """Per output of the joint network, its share of all labelled pixels, 0..1."""
    unknown_threshold: float
    """Where no single network was above it, a pixel spoke for Unknown, 0..1."""
    unknown_threshold_from: ThresholdFrom


def shared_initialize(project: Project, selective: bool, devices: Devices) -> JointSummary:
    """Makes the joint network's training data.

    Args:
        project: with trained single networks of every ontology that is annotated.
        selective: only patches with an annotated pixel.
        devices: where; the first GPU is used.

    Raises:
        PomError: nothing is sampled, a network is missing, or another process does the same.
    """
    with alone(project, [LABELLING]):
        return _initialize(project, selective, devices)


def _initialize(project: Project, selective: bool, devices: Devices) -> JointSummary:
    datasets = load_datasets(project)
    configured = project.configuration.shared_model_unknown_class_threshold
    patches = PatchSet.concatenate(list(datasets.values()))
    kept = np.asarray((patches.drawn & patches.boxed).any(axis=(1, 2)) | (not selective))
    if not kept.any():
        raise PomError("No patch has an annotated pixel; annotate some, or use -selective 0.")
    # Boxes in which nothing is drawn teach the joint network only if wanted, but always help to judge a threshold.
    needed = kept | patches.validation if configured is None else kept
    patches, kept = patches.select(np.flatnonzero(needed)), kept[needed]
    probabilities = np.zeros((len(patches), len(datasets), *patches.images.shape[2:]), np.float32)
    for index, ontology in track(list(enumerate(datasets)), "Single networks", len(datasets)):
        probabilities[:, index] = _predict(project, ontology, patches, devices)
    order = {ontology: index for index, ontology in enumerate(datasets)}
    own = np.array([order[ontology] for ontology in patches.ontologies.tolist()])
    threshold, origin = _threshold(configured, probabilities, own, patches)
    patches, probabilities, own = patches.select(np.flatnonzero(kept)), probabilities[kept], own[kept]
    # The networks speak for the annotated ontologies; the joint network has a place for every configured one.
    outputs = (*project.ontology_slots, UNKNOWN)
    place = np.array([outputs.index(ontology) for ontology in datasets] + [len(outputs) - 1], np.uint8)
    labels = place[joint_labels(probabilities, own, patches.drawn, patches.boxed, threshold)]
    joint = JointPatchSet(**vars(patches), labels=labels, outputs=np.array(outputs), unknown_threshold=threshold)
    joint.save(project.joint_dataset)
    return _summary(joint, origin)


def _threshold(
    configured: float | None, probabilities: NDArray[np.float32], own: NDArray[np.intp], patches: PatchSet
) -> tuple[float, ThresholdFrom]:
    """Under which probability a pixel is Unknown: what the configuration says, or what validation finds best."""
    if configured is not None:
        return configured, "the configuration"
    of = np.flatnonzero(patches.validation)
    threshold, dices = choose_threshold(probabilities[of], own[of], patches.drawn[of], patches.boxed[of])
    if not dices:
        return threshold, "nothing held out"
    usual = min(dices, key=lambda candidate: abs(candidate - USUAL_THRESHOLD))
    gain = "" if threshold == usual else f", against {dices[usual]:.3f} at {usual:.2f}"
    log.info(
        "Pixels on which no network is above %.2f speak for Unknown: mean validation Dice %.3f%s.",
        threshold, dices[threshold], gain,
    )  # fmt: skip
    return threshold, "the validation patches"


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


def _summary(joint: JointPatchSet, threshold_from: ThresholdFrom) -> JointSummary:
    counted = Counter(joint.labels[joint.inside].tolist())
    total = max(1, sum(counted.values()))
    shares = {name: counted[i] / total for i, name in enumerate(joint.outputs.tolist()) if name != EMPTY}
    return JointSummary(
        int((~joint.validation).sum()), int(joint.validation.sum()), shares, joint.unknown_threshold, threshold_from
    )
