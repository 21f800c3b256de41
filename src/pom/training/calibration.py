"""One number that makes a network's probabilities honest, fitted to what was held out of its training.

The temperature of Guo et al., ICML 2017: all logits are divided by it. Over 1 it takes confidence away, under 1 it
adds some. A person says only of a box's own ontology where it is, so that the probability of that one ontology is
compared with drawn or not drawn, in single and joint networks alike.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from pom.io.checkpoints import Calibration
from pom.measure.reliability import expected_calibration_error, reliability
from pom.networks.orientations import orient, orientations, restore
from pom.training.data import LabelledPatches

MOST_PATCHES, MOST_PIXELS = 256, 50_000
"""More of them, drawn at random, do not move a single number."""
LOWEST, HIGHEST = 0.1, 10.0
"""Temperatures between which it is looked for."""
FOLDS = 5
"""Parts of the held-out tomograms, each measured with a temperature that the others gave."""
BATCH = 32
CERTAIN = 1e-6
"""No pixel is taken to be likelier or less likely than this allows, or one wrong pixel would outweigh all others."""


@dataclass(frozen=True)
class KnownPixels:
    """Pixels of which a person has said whether they are their box's own ontology."""

    logits: Tensor
    """(pixel, orientation, class) float32."""
    own: Tensor
    """(pixel,) int64: the ontology's output."""
    drawn: Tensor
    """(pixel,) bool."""
    tomograms: NDArray[np.str_]
    """(pixel,)."""

    def at(self, chosen: NDArray[np.bool_]) -> "KnownPixels":
        """Those where a mask is true."""
        mask = torch.from_numpy(chosen)
        return KnownPixels(self.logits[mask], self.own[mask], self.drawn[mask], self.tomograms[chosen])

    def are_mixed(self) -> bool:
        """Whether some are drawn and some are not."""
        return bool(self.drawn.any() and not self.drawn.all())

    def probabilities(self, temperature: float) -> Tensor:
        """(pixel,): how likely the own ontology is, averaged over orientations as in inference."""
        scaled = self.logits / temperature
        if scaled.shape[2] == 1:
            return torch.sigmoid(scaled[:, :, 0]).mean(dim=1)
        place = self.own[:, None, None].expand(-1, scaled.shape[1], 1)
        return (scaled.gather(2, place)[:, :, 0] - scaled.logsumexp(dim=2)).exp().mean(dim=1)


def calibrate(
    network: nn.Module, held_out: LabelledPatches, tomograms: NDArray[np.str_], n_orientations: int, seed: int
) -> Calibration | None:
    """Fits the temperature of a network.

    With two or more tomograms the errors are measured on tomograms that the temperature was not fitted to. The
    temperature that is returned is fitted to all of them; it is 1 if that makes the error of all of them larger.

    Args:
        network: images (n, channel, y, x) to logits (n, class, y, x), in evaluation mode, on the CPU.
        held_out: patches that it has not learnt from.
        tomograms: (n,), whose patch each is.
        n_orientations: that inference averages over, 1, 2, 4 or 8.
        seed: of the choice of patches and pixels, where there are many.

    Returns:
        None if not both drawn and other pixels were held out.
    """
    random = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(held_out), generator=random)[:MOST_PATCHES].numpy()
    pixels = known_pixels(network, held_out.at(some), tomograms[some], n_orientations, random)
    if not pixels.are_mixed():
        return None
    temperature = fit_temperature(pixels)
    drawn = pixels.drawn.numpy()
    bins_before, bins = (reliability(pixels.probabilities(t).double().numpy(), drawn) for t in (1.0, temperature))
    across = None
    if expected_calibration_error(bins) > expected_calibration_error(bins_before):
        # A few pixels, surely wrong, weigh so much in the likelihood that all others would lose confidence for them.
        temperature, bins = 1.0, bins_before
    elif (across := _across_tomograms(pixels)) is not None:
        bins = reliability(across, drawn)
    return Calibration(
        temperature=round(temperature, 4),
        ece_before=round(expected_calibration_error(bins_before), 5),
        ece=round(expected_calibration_error(bins), 5),
        measured_on="same patches" if across is None else "other tomograms",
        n_pixels=len(drawn),
        n_tomograms=len(set(pixels.tomograms.tolist())),
        n_orientations=n_orientations,
        bins_before=bins_before,
        bins=bins,
    )


@torch.inference_mode()
def known_pixels(
    network: nn.Module,
    patches: LabelledPatches,
    tomograms: NDArray[np.str_],
    n_orientations: int,
    random: torch.Generator,
) -> KnownPixels:
    """The known pixels of patches, at most ``MOST_PIXELS``, with the logits of every orientation."""
    chosen = _choose(patches.known, random)
    logits = []
    for start in range(0, len(patches), BATCH):
        images, mask = patches.images[start : start + BATCH], chosen[start : start + BATCH]
        answers = [restore(network(orient(images, k)), k) for k in orientations(n_orientations)]
        logits.append(torch.stack([answer.movedim(1, -1)[mask] for answer in answers], dim=1).float())
    patch = torch.nonzero(chosen)[:, 0]
    return KnownPixels(torch.cat(logits), patches.own[patch], patches.drawn[chosen], tomograms[patch.numpy()])


def fit_temperature(pixels: KnownPixels) -> float:
    """The temperature at which what is drawn is likeliest."""

    def negative_log_likelihood(log_temperature: float) -> float:
        likely = pixels.probabilities(math.exp(log_temperature)).clamp(CERTAIN, 1.0 - CERTAIN)
        return -float(torch.where(pixels.drawn, likely, 1.0 - likely).log().mean(dtype=torch.float64))

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return math.exp(float(found.x))


def _across_tomograms(pixels: KnownPixels) -> NDArray[np.float64] | None:
    """What each pixel's probability is with the temperature of other tomograms; None if these do not give one."""
    names = sorted(set(pixels.tomograms.tolist()))
    parts = [np.isin(pixels.tomograms, names[k::FOLDS]) for k in range(min(FOLDS, len(names)))]
    if len(parts) < 2 or not all(pixels.at(~part).are_mixed() for part in parts):
        return None
    probabilities = np.empty(len(pixels.tomograms))
    for part in parts:
        temperature = fit_temperature(pixels.at(~part))
        probabilities[part] = pixels.at(part).probabilities(temperature).numpy()
    return probabilities


def _choose(known: Tensor, random: torch.Generator) -> Tensor:
    """All of the known pixels, or as many at random as are enough; a mask of their shape."""
    places = torch.nonzero(known.flatten())[:, 0]
    if len(places) <= MOST_PIXELS:
        return known
    mask = torch.zeros(known.numel(), dtype=torch.bool)
    mask[places[torch.randperm(len(places), generator=random)[:MOST_PIXELS]]] = True
    return mask.reshape(known.shape)
