"""What single and joint networks learn from their patches."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pom.networks.losses import joint_loss, partial_loss, single_loss
from pom.project.names import UNKNOWN
from pom.sampling.partial_labels import allowed_classes
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training.data import LabelledPatches
from pom.training.task import Objective

RARITY = 0.5
"""How much rare pixels weigh more in the cross-entropy: 0 not at all, 1 so that all classes count alike."""
DRAWN_SHARE = 0.8
"""Of the patches that the joint network is shown of an ontology, how many have something drawn in them."""
FEWEST_SHOWN = 32
"""Patches that an epoch shows at least, the same more than once where there are fewer: from few boxes, too few steps
were made to learn anything."""
FEWEST_SHOWN_DIRECT = 128
"""The same of the joint network straight from annotations."""
DIRECT_STEPS = 16
"""Steps that such an epoch takes at least, with smaller batches where there are few patches."""
RAREST_SHARE = 1e-3
"""A class rarer than this among the labels is weighted as if it had this share."""


def single_patches(patches: PatchSet, ontology: str) -> LabelledPatches:
    """The patches as the single network of an ontology learns from them.

    In its own boxes every pixel counts; of other ontologies' patches only what was drawn, as something it is not.
    Where there are more of those than of its own, an epoch shows as many of both, and no more patches than there are
    or ``FEWEST_SHOWN``: its own more than once, the others in turn.
    """
    is_own = (patches.ontologies == ontology)[:, None, None]
    target = patches.drawn & is_own
    valid = patches.boxed & (is_own | patches.drawn)
    own = np.zeros(len(patches), np.int64)
    # Own and foreign patches are spread apart over the batches, so that each batch holds some of its own.
    strata = np.where(is_own[:, 0, 0], 0, 1)
    training = ~patches.validation
    frequency = _enough(_half_own(is_own[:, 0, 0], training), training, int((is_own[:, 0, 0] & training).sum()))
    return _tensors(patches, target.astype(np.uint8), valid, own, target, valid, strata, frequency)


def joint_patches(patches: JointPatchSet) -> LabelledPatches:
    """The patches as the joint network learns from them: every pixel inside the tomogram has a label.

    Validation asks only what a person answered: in each box, where its own ontology is and where not.
    """
    own = _own(patches, patches.outputs.tolist())
    training = ~patches.validation
    fewest = np.unique(own[training], return_counts=True)[1].min(initial=len(own))
    frequency = _enough(np.ones(len(patches)), training, int(fewest))
    return _tensors(patches, patches.labels, patches.inside, own, patches.drawn, patches.boxed, own, frequency)


def direct_patches(patches: PatchSet, outputs: Sequence[str]) -> tuple[LabelledPatches, Tensor]:
    """The patches as the joint network learns from them without single networks.

    All ontologies are shown equally often, however many boxes each has; of the patches of one, ``DRAWN_SHARE`` are
    such that something is drawn in them.

    Returns:
        The patches, whose target is a row of the second: (set, class) bool, the classes that a pixel may be.
    """
    own = _own(patches, outputs)
    allowed = allowed_classes(patches, own, len(outputs))
    sets, target = np.unique(allowed, return_inverse=True)
    table = (sets[:, None] >> np.arange(len(outputs), dtype=np.uint64)) & 1 > 0
    drawn: NDArray[np.bool_] = patches.drawn & patches.boxed
    has_drawn = np.asarray(drawn.any(axis=(1, 2)))
    frequency = _balanced(own, has_drawn, ~patches.validation)
    something_is_known = np.asarray(~table.all(axis=1))[target].reshape(allowed.shape) & patches.inside
    labelled = _tensors(
        patches, target.reshape(allowed.shape).astype(np.int32), something_is_known, own, drawn, patches.boxed,
        own * 2 + has_drawn, frequency,
    )  # fmt: skip
    return labelled, torch.from_numpy(table)


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


def direct_objective(outputs: Sequence[str], sets: Tensor, training: LabelledPatches) -> Objective:
    """The objective of the joint network that learns from annotations alone.

    Drawn pixels weigh more where they are rare in the boxes of their ontology, as for a single network.

    Args:
        outputs: of the network, in order.
        sets: (set, class) bool, which the patches' targets are rows of.
        training: the patches to learn from.
    """
    judged = _judged(outputs, training)
    possible = torch.zeros(len(outputs), dtype=torch.bool)
    possible[[*judged, outputs.index(UNKNOWN)]] = True
    # How often each label is shown, and in how many pixels.
    shown = training.frequency[:, None, None] * training.valid
    pixels = torch.bincount(training.target.flatten().long(), shown.flatten(), minlength=len(sets))[:, None]
    is_drawn = sets.sum(dim=1, keepdim=True) == 1
    drawn, others = ((pixels * rows).sum(dim=0) for rows in (sets & is_drawn, ~sets))
    weights = ((others.clamp(min=1.0) / drawn.clamp(min=1.0)) ** RARITY).float()

    def loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        device = logits.device
        allowed = sets.to(device)[target].permute(0, 3, 1, 2)
        return partial_loss(logits, allowed, valid, weights.to(device), possible.to(device))

    return Objective(loss, _is_own, judged)


def _own(patches: PatchSet, outputs: Sequence[str]) -> NDArray[np.int64]:
    """The output that each patch's ontology is."""
    order = {name: index for index, name in enumerate(outputs)}
    return np.array([order[name] for name in patches.ontologies.tolist()], np.int64)


def _is_own(logits: Tensor, own: Tensor) -> Tensor:
    return logits.argmax(dim=1) == own[:, None, None]


def _judged(outputs: Sequence[str], training: LabelledPatches) -> dict[int, str]:
    """The outputs that are annotated, by their index."""
    return {index: outputs[index] for index in sorted({int(index) for index in training.own})}


def _tensors(
    patches: PatchSet,
    target: NDArray[np.integer],
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


def _enough(frequency: NDArray[np.float64], training: NDArray[np.bool_], fewest: int) -> NDArray[np.float64]:
    """The same frequencies, or in proportion so much higher that an epoch shows ``FEWEST_SHOWN`` patches.

    Not where an ontology has a single patch, ``fewest`` being 1: the longer a network looks at one box, the less it
    knows what the ontology looks like elsewhere.
    """
    shown = frequency[training].sum()
    if fewest < 2 or shown >= FEWEST_SHOWN:
        return frequency
    return np.where(training, frequency * FEWEST_SHOWN / shown, frequency)


def _balanced(own: NDArray[np.int64], has_drawn: NDArray[np.bool_], training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often an epoch shows each patch, so that all ontologies are shown alike.

    An epoch shows as many patches as there are, or ``FEWEST_SHOWN_DIRECT``: what is learnt from a few boxes
    takes as many steps.
    """
    frequency = np.ones(len(own))
    present = np.unique(own[training])
    shown = max(int(training.sum()), FEWEST_SHOWN_DIRECT)
    for index in present:
        kinds = [training & (own == index) & kind for kind in (has_drawn, ~has_drawn)]
        shares = [DRAWN_SHARE, 1.0 - DRAWN_SHARE] if all(kind.any() for kind in kinds) else [1.0, 1.0]
        for kind, share in zip(kinds, shares, strict=True):
            frequency[kind] = share * shown / len(present) / max(1, kind.sum())
    return frequency
