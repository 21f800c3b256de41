"""Which annotations are kept from training, to judge it by."""

import logging
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


def hold_out_tomograms(tomograms: Mapping[str, AbstractSet[str]], share: float, seed: int) -> frozenset[str]:
    """Chooses the tomograms that validate all networks of a project.

    One choice for all ontologies: what the single networks saw in training must not validate the joint network,
    which learns from their labels.

    Args:
        tomograms: per ontology, the tomograms in which it is annotated.
        share: of all annotated tomograms, about how many to hold out, 0..1; 0: none.
        seed: of the choice.

    Returns:
        Names of tomograms. Every ontology keeps at least one tomogram to train on. Every ontology that is annotated
        in two or more has one held out, unless that would take another ontology's last.
    """
    everything = sorted(set().union(*tomograms.values()))
    order = [everything[i] for i in np.random.default_rng(seed).permutation(len(everything))]
    held: set[str] = set()
    unmet = {ontology for ontology, names in tomograms.items() if len(names) > 1} if share > 0 else set()
    wanted = math.floor(share * len(everything) + 0.5)

    def is_allowed(name: str) -> bool:
        return all(names - held - {name} for names in tomograms.values() if name in names)

    while unmet or len(held) < wanted:
        candidates = [name for name in order if name not in held and is_allowed(name)]
        # The tomogram that serves most of the ontologies still without one; among equals the seed's order.
        best = max(candidates, key=lambda name: sum(name in tomograms[o] for o in unmet), default=None)
        if best is None:
            break
        served = {ontology for ontology in unmet if best in tomograms[ontology]}
        if not served and len(held) >= wanted:
            break
        held.add(best)
        unmet -= served
    return frozenset(held)


def validation_mask(
    ontologies: Sequence[str], tomograms: Sequence[str], held_out: AbstractSet[str], share: float, seed: int
) -> NDArray[np.bool_]:
    """Which patches validate: those of held-out tomograms, else a share of an ontology's boxes.

    The boxes of an ontology without a held-out tomogram that has it are drawn at random, at least one of two or
    more; a warning says so, since such boxes can lie beside boxes that were trained on.

    Args:
        ontologies: per patch, its own ontology.
        tomograms: per patch, its tomogram.
        held_out: names from ``hold_out_tomograms``.
        share: of the boxes, 0..1.
        seed: of the choice.

    Returns:
        (n,) bool.
    """
    own = np.asarray(ontologies)
    mask = np.isin(np.asarray(tomograms), sorted(held_out))
    for number, ontology in enumerate(sorted(set(own.tolist()))):
        boxes = np.flatnonzero(own == ontology)
        if mask[boxes].any() or share == 0:
            continue
        if len(boxes) == 1:
            log.warning("%s has a single box, which is trained on: there will be no validation figures.", ontology)
            continue
        count = min(max(1, round(share * len(boxes))), len(boxes) - 1)
        mask[np.random.default_rng([seed, number]).permutation(boxes)[:count]] = True
        log.warning(
            "%s is annotated in too few tomograms to hold a whole one out: its validation figures come from %d of "
            "its %d boxes and flatter the network.",
            ontology, count, len(boxes),
        )  # fmt: skip
    return mask
