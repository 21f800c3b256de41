"""Networks on disk: weights as safetensors beside a card that says all about them. Nothing is unpickled."""

import hashlib
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

CARD_FILE = "card.json"
WEIGHTS_FILE = "weights.safetensors"


class TrainingRecord(BaseModel):
    """What a network was trained on, and how."""

    model_config = ConfigDict(frozen=True)

    tomograms: tuple[str, ...]
    validation_tomograms: tuple[str, ...]
    patches: int
    validation_patches: int
    counterexamples: int
    """Patches among them that belong to other ontologies."""
    labels: Literal["annotations", "single networks"] = "annotations"
    """Who says what the pixels are; where the single networks do, annotations overrule them."""
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
    fingerprint: str = ""
    """A hash of patches, settings and first weights: what has the same one would become the same network."""


class ModelCard(BaseModel):
    """Everything needed to apply a network and to trace its results."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["single", "joint"]
    outputs: tuple[str, ...]
    """Ontologies in the order of the network's outputs; of a joint network ``_`` may be among them, Unknown is last."""
    preprocessing: Preprocessing
    normalisation: str = "density: mean and standard deviation of the tomogram; others: their type's range to -1..1"
    pixel_size: float
    """Angstrom per pixel of the tomograms it was trained on, before binning."""
    architecture: str
    widths: tuple[int, ...]
    weights_sha256: str
    training: TrainingRecord
    validation: dict[str, dict[str, float]]
    """Per ontology: dice, precision, recall on the validation patches."""
    versions: dict[str, str]
    created: str


def save_network(folder: Path, weights: Mapping[str, "Tensor"], card: ModelCard) -> ModelCard:
    """Writes a network into its folder; the card, which makes it count, comes last.

    Returns:
        The card as written, with the weights' hash.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    (folder / CARD_FILE).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(data)
    write_text(folder / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    return card


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
        PomError: the card is damaged.
    """
    path = folder / CARD_FILE
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise PomError(f"{path} is damaged; train the network again.") from error


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
