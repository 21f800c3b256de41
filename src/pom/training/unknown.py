"""Room for Unknown in a network that no annotation has shown any."""

import torch
from torch import Tensor

from pom.networks.unet import BLOCK, UNet
from pom.training.data import LabelledPatches

FALSE_UNKNOWN = 0.01
"""The share of the drawn pixels of each ontology, on average, that may become Unknown."""
BATCH = 32


@torch.inference_mode()
def make_room_for_unknown(network: UNet, patches: LabelledPatches) -> float:
    """Adds a constant to the logit of Unknown, the last output, so that it wins where the network is undecided.

    A network that learns straight from annotations is never shown what Unknown is: only that pixels are not this
    ontology, or not that one. The constant is such that of what was drawn ``FALSE_UNKNOWN`` becomes Unknown.

    Args:
        network: in evaluation mode, on the CPU; its head is changed.
        patches: such as it did not learn from; of what it did, it is too sure.

    Returns:
        The constant; 0 where nothing is drawn.
    """
    if not len(patches):
        return 0.0
    margins, classes = [], []
    for start in range(0, len(patches), BATCH):
        batch = patches[list(range(start, min(start + BATCH, len(patches))))]
        logits: Tensor = network(batch["images"])
        margin = logits[:, :-1].amax(dim=1) - logits[:, -1]
        mask = batch["drawn"] & batch["known"]
        margins.append(margin[mask])
        classes.append(batch["own"][:, None, None].expand(mask.shape)[mask])
    margin, owner = torch.cat(margins), torch.cat(classes)
    if not len(margin):
        return 0.0
    # The mean over the ontologies: the largest would otherwise decide alone what the rare ones lose.
    levels = [torch.quantile(_some(margin[owner == index]), FALSE_UNKNOWN) for index in sorted(set(owner.tolist()))]
    constant = float(torch.stack(levels).mean())
    network.head.bias[-(BLOCK**2) :] += constant  # type: ignore[index]
    return constant


def _some(values: Tensor) -> Tensor:
    """So few of them that ``torch.quantile`` takes them, evenly chosen."""
    return values[:: len(values) // 1_000_000 + 1]
