"""What single and joint networks learn from their patches."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pom.networks.losses import joint_loss, partial_loss, single_loss
from pom.project.names import UNKNOWN
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training.data import LabelledPatches
from pom.training.task import Objective

RARITY = 0.5
"""How much rare pixels weigh more in the cross-entropy: 0 not at all, 1 so that all classes count alike."""
DRAWN_SHARE = 0.8
"""Of the patches that the joint network is shown of an ontology, how many have something drawn in them."""
RAREST_SHARE = 1e-3
"""A class rarer than this among the labels is weighted as if it had this share."""


def single_patches(patches: PatchSet, ontology: str) -> LabelledPatches:
    """The patches as the single network of an ontology learns from them.

    In its own boxes every pixel counts; of other ontologies' patches only what was drawn, as something it is not.
    Where there are more of those than of its own, an epoch shows as many of both, and no more patches than there are:
    its own more than once, the others in turn.
    """
    is_own = (patches.ontologies == ontology)[:, None, None]
    target = patches.drawn & is_own
    valid = patches.boxed & (is_own | patches.drawn)
    own = np.zeros(len(patches), np.int64)
    # Own and foreign patches are spread apart over the batches, so that each batch holds some of its own.
    strata = np.where(is_own[:, 0, 0], 0, 1)
    frequency = _half_own(is_own[:, 0, 0], ~patches.validation)
    return _tensors(patches, target.astype(np.uint8), valid, own, target, valid, strata, frequency)


def joint_patches(patches: JointPatchSet) -> LabelledPatches:
    """The patches as the joint network learns from them: every pixel inside the tomogram has a label.

    Validation asks only what a person answered: in each box, where its own ontology is and where not.
    """
    order = {name: index for index, name in enumerate(patches.outputs.tolist())}
    own = np.array([order[name] for name in patches.ontologies.tolist()], np.int64)
    once = np.ones(len(patches))
    return _tensors(patches, patches.labels, patches.inside, own, patches.drawn, patches.boxed, own, once)


def direct_patches(patches: PatchSet, outputs: Sequence[str]) -> LabelledPatches:
    """The patches as the joint network learns from them without single networks.

    In a box of an ontology each pixel is that one, or any but that one. All ontologies are shown equally often,
    however many boxes each has; of the patches of one, ``DRAWN_SHARE`` are such that something is drawn in them.
    """
    order = {name: index for index, name in enumerate(outputs)}
    own = np.array([order[name] for name in patches.ontologies.tolist()], np.int64)
    drawn = patches.drawn & patches.boxed
    target = np.where(drawn, own[:, None, None], own[:, None, None] + len(outputs)).astype(np.uint8)
    has_drawn = drawn.any(axis=(1, 2))
    strata = own * 2 + has_drawn
    frequency = _balanced(own, np.asarray(has_drawn), ~patches.validation)
    return _tensors(patches, target, patches.boxed, own, drawn, patches.boxed, strata, frequency)


def single_objective(ontology: str, training: LabelledPatches) -> Objective:
    """The objective of the single network of an ontology.

    Drawn pixels weigh more where they are rare: by the square root of how many others there are for each. Without
    that a rare ontology is never found, with the full ratio it is found everywhere.
    """
    drawn = float(((training.target.bool() & training.valid).sum(dim=(1, 2)) * training.frequency).sum())
    others = float((training.valid.sum(dim=(1, 2)) * training.frequency).sum()) - drawn
    drawn_weight = (max(others, 1.0) / max(drawn, 1.0)) ** RARITY

    def loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return single_loss(logits, target > 0, valid, drawn_weight)

    def predicted_mask(logits: Tensor, _: Tensor) -> Tensor:
        return logits[:, 0] > 0

    return Objective(loss, predicted_mask, {0: ontology})


def joint_objective(outputs: Sequence[str], training: LabelledPatches) -> Objective:
    """The objective of the joint network; rare classes weigh more, by the inverse square root of their share."""
    counts = torch.bincount(training.target[training.valid].long(), minlength=len(outputs)).float()
    share = counts / counts.sum().clamp(min=1.0)
    weights = share.clamp(min=RAREST_SHARE) ** -RARITY
    weights = weights / (weights * share).sum().clamp(min=1e-6)

    def loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return joint_loss(logits, target, valid, weights.to(logits.device))

    return Objective(loss, _is_own, _judged(outputs, training))


def direct_objective(outputs: Sequence[str], training: LabelledPatches) -> Objective:
    """The objective of the joint network that learns from annotations alone.

    Drawn pixels weigh more where they are rare in the boxes of their ontology, as for a single network.
    """
    shown = training.frequency[:, None, None] * training.valid
    weights, possible = torch.ones(len(outputs)), torch.zeros(len(outputs), dtype=torch.bool)
    possible[outputs.index(UNKNOWN)] = True
    for index in _judged(outputs, training):
        possible[index] = True
        of_it = training.own == index
        drawn = float((shown * training.drawn)[of_it].sum())
        others = float(shown[of_it].sum()) - drawn
        weights[index] = (max(others, 1.0) / max(drawn, 1.0)) ** RARITY

    def loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return partial_loss(logits, target, valid, weights.to(logits.device), possible.to(logits.device))

    return Objective(loss, _is_own, _judged(outputs, training))


def _is_own(logits: Tensor, own: Tensor) -> Tensor:
    return logits.argmax(dim=1) == own[:, None, None]


def _judged(outputs: Sequence[str], training: LabelledPatches) -> dict[int, str]:
    """The outputs that are annotated, by their index."""
    return {index: outputs[index] for index in sorted({int(index) for index in training.own})}


def _tensors(
    patches: PatchSet,
    target: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    own: NDArray[np.int64],
    drawn: NDArray[np.bool_],
    known: NDArray[np.bool_],
    strata: NDArray[np.int64],
    frequency: NDArray[np.float64],
) -> LabelledPatches:
    return LabelledPatches(
        images=torch.from_numpy(patches.images),
        target=torch.from_numpy(target),
        valid=torch.from_numpy(valid),
        own=torch.from_numpy(own),
        drawn=torch.from_numpy(drawn),
        known=torch.from_numpy(known),
        strata=torch.from_numpy(strata),
        frequency=torch.from_numpy(frequency),
    )


def _half_own(is_own: NDArray[np.bool_], training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often an epoch shows each patch: half of those shown in training are own ones, or more if most are."""
    frequency = np.ones(len(is_own))
    own, others = is_own & training, ~is_own & training
    n_own, n_others = int(own.sum()), int(others.sum())
    if 0 < n_own < n_others:
        frequency[own] = (n_own + n_others) / (2 * n_own)
        frequency[others] = (n_own + n_others) / (2 * n_others)
    return frequency


def _balanced(own: NDArray[np.int64], has_drawn: NDArray[np.bool_], training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often an epoch shows each patch, so that all ontologies are shown alike and an epoch stays as long."""
    frequency = np.ones(len(own))
    present = np.unique(own[training])
    for index in present:
        kinds = [training & (own == index) & kind for kind in (has_drawn, ~has_drawn)]
        shares = [DRAWN_SHARE, 1.0 - DRAWN_SHARE] if all(kind.any() for kind in kinds) else [1.0, 1.0]
        for kind, share in zip(kinds, shares, strict=True):
            frequency[kind] = share * training.sum() / len(present) / max(1, kind.sum())
    return frequency
