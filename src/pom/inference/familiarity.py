"""How unlike a network's training data a tomogram is, told from a sample of its slices."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pom.io.checkpoints import ModelCard
from pom.networks.features import FeatureSpace, pooled_features
from pom.networks.unet import UNet
from pom.volumes.pad import crop_reflected

ONE_IN_TWENTY = 0.95
SHARE = 0.01
"""Of the pixels that the network computes for a tomogram, so many are looked at here, in one orientation."""
FEWEST, MOST = 16, 256
"""Windows that are looked at in a tomogram, however small or large it is."""
BATCH = 64


class Familiarity:
    """Compares tomograms with the patches that a network was trained on, by the network's first features.

    Windows are cut out of the slices and go through the network's first levels by themselves, as patches did:
    features of a whole slice would be averages over more, and without a window's edges, and so could not be
    compared. They are computed in float32 wherever the network runs.

    Args:
        weights: of the network.
        card: its card.
        known: what ``pom.training.familiarity.familiarity_of`` found.
        device: as PyTorch names it.
        n_orientations: that the network averages over for a tomogram; decides how many windows are cheap.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], card: ModelCard, known: Mapping[str, Tensor], device: str,
        n_orientations: int,
    ) -> None:  # fmt: skip
        self._network = UNet(len(card.preprocessing.channels), len(card.outputs), card.widths)
        self._network.load_state_dict(weights)
        self._network.eval().to(device)
        self._device = device
        self._space = FeatureSpace(known["mean"], known["whitening"])
        self._usual = float(known["reference"].quantile(ONE_IN_TWENTY))
        self._window = int(known["window"])
        self._n_orientations = n_orientations

    def score(self, volume: NDArray[np.float32]) -> float:
        """How unlike the training data a tomogram is; the same for the same tomogram.

        Args:
            volume: (channel, z, y, x), as the network gets it.

        Returns:
            The median distance of its windows, as a multiple of the distance that one in twenty known patches
            exceeds: under 1 for what is familiar, and without a limit above.
        """
        windows = self._windows(volume)
        features = [
            pooled_features(self._network, torch.from_numpy(windows[start : start + BATCH]).to(self._device))
            for start in range(0, len(windows), BATCH)
        ]
        return float(self._space.distances(torch.cat(features)).median()) / max(self._usual, 1e-6)

    def _windows(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, channel, y, x), from anywhere in the volume; a slice that is smaller is continued by reflection."""
        n_slices, *size = volume.shape[1:]
        affordable = SHARE * n_slices * size[0] * size[1] * self._n_orientations / self._window**2
        number = round(min(max(affordable, FEWEST), MOST))
        random = np.random.default_rng(0)
        z = random.integers(n_slices, size=number)
        y, x = (self._corners(random, number, side) for side in size)
        return np.stack([
            crop_reflected(volume[:, z[k]], int(y[k]), int(x[k]), self._window, self._window) for k in range(number)
        ])  # fmt: skip

    def _corners(self, random: np.random.Generator, number: int, side: int) -> NDArray[np.int64]:
        spare = side - self._window
        return random.integers(spare + 1, size=number) if spare > 0 else np.full(number, spare // 2)
