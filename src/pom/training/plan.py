"""How a network is trained."""

from dataclasses import dataclass

LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Plan:
    """How to train; everything here that changes the weights is part of the fingerprint."""

    epochs: int
    batch_size: int
    """Patches per step over all devices; fewer where there are few patches, see ``step_size``."""
    learning_rate: float
    seed: int
    bf16: bool
    stop_early: bool
    """Whether the validation patches can be trusted to end the training and to choose the best epoch."""
    n_orientations: int = 1
    """Over how many orientations inference averages; what is calibrated, no part of the fingerprint."""
