"""The network of ``pom pretrain`` on disk: weights without a head, and a card of its own kind."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pom.errors import PomError
from pom.io.atomic import write_text
from pom.io.channels import Preprocessing
from pom.io.checkpoints import CARD_FILE, NORMALISATION, PRETRAINED, WEIGHTS_FILE, kind_of, load_weights, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

MAKE_AGAIN = "pom pretrain --overwrite"


class PretrainedCard(BaseModel):
    """All about weights that a training can begin with."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["pretrained"] = PRETRAINED
    preprocessing: Preprocessing
    normalisation: str = NORMALISATION
    pixel_size: float
    """Angstrom per pixel of the tomograms that were learnt from, before binning; the mean over them."""
    architecture: str
    widths: tuple[int, ...]
    weights_sha256: str
    hidden_share: float
    """Of the blocks of a crop, how many are hidden."""
    hidden_block: int
    """The side of such a block, in binned pixels."""
    tomograms: tuple[str, ...]
    validation_tomograms: tuple[str, ...]
    """Held out: the loss on them was recorded, and nothing was chosen by it."""
    left_out: dict[str, str]
    """Tomograms that should have been learnt from but could not be read, and why."""
    crops: int
    validation_crops: int
    steps: int
    batch_size: int
    learning_rate: float
    precision: Literal["bf16", "float32"]
    seed: int
    seconds: float
    loss: float
    """Mean absolute error over the hidden pixels, in the last epoch; density has the standard deviation 1."""
    validation_loss: float | None
    fingerprint: str
    """A hash of crops, settings and first weights."""
    versions: dict[str, str]
    created: str


def save_pretrained(folder: Path, weights: Mapping[str, "Tensor"], card: PretrainedCard) -> PretrainedCard:
    """Writes pretrained weights into their folder; the card, which makes them count, comes last.

    Returns:
        The card as written, with the hash of the weights.
    """
    (folder / CARD_FILE).unlink(missing_ok=True)
    card = card.model_copy(update={"weights_sha256": save_tensors(folder / WEIGHTS_FILE, weights)})
    write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return card


def load_pretrained(folder: Path, card: PretrainedCard) -> dict[str, "Tensor"]:
    """Reads the weights that a card describes.

    Raises:
        PomError: they are not there, or others.
    """
    path = folder / WEIGHTS_FILE
    weights = load_weights(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise PomError(
            f"{path} is not the file that {CARD_FILE} beside it describes: run '{MAKE_AGAIN}', or remove {folder}."
        )
    return weights


def read_pretrained_card(folder: Path) -> PretrainedCard | None:
    """Reads the card of pretrained weights in a folder; None where there are none.

    Raises:
        PomError: the card is damaged, or that of a network of another kind.
    """
    path = folder / CARD_FILE
    try:
        data = path.read_bytes()
        return PretrainedCard.model_validate_json(data)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        kind = kind_of(data)
        if kind in ("single", "joint"):
            raise PomError(
                f"{folder} holds a {kind} network and not a pretrained one: move it away, or give it with -checkpoint."
            ) from error
        raise PomError(f"{path} is damaged: run '{MAKE_AGAIN}', or remove {folder}.") from error
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror}): make it readable, or remove {folder}.") from error


def misfit(card: PretrainedCard, preprocessing: Preprocessing, widths: tuple[int, ...]) -> str | None:
    """Why a network of this preprocessing and these widths cannot begin with pretrained weights; None: it can.

    Returns:
        The end of a sentence, such as ``its binning is 1, 1, 1 and not 2, 2, 2``.
    """
    pairs = {
        "channels are": (card.preprocessing.channels, preprocessing.channels),
        "z_sum is": ((card.preprocessing.z_sum,), (preprocessing.z_sum,)),
        "binning is": (card.preprocessing.binning, preprocessing.binning),
        "widths are": (card.widths, widths),
    }
    for what, (its, wanted) in pairs.items():
        if its != wanted:
            return f"its {what} {', '.join(map(str, its))} and not {', '.join(map(str, wanted))}"
    return None
