"""What a trained network says of places that nobody annotated, for another training to learn from."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pom.errors import PomError
from pom.inference.predictor import Predictor
from pom.io.channels import NetworkInput, read_network_input
from pom.io.checkpoints import load_network
from pom.networks.devices import Devices, use_bf16
from pom.progress import track
from pom.project.paths import Project
from pom.training.data import LabelledPatches
from pom.volumes.pad import crop_reflected

log = logging.getLogger(__name__)

MOST_TOMOGRAMS = 24
MARGIN = 16
"""Pixels at a patch's edge that are not learnt from: the network has seen too little of their surroundings."""
WEIGHT = 0.15
"""How much a pixel counts of which the network is certain; one that a person annotated counts 1 or more."""
ORIENTATIONS = 4


def pseudo_patches(
    project: Project, network: Path, without: Sequence[str], n_patches: int, side: int, devices: Devices
) -> LabelledPatches:
    """Patches at random places of random tomograms, labelled by a joint network.

    A pixel's target is the network's most probable class, and it counts by how sure the network is (Lee, ICML 2013
    workshop, weighted). None of them has validation figures.

    Args:
        project: whose tomograms.
        network: the folder of the network.
        without: tomograms that must not be learnt from.
        n_patches: about how many.
        side: of the patches, in binned pixels.
        devices: where; the first GPU is used.

    Returns:
        The patches, their target an output of the network.

    Raises:
        PomError: no tomogram can be used.
    """
    weights, card = load_network(network, "pom shared train --direct")
    bf16 = use_bf16(devices, project.configuration.precision)
    predictor = Predictor(weights, card, devices.first, bf16=bf16, n_orientations=ORIENTATIONS)
    random = np.random.default_rng([project.configuration.seed, n_patches])
    names = sorted(set(project.tomogram_names()) - set(without))
    chosen = [names[i] for i in random.permutation(len(names))[:MOST_TOMOGRAMS]]
    images, inside = [], []
    for number, name in enumerate(track(chosen, "Unannotated places", len(chosen))):
        share = n_patches * (number + 1) // len(chosen) - n_patches * number // len(chosen)
        files = project.input_files(name, channels=card.preprocessing.channels)
        try:
            network_input = read_network_input(files, card.preprocessing, project.configuration.apix)
        except PomError as error:
            log.warning("%s is not learnt from: %s", name, error)
            continue
        for _ in range(share):
            image, mask = _cut_at_random(network_input, side, random)
            images.append(image)
            inside.append(mask)
    if not images:
        raise PomError(f"None of the tomograms in {project.tomogram_dir} can be learnt from: see the warnings.")
    stacked = np.stack(images)
    answers = list(predictor.predict(stacked))
    best = torch.from_numpy(np.concatenate([answer.argmax(axis=1) for answer in answers])).to(torch.int32)
    sureness = torch.from_numpy(np.concatenate([answer.max(axis=1) for answer in answers]))
    nothing = torch.zeros(best.shape, dtype=torch.bool)
    return LabelledPatches(
        images=torch.from_numpy(stacked),
        target=best,
        valid=WEIGHT * sureness * torch.from_numpy(np.stack(inside)),
        own=torch.zeros(len(best), dtype=torch.int64),
        drawn=nothing,
        known=nothing,
        strata=torch.full((len(best),), -1, dtype=torch.int64),
        frequency=torch.ones(len(best), dtype=torch.float64),
    )


def _cut_at_random(
    network_input: NetworkInput, side: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A patch somewhere in a tomogram, and which of its pixels are inside and not too near its edge."""
    depth, height, width = network_input.data.shape[1:]
    z = int(random.integers(depth))
    # As far over the edge as the margin, so that a tomogram's own edge is learnt from too.
    y0, x0 = (int(random.integers(-MARGIN, max(1, size + MARGIN - side))) for size in (height, width))
    rows, columns = (
        (np.arange(side) >= MARGIN)
        & (np.arange(side) < side - MARGIN)
        & (np.arange(first, first + side) >= 0)
        & (np.arange(first, first + side) < size)
        for first, size in ((y0, height), (x0, width))
    )
    return crop_reflected(network_input.data[:, z], y0, x0, side, side), np.outer(rows, columns)
