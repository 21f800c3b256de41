"""Losses over the pixels that carry a label. All logits are (n, class, y, x), computed in float32."""

import torch
from torch import Tensor
from torch.nn import functional as F


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


def partial_loss(logits: Tensor, allowed: Tensor, valid: Tensor, drawn_weights: Tensor, possible: Tensor) -> Tensor:
    """Cross-entropy of each class against Unknown plus the mean Dice loss of those that occur; labels are sets.

    A label allows some classes. What it says of a class is that a pixel is it, where nothing else is allowed, that it
    is not, where it is not allowed, or nothing. Each class is judged against Unknown alone, the last class: its
    logit must be above that of Unknown where it is, and below where it is not. So what is none of the classes, by all
    that is known of each, ends as Unknown, though no label ever says so.

    Args:
        logits: (n, class, y, x).
        allowed: (n, class, y, x) bool, the classes that a pixel may be.
        valid: (n, y, x) bool, true where the label counts.
        drawn_weights: (class,), how much more a pixel that is of a class counts in its cross-entropy than one that
            is not.
        possible: (class,) bool, false for a class that nobody has annotated, which no pixel is.

    Returns:
        A scalar.
    """
    logits = logits.float()
    known = valid[:, None].float()
    is_drawn = allowed.sum(dim=1, keepdim=True) == 1
    target = (allowed & is_drawn).float()
    told = known * (is_drawn | ~allowed | ~possible[:, None, None])
    axes = (0, 2, 3)
    weight = told * (1.0 + (drawn_weights[:, None, None] - 1.0) * target)
    against_unknown = F.binary_cross_entropy_with_logits(logits - logits[:, -1:], target, weight, reduction="none")
    entropy = against_unknown.sum(axes) / weight.sum(axes).clamp(min=1e-6)
    dice = dice_loss(torch.softmax(logits, dim=1), target, told)
    occurs = ((target * told).sum(axes) > 0).float()
    # Unknown is among the possible, but is not judged itself. Empty places do not make the others count less.
    n_ontologies = (possible.sum() - 1).clamp(min=1)
    return entropy[:-1].sum() / n_ontologies + (dice * occurs).sum() / occurs.sum().clamp(min=1.0)


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
