"""What a network's training patches look like to it, kept to tell how unlike them a tomogram is."""

import torch
from torch import Tensor

from pom.networks.features import FeatureSpace, pooled_features
from pom.networks.unet import UNet

WINDOW = 64
"""Side, in binned pixels, of what is compared: the middle of a patch, or as much of a tomogram's slice."""
FEWEST = 20
"""With fewer held-out patches than this, 'as far as one in twenty' would rest on less than one of them."""
FOLDS = 5
BATCH = 64


def familiarity_of(network: UNet, training: Tensor, held_out: Tensor) -> dict[str, Tensor]:
    """Describes the training patches as a cloud of features, and how far from its middle known patches are.

    Patches that a cloud was made from lie too near to its middle. So the distances are those of held-out patches
    from the cloud of all training patches; where these are few, the training patches are added, each fifth of them
    by its distances from the cloud of the others.

    Args:
        network: trained, in evaluation mode, on the CPU.
        training: (n, channel, y, x), the patches that it learnt from, two or more.
        held_out: (n, channel, y, x), may be none.

    Returns:
        ``mean`` and ``whitening`` of the cloud; ``reference``: the known patches' distances, sorted; ``window``: the
        side of the squares whose features these are.
    """
    window = min(WINDOW, *training.shape[2:])
    known = _features(network, training, window)
    cloud = FeatureSpace.of(known)
    distances = []
    if len(held_out):
        distances.append(cloud.distances(_features(network, held_out, window)))
    if len(held_out) < FEWEST:
        folds = min(FOLDS, len(known))
        fold = torch.arange(len(known)) % folds
        distances += [FeatureSpace.of(known[fold != k]).distances(known[fold == k]) for k in range(folds)]
    return {
        "mean": cloud.mean,
        "whitening": cloud.whitening,
        "reference": torch.cat(distances).sort().values,
        "window": torch.tensor(window),
    }


def _features(network: UNet, images: Tensor, window: int) -> Tensor:
    """(n, feature), of the middle of each image."""
    top, left = ((side - window) // 2 for side in images.shape[2:])
    middle = images[:, :, top : top + window, left : left + window]
    batches = [middle[start : start + BATCH].contiguous() for start in range(0, len(middle), BATCH)]
    return torch.cat([pooled_features(network, batch) for batch in batches])
