"""Labels for the joint network: what the single networks say, overruled by what a person drew."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING = 1.5
"""Standard deviation, in binned pixels, of the smoothing before the arg-max."""
USUAL_THRESHOLD = 0.33
"""Under which a pixel speaks for Unknown, where nothing was held out to choose a better one; the published value."""
THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
"""Those that are chosen from."""


def joint_labels(
    probabilities: NDArray[np.float32],
    own: NDArray[np.intp],
    drawn: NDArray[np.bool_],
    boxed: NDArray[np.bool_],
    unknown_threshold: float,
) -> NDArray[np.uint8]:
    """The class of every pixel of n patches.

    A person's word overrules the networks: a drawn pixel is its patch's ontology, a pixel in the box that was not
    drawn is anything but that. Where no ontology is above the threshold, a pixel is Unknown. The probabilities and
    Unknown are smoothed before the highest is taken, so that ragged edges become labels worth learning; a person's
    word holds after that too.

    Args:
        probabilities: (n, ontology, y, x), 0..1, of the single networks.
        own: (n,) index of each patch's own ontology.
        drawn: (n, y, x), the own ontology was drawn here.
        boxed: (n, y, x), within the box.
        unknown_threshold: 0..1.

    Returns:
        (n, y, x), index of the ontology; one past the last is Unknown.
    """
    n_ontologies = probabilities.shape[1]
    labels = np.empty(drawn.shape, np.uint8)
    for i, (scores, k) in enumerate(zip(probabilities, own, strict=True)):
        is_own, is_not_own = drawn[i] & boxed[i], boxed[i] & ~drawn[i]
        known = scores.copy()
        known[:, is_own] = 0.0
        known[k][is_own] = 1.0
        known[k][is_not_own] = 0.0
        unknown = (known.max(axis=0) < unknown_threshold).astype(np.float32)
        smooth = ndimage.gaussian_filter(np.concatenate([known, unknown[None]]), (0.0, SMOOTHING, SMOOTHING))
        # Smoothing carries the own ontology over the line that a person drew; there the runner-up holds.
        smooth[k][is_not_own] = -1.0
        labels[i] = smooth.argmax(axis=0)
        labels[i][is_own] = k
    assert labels.max(initial=0) <= n_ontologies
    return labels


def choose_threshold(
    probabilities: NDArray[np.float32],
    own: NDArray[np.intp],
    drawn: NDArray[np.bool_],
    boxed: NDArray[np.bool_],
) -> tuple[float, dict[float, float]]:
    """The threshold under which a pixel is best taken for Unknown, by patches that no network has learnt from.

    Says where the highest probability is that of the box's own ontology and not under the threshold, and takes the
    threshold with the highest Dice of that against what is drawn, the mean over ontologies. Of thresholds whose
    Dice agrees in three decimals the one nearest to ``USUAL_THRESHOLD`` is taken.

    Args:
        probabilities: (n, ontology, y, x), 0..1, of the single networks.
        own: (n,) index of each patch's own ontology.
        drawn: (n, y, x), the own ontology was drawn here.
        boxed: (n, y, x), within the box.

    Returns:
        The threshold, and the mean Dice of each of ``THRESHOLDS``; ``USUAL_THRESHOLD`` and none if nothing is drawn.
    """
    highest = probabilities.max(axis=1)
    is_own = probabilities[np.arange(len(own)), own] == highest
    dices = []
    for ontology in np.unique(own):
        of_it = own == ontology
        known = boxed[of_it]
        true = drawn[of_it][known]
        if true.any():
            scores = np.where(is_own[of_it][known], highest[of_it][known], -1.0)
            dices.append([_dice(scores >= threshold, true) for threshold in THRESHOLDS])
    if not dices:
        return USUAL_THRESHOLD, {}
    means: list[float] = np.array(dices).mean(axis=0).round(3).tolist()
    found = dict(zip(THRESHOLDS.tolist(), means, strict=True))
    best = [threshold for threshold, mean in found.items() if mean == max(means)]
    return min(best, key=lambda threshold: abs(threshold - USUAL_THRESHOLD)), found


def _dice(named: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return 2.0 * float((named & true).sum()) / float(named.sum() + true.sum())
