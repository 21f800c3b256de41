"""Losses over the pixels that carry a label. All logits are (n, class, y, x), computed in float32."""

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_ZERO = -1e4


def single_loss(logits: Tensor, drawn: Tensor, valid: Tensor, drawn_weight: float) -> Tensor:
    """Cross-entropy plus Dice loss of a single network.

    Args:
        logits: (n, 1, y, x).
        drawn: (n, y, x) bool, true where the ontology is.
        valid: (n, y, x) bool, true where that is known; other pixels do not count.
        drawn_weight: how much more a drawn pixel counts in the cross-entropy than another one.

    Returns:
        A scalar.
    """
    scores, target, known = logits[:, 0].float(), drawn.float(), valid.float()
    weight = known * (1.0 + (drawn_weight - 1.0) * target)
    entropy = F.binary_cross_entropy_with_logits(scores, target, weight, reduction="sum")
    entropy = entropy / weight.sum().clamp(min=1.0)
    dice = dice_loss(torch.sigmoid(scores)[:, None], target[:, None], known[:, None])
    return entropy + dice.sum()


def joint_loss(logits: Tensor, labels: Tensor, valid: Tensor, class_weights: Tensor) -> Tensor:
    """Cross-entropy plus the mean Dice loss of the classes that occur.

    Args:
        logits: (n, class, y, x).
        labels: (n, y, x) int64, class per pixel.
        valid: (n, y, x) bool, true where the label counts.
        class_weights: (class,), how much a pixel of each class counts in the cross-entropy.

    Returns:
        A scalar.
    """
    known = valid.float()
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    weight = known * class_weights[labels]
    entropy = F.nll_loss(log_probabilities, labels, reduction="none")
    entropy = (entropy * weight).sum() / weight.sum().clamp(min=1e-6)
    one_hot = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).float()
    dice = dice_loss(log_probabilities.exp(), one_hot, known[:, None])
    occurs = ((one_hot * known[:, None]).sum(dim=(0, 2, 3)) > 0).float()
    return entropy + (dice * occurs).sum() / occurs.sum().clamp(min=1.0)


def partial_loss(logits: Tensor, labels: Tensor, valid: Tensor, drawn_weights: Tensor, possible: Tensor) -> Tensor:
    """Marginal cross-entropy plus the mean Dice loss of the classes that occur, where some labels only exclude.

    A pixel's label allows one class, or all but one. What counts is the probability of all that is allowed: the
    marginal loss of Shi et al., Medical Image Analysis 70:101979, 2021, whose labels are sets of classes as well.
    In the Dice loss of a class are all pixels of which it is known whether they belong to it.

    Args:
        logits: (n, class, y, x).
        labels: (n, y, x) int64; k: it is class k; k plus the number of classes: it is any class but k.
        valid: (n, y, x) bool, true where the label counts.
        drawn_weights: (class,), how much more a pixel of a class counts in the cross-entropy than one that is only
            known not to be it.
        possible: (class,) bool, false for a class that nothing can be, since nobody has annotated it.

    Returns:
        A scalar.
    """
    n_classes = logits.shape[1]
    known, excludes, named = valid.float(), labels >= n_classes, labels % n_classes
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    one_hot = F.one_hot(named, n_classes).permute(0, 3, 1, 2).bool()
    log_named = log_probabilities.gather(1, named[:, None])[:, 0]
    allowed = possible[:, None, None] & ~one_hot
    log_others = torch.logsumexp(log_probabilities.masked_fill(~allowed, LOG_ZERO), dim=1)
    weight = known * torch.where(excludes, 1.0, drawn_weights[named])
    entropy = -(torch.where(excludes, log_others, log_named) * weight).sum() / weight.sum().clamp(min=1e-6)
    target = (one_hot & ~excludes[:, None]).float()
    # A drawn pixel is known not to be of any other class; an excluded one says nothing about them.
    told = known[:, None] * (one_hot | ~excludes[:, None])
    dice = dice_loss(log_probabilities.exp(), target, told)
    occurs = ((target * told).sum(dim=(0, 2, 3)) > 0).float()
    return entropy + (dice * occurs).sum() / occurs.sum().clamp(min=1.0)


def dice_loss(probabilities: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Soft Dice loss per class over a whole batch (Milletari et al., 3DV 2016); 0 for a class that does not occur.

    A class without a single target pixel in the batch would make its Dice zero whatever the network says,
    and push every probability down; the cross-entropy alone teaches absence.

    Args:
        probabilities: (n, class, y, x), 0..1.
        target: (n, class, y, x), 0 or 1.
        known: (n, class or 1, y, x), 0 or 1.

    Returns:
        (class,), each 0..1.
    """
    axes = (0, 2, 3)
    overlap = (probabilities * target * known).sum(axes)
    there = (target * known).sum(axes)
    total = (probabilities * known).sum(axes) + there
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)) * (there > 0)
