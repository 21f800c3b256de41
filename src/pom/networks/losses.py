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
        valid: (n, y, x), how much that counts, 0..1; bool where all that is known counts alike.
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
        valid: (n, y, x), how much the label counts, 0..1; bool where all count alike.
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


def partial_loss(logits: Tensor, allowed: Tensor, valid: Tensor, drawn_weights: Tensor, prior: Tensor) -> Tensor:
    """Marginal cross-entropy plus the mean Dice loss of the classes that occur, where labels are sets of classes.

    What counts is the probability of all that a label allows: the marginal loss of Shi et al., Medical Image Analysis
    70:101979, 2021. The Dice loss of a class is over the pixels of which it is known whether they belong to it.

    Args:
        logits: (n, class, y, x).
        allowed: (n, class, y, x) bool, the classes that a pixel may be.
        valid: (n, y, x), how much the label counts, 0..1; bool where all count alike.
        drawn_weights: (class,), how much more a pixel that can only be of this class counts in the cross-entropy than
            one that may be of several.
        prior: (class,), 0..1, how much of a class's probability counts where several are allowed: 0 for a class that
            nothing can be. A class of a larger prior wins where the network is undecided; where it is sure, the prior
            changes next to nothing.

    Returns:
        A scalar.
    """
    is_drawn = allowed.sum(dim=1, keepdim=True) == 1
    known = valid[:, None].float()
    log_probabilities = F.log_softmax(logits.float(), dim=1)
    log_prior = torch.log(prior).clamp(min=LOG_ZERO)[:, None, None]
    counted = (log_probabilities + torch.where(is_drawn, 0.0, log_prior)).masked_fill(~allowed, LOG_ZERO)
    log_allowed = torch.logsumexp(counted, dim=1, keepdim=True)
    target = (allowed & is_drawn).float()
    weight = known * torch.where(is_drawn, (target * drawn_weights[:, None, None]).sum(dim=1, keepdim=True), 1.0)
    entropy = -(log_allowed * weight).sum() / weight.sum().clamp(min=1e-6)
    told = known * (is_drawn | ~allowed)
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
        known: (n, class or 1, y, x), how much a pixel counts, 0..1.

    Returns:
        (class,), each 0..1.
    """
    axes = (0, 2, 3)
    overlap = (probabilities * target * known).sum(axes)
    there = (target * known).sum(axes)
    total = (probabilities * known).sum(axes) + there
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)) * (there > 0)
