"""The weights that a training begins with: given ones, pretrained ones, or random ones."""

import logging
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.io.channels import Preprocessing
from pom.io.checkpoints import CARD_FILE, PRETRAINED, kind_of, load_weights
from pom.io.pretrained import MAKE_AGAIN, load_pretrained, misfit, read_pretrained_card
from pom.networks.unet import UNet, trunk_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """What the first weights are."""

    source: str = ""
    """A file or folder; empty: they are random."""
    pretrained_sha256: str = ""
    """Of the weights, where 'pom pretrain' made them."""


def begin(
    network: UNet, checkpoint: Path | None, pretrained: Path | None, preprocessing: Preprocessing, title: str
) -> Beginning:
    """Gives a network its first weights: the checkpoint's, else the pretrained ones if there are and they fit.

    Args:
        network: with random weights, which its head keeps where it begins with pretrained ones.
        checkpoint: weights of the whole network, or None.
        pretrained: the folder of ``pom pretrain``, which need not be there, or None.
        preprocessing: how the network's input is made.
        title: of the training, for what is said.

    Raises:
        PomError: the checkpoint does not fit or is a pretrained network, or the pretrained one is damaged.
    """
    if checkpoint is not None:
        _begin_with_checkpoint(network, checkpoint)
        return Beginning(str(checkpoint))
    card = read_pretrained_card(pretrained) if pretrained is not None else None
    if card is None or pretrained is None:
        return Beginning()
    unfit = misfit(card, preprocessing, network.widths)
    if unfit is not None:
        log.warning(
            "The pretrained network in %s is not used, since %s: run '%s', or remove it.", pretrained, unfit, MAKE_AGAIN
        )
        return Beginning()
    trunk = load_pretrained(pretrained, card)
    if trunk.keys() != trunk_of(network).keys():
        raise PomError(f"The weights in {pretrained} are not those of a U-Net: run '{MAKE_AGAIN}', or remove it.")
    network.load_state_dict(trunk, strict=False)
    log.info("%s: begins with the pretrained network in %s.", title, pretrained)
    return Beginning(str(pretrained), card.weights_sha256)


def _begin_with_checkpoint(network: UNet, checkpoint: Path) -> None:
    card = checkpoint / CARD_FILE
    if card.is_file() and kind_of(card.read_bytes()) == PRETRAINED:
        raise PomError(
            f"{checkpoint} holds a pretrained network, which names nothing: put it into models/pretrained, where every"
            " training finds it, or give the folder of a single or joint network."
        )
    try:
        network.load_state_dict(load_weights(checkpoint))
    except RuntimeError as error:
        raise PomError(
            f"The weights in {checkpoint} are of another network than this project's: "
            "channels, ontologies or architecture differ."
        ) from error
