"""Networks on disk: weights as safetensors beside a card that says all about them. Nothing is unpickled."""

import hashlib
import json
import logging
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import pom
from pom.errors import PomError
from pom.io.atomic import atomic_path, write_text
from pom.io.channels import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"
FAMILIARITY_FILE = "familiarity.safetensors"
NORMALISATION = "density: mean and standard deviation of the tomogram; others: their type's range to -1..1"
PRETRAINED: Literal["pretrained"] = "pretrained"
"""The kind of card that ``pom pretrain`` writes, see ``pom.io.pretrained``."""


class TrainingRecord(BaseModel):
    """What a network was trained on, and how."""

    model_config = ConfigDict(frozen=True)

    tomograms: tuple[str, ...]
    validation_tomograms: tuple[str, ...]
    patches: int
    validation_patches: int
    counterexamples: int
    """Patches among them that belong to other ontologies."""
    labels: Literal["annotations", "single networks"] | None = None
    """Who says what the pixels are; where the single networks do, annotations overrule them. None: not recorded."""
    held_out: Literal["tomograms", "boxes", "nothing"]
    """What the validation patches share with no training patch."""
    epochs: int
    batch_size: int
    learning_rate: float
    precision: Literal["bf16", "float32"]
    seed: int
    seconds: float
    started_from: str
    """The weights that training began with; empty: random ones."""
    pretrained_sha256: str = ""
    """Of these weights, where 'pom pretrain' made them; empty: it did not."""
    fingerprint: str = ""
    """A hash of patches, settings and first weights: what has the same one would become the same network."""
    unknown_threshold: float | None = None
    """Of the joint labels: where no single network was above it, a pixel spoke for Unknown; None without such."""


class ReliabilityBin(BaseModel):
    """The pixels whose predicted probability lies in one of 15 equal parts of 0..1."""

    model_config = ConfigDict(frozen=True)

    probability: float
    """The mean of what the network said, 0..1."""
    drawn: float
    """The share of them that a person drew, 0..1."""
    pixels: int


class Calibration(BaseModel):
    """How far a network's probabilities can be taken at their word, in the boxes that were held out.

    Of each pixel in a box: how likely the network says the box's own ontology is, against whether it was drawn.
    """

    model_config = ConfigDict(frozen=True)

    temperature: float
    """What the logits are divided by."""
    ece_before: float
    """Expected calibration error, 0..1, at temperature 1."""
    ece: float
    """The same at the fitted temperature."""
    measured_on: Literal["other tomograms", "same patches"]
    """What ``ece`` and ``bins`` come from: tomograms that each temperature was not fitted to, or those it was."""
    n_pixels: int
    n_tomograms: int
    n_orientations: int
    """Over how many orientations the probabilities were averaged."""
    bins_before: tuple[ReliabilityBin, ...]
    bins: tuple[ReliabilityBin, ...]
    """Those with pixels, from the lowest probability up."""


class ModelCard(BaseModel):
    """Everything needed to apply a network and to trace its results."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["single", "joint"]
    outputs: tuple[str, ...]
    """Ontologies in the order of the network's outputs; of a joint network ``_`` may be among them, Unknown is last."""
    preprocessing: Preprocessing
    normalisation: str = NORMALISATION
    pixel_size: float
    """Angstrom per pixel of the tomograms it was trained on, before binning."""
    architecture: str
    widths: tuple[int, ...]
    weights_sha256: str
    unknown_constant: float = 0.0
    """What was added to the logit of Unknown after training; it is part of the weights."""
    training: TrainingRecord
    validation: dict[str, dict[str, float]]
    """Per ontology: dice, precision, recall on the validation patches."""
    calibration: Calibration | None = None
    """None: not calibrated, since nothing was held out, or by an earlier version."""
    familiarity_sha256: str = ""
    """Of the file that knows what the training patches look like to the network; empty: there is none."""
    versions: dict[str, str]
    created: str

    @property
    def temperature(self) -> float:
        """What the logits are divided by; 1 where the network is not calibrated."""
        return 1.0 if self.calibration is None else self.calibration.temperature


def save_network(
    folder: Path, weights: Mapping[str, "Tensor"], card: ModelCard, familiarity: Mapping[str, "Tensor"] | None = None
) -> ModelCard:
    """Writes a network into its folder; the card, which makes it count, comes last.

    Args:
        folder: of the network.
        weights: of the network.
        card: all about it.
        familiarity: what its training patches look like to it, where that is known.

    Returns:
        The card as written, with the hashes of the other files.
    """
    (folder / CARD_FILE).unlink(missing_ok=True)
    hashes = {"weights_sha256": save_tensors(folder / WEIGHTS_FILE, weights), "familiarity_sha256": ""}
    if familiarity is None:
        (folder / FAMILIARITY_FILE).unlink(missing_ok=True)
    else:
        hashes["familiarity_sha256"] = save_tensors(folder / FAMILIARITY_FILE, familiarity)
    card = card.model_copy(update=hashes)
    write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return card


def save_tensors(path: Path, tensors: Mapping[str, "Tensor"]) -> str:
    """Writes tensors; returns the SHA-256 of the file."""
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_network(folder: Path, made_by: str) -> tuple[dict[str, "Tensor"], ModelCard]:
    """Reads a network.

    Args:
        folder: where ``save_network`` wrote it.
        made_by: the command that makes it, for the error.

    Raises:
        PomError: it is not there, or its weights are not those that the card describes.
    """
    card = require_card(folder, made_by)
    path = folder / WEIGHTS_FILE
    weights = load_weights(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise PomError(f"{path} is not the file that {CARD_FILE} beside it describes; run '{made_by}' again.")
    return weights, card


def load_familiarity(folder: Path, card: ModelCard) -> dict[str, "Tensor"] | None:
    """Reads what the training patches look like to the network in a folder.

    Returns:
        None where the card knows of no such file, and, with a warning, where it is gone or another one.
    """
    from safetensors.torch import load

    if not card.familiarity_sha256:
        return None
    path = folder / FAMILIARITY_FILE
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() == card.familiarity_sha256:
        return load(data)
    log.warning(
        "%s is not the file that %s beside it describes, so that nothing tells which tomograms are unlike the "
        "training data; train the network again for that.", path, CARD_FILE,
    )  # fmt: skip
    return None


def load_weights(path: Path) -> dict[str, "Tensor"]:
    """Reads weights.

    Args:
        path: a safetensors file, or a folder written by ``save_network``.

    Raises:
        PomError: it is missing, or no safetensors file.
    """
    from safetensors.torch import load

    path = path / WEIGHTS_FILE if path.is_dir() else path
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise PomError(f"{path} cannot be read ({error.strerror}); give the weights of a network.") from error
    except Exception as error:  # safetensors raises its own error class and, for odd headers, others
        raise PomError(f"{path} is not a safetensors file of network weights ({error}).") from error


def read_card(folder: Path) -> ModelCard | None:
    """Reads the card of the network in a folder; None where there is no network.

    Raises:
        PomError: the card is damaged, or that of a pretrained network.
    """
    path = folder / CARD_FILE
    data = b""
    try:
        data = path.read_bytes()
        return ModelCard.model_validate_json(data)
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        if kind_of(data) == PRETRAINED:
            raise PomError(
                f"{folder} holds a pretrained network, which names nothing: give the folder of a single or joint one."
            ) from error
        raise PomError(f"{path} is damaged; train the network again.") from error


def kind_of(card: bytes) -> str | None:
    """What kind of network a card says it is of; None where it does not say."""
    try:
        found = json.loads(card)
    except ValueError:
        return None
    return found.get("kind") if isinstance(found, dict) else None


def require_card(folder: Path, made_by: str) -> ModelCard:
    """Reads the card of the network in a folder, where ``made_by`` is the command that makes it.

    Raises:
        PomError: there is no network, or the card is damaged.
    """
    card = read_card(folder)
    if card is None:
        raise PomError(f"There is no trained network in {folder}; run '{made_by}' first.")
    return card


def current_versions() -> dict[str, str]:
    """The programs that a result depends on, by version."""
    import lightning
    import torch

    return {
        "pom": pom.__version__,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
    }


def timestamp() -> str:
    """The time now, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
