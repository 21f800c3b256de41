"""Where an annotation would teach the networks most.

Thousands of tomograms are not all looked at: some dozens are, in a few slices each, until the time is up; which,
changes as annotation goes on. One slice is in memory at a time.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.checkpoints import read_card
from pom.io.mrc import is_placeholder, read_header
from pom.io.volume_files import open_volume
from pom.measure.doubt import most_doubtful
from pom.networks.devices import Devices
from pom.project.names import segmentation_file
from pom.project.paths import Project
from pom.workflow.annotations import annotated, annotation_of
from pom.workflow.segmentation import Segmentation
from pom.workflow.segmented import list_outputs, read_probability
from pom.workflow.slice_preview import SlicePreview, ontologies_with_network

log = logging.getLogger(__name__)

MOST_SEGMENTED = 48
"""Tomograms whose segmentations are looked at: a read of one slice each."""
MOST_PREVIEWED = 12
"""Tomograms that have none, and that the networks are asked about."""
SLICES_SEGMENTED = 8
SLICES_PREVIEWED = 2
"""Of each tomogram."""
MARGIN = 0.15
"""Of a tomogram's slices, at the top and at the bottom: little is in them but ice."""
LEAST_DOUBT = 0.05
"""Below this the networks know their way, and the place is only as good as its tomogram."""
UNLIKE, UNTOUCHED = 0.5, 0.1
"""What counts, beside the doubt, that a tomogram is quite unlike those annotated, or that it has no annotation."""
AGAIN = 0.5
"""What each further place in one tomogram counts of the one before."""
SECONDS = 60.0

NOTHING_YET = "Nothing is annotated in this tomogram yet."
STRANGE = "This tomogram is unlike those that the network has learnt from."
FAR = "This is far from the slices that are annotated in this tomogram."

Look = Callable[[int], tuple[NDArray[np.float32], tuple[float, float]]]
"""Gives of a slice z the probabilities (ontology, y, x), and how many pixels of the tomogram one has along y and x."""


@dataclass(frozen=True)
class Suggestion:
    """A place to annotate: x, y, z in pixels of the tomogram, why in a sentence or two, and how much it is worth."""

    tomogram: str
    z: int
    x: float
    y: float
    reason: str
    score: float


def suggest(
    project: Project,
    devices: Devices,
    *,
    most: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    seconds: float = SECONDS,
) -> list[Suggestion]:
    """Ranks places by what an annotation there would teach.

    Places where a network is unsure, or where two ontologies claim the same pixels, in tomograms that are unlike
    those annotated or not annotated at all: by the segmentations in the output folder, and where there are none by
    the single networks. Before there are networks: tomograms without annotation. A slice is not suggested whose slab
    holds one that is annotated; no tomogram takes all places. A tomogram that cannot be read is said and passed over.

    Args:
        project: whose tomograms.
        devices: for the networks.
        most: places.
        progress: called with how many tomograms were looked at, and how many will be.
        seconds: after this time no other slice is looked at.

    Returns:
        The best first; the same for the same files, unless the time was up.

    Raises:
        PomError: a folder of the project cannot be read.
    """
    survey = _Survey(project)
    deadline = time.monotonic() + seconds
    preview = SlicePreview(project, devices)
    networks = ontologies_with_network(project)
    outputs = _outputs(project, survey.names)
    order = survey.order()
    segmented = [name for name in order if name in outputs][:MOST_SEGMENTED]
    previewed = [name for name in order if name not in outputs][:MOST_PREVIEWED] if networks else []
    places: dict[str, list[Suggestion]] = {}
    for done, name in enumerate([*segmented, *previewed]):
        progress(done, len(segmented) + len(previewed))
        if time.monotonic() > deadline:
            break
        try:
            with ExitStack() as files:
                if name in outputs:
                    ontologies, n_slices = outputs[name], SLICES_SEGMENTED
                    look = _segmented(project, name, ontologies, files)
                else:
                    ontologies, n_slices = networks, SLICES_PREVIEWED
                    look = _previewed(preview, name, ontologies)
                slices = survey.slices(name, n_slices)
                places[name] = list(_places(survey, name, ontologies, look, _until(deadline, slices)))
        except PomError as error:
            log.warning("%s is left out: %s", name, error)
            places[name] = []
    progress(len(segmented) + len(previewed), len(segmented) + len(previewed))
    ranked = _ranked(places)[:most]
    for name in order:
        if len(ranked) >= most:
            break
        if name not in places:
            ranked += survey.plain(name)
    return ranked


class _Survey:
    """What is known of the tomograms before any slice is looked at."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.names = project.tomogram_names()
        # Whoever opens a tomogram to look at it has an empty annotation of it.
        self.annotated = {
            name
            for name, summary in annotated(project).items()
            if summary.fault or any(summary.boxes.values()) or any(summary.drawn.values())
        }
        self._unlike = _unlike(project)
        configuration = project.configuration
        self.side = configuration.ontology_annotation_box_size
        # Of two slices that lie this far apart, or less, one is in the other's slab.
        self._reach = configuration.z_sum + configuration.binning[0] - 1

    def order(self) -> list[str]:
        """The tomograms: the strangest, then others without annotation, then those with; drawn by lot within."""
        # Another lot after every tomogram that is annotated, so that in time each gets its turn.
        random = np.random.default_rng([self._project.configuration.seed, len(self.annotated)])
        names = [self.names[k] for k in random.permutation(len(self.names))]
        untouched = [name for name in names if name not in self.annotated]
        strange = sorted((name for name in untouched if self.is_strange(name)), key=lambda name: -self._unlike[name])
        strange = strange[: MOST_SEGMENTED // 2]
        rest = [name for name in untouched if name not in set(strange)]
        return [*strange, *rest, *(name for name in names if name in self.annotated)]

    def is_strange(self, name: str) -> bool:
        """Whether a tomogram is unlike those that the joint network has learnt from, and still not annotated."""
        return name not in self.annotated and self._unlike.get(name, 0.0) > 1.0

    def worth(self, name: str) -> float:
        """What a tomogram counts, whatever is found in it."""
        if name in self.annotated:
            return 0.0
        return max(UNTOUCHED, UNLIKE * float(np.clip(self._unlike.get(name, 0.0) - 1.0, 0.0, 1.0)))

    def slices(self, name: str, most: int) -> list[int]:
        """Slices to look at, spread over a tomogram, each in no other's slab and in none that is annotated."""
        n_slices = read_header(self._project.tomogram(name)).shape[0]
        taken = self._annotated_slices(name)
        margin = int(MARGIN * n_slices)
        free = [z for z in range(margin, n_slices - margin) if _distance(z, taken) > self._reach]
        chosen: list[int] = []
        for k in range(min(most, len(free))):
            z = free[(2 * k + 1) * len(free) // (2 * min(most, len(free)))]
            if _distance(z, chosen) > self._reach:
                chosen.append(z)
        return chosen

    def plain(self, name: str) -> list[Suggestion]:
        """The middle of a tomogram, or where it is annotated what is farthest from that; at most one place."""
        try:
            n_slices, height, width = read_header(self._project.tomogram(name)).shape
            taken = self._annotated_slices(name)
        except PomError as error:
            log.warning("%s is left out: %s", name, error)
            return []
        margin = int(MARGIN * n_slices)
        z = n_slices // 2
        if taken:
            z = max(range(margin, n_slices - margin), key=lambda z: _distance(z, taken))
            if _distance(z, taken) <= self._reach:
                return []
        return [Suggestion(name, z, width / 2, height / 2, self.reason(name) or FAR, self.worth(name))]

    def reason(self, name: str) -> str:
        """What speaks for a tomogram, whatever is found in it; empty where nothing does."""
        if name in self.annotated:
            return ""
        return STRANGE if self.is_strange(name) else NOTHING_YET

    def _annotated_slices(self, name: str) -> set[int]:
        annotation = annotation_of(self._project, name) if name in self.annotated else None
        features = annotation.features if annotation else ()
        return {z for feature in features for z in (*feature.boxes, *feature.slices)}


def _places(
    survey: _Survey, name: str, ontologies: Sequence[str], look: Look, slices: Iterable[int]
) -> Iterator[Suggestion]:
    """The best place of each slice, if it is worth anything."""
    for z in slices:
        probabilities, (pixels_y, pixels_x) = look(z)
        doubt = most_doubtful(probabilities, max(1, round(survey.side / max(pixels_y, pixels_x))))
        reasons = [survey.reason(name)]
        score = survey.worth(name)
        if doubt.score >= LEAST_DOUBT:
            reasons.insert(0, _in_words([ontologies[k] for k in doubt.ontologies]))
            score += doubt.score
        if score > 0:
            reason = " ".join(filter(None, reasons))
            yield Suggestion(name, z, doubt.x * pixels_x, doubt.y * pixels_y, reason, score)


def _in_words(ontologies: Sequence[str]) -> str:
    if len(ontologies) == 1:
        return f"The network is unsure about {ontologies[0]} here."
    return f"{' and '.join(ontologies)} both claim this place."


def _ranked(places: Mapping[str, Sequence[Suggestion]]) -> list[Suggestion]:
    """All places, the best first; each further one of a tomogram counts less than the one before."""
    ranked = [
        replace(place, score=round(place.score * AGAIN**k, 4))
        for of_tomogram in places.values()
        for k, place in enumerate(sorted(of_tomogram, key=lambda place: -place.score))
    ]
    return sorted(ranked, key=lambda place: (-place.score, place.tomogram, place.z))


def _outputs(project: Project, names: Sequence[str]) -> dict[str, list[str]]:
    """By tomogram the ontologies that are segmented; only names are looked at, and into OME-Zarrs."""
    files = list_outputs(project.output_dir)
    found = {
        name: [ontology for ontology in project.ontologies if segmentation_file(name, ontology) in files]
        for name in names
    }
    return {name: ontologies for name, ontologies in found.items() if ontologies}


def _unlike(project: Project) -> dict[str, float]:
    """How unlike its training data the present joint network finds the tomograms; over 1 they are."""
    try:
        card = read_card(project.joint_network)
    except PomError as error:
        log.warning("%s", error)
        card = None
    if card is None:
        return {}
    records = Segmentation.joint(project).ledger.records()
    return {
        record.tomogram: record.unlike
        for record in records
        if record.unlike is not None and record.network == card.weights_sha256
    }


def _segmented(project: Project, name: str, ontologies: Sequence[str], files: ExitStack) -> Look:
    """Reads single slices of the segmentations of one tomogram.

    Raises:
        PomError: one of them is damaged, or does not fit the tomogram.
    """
    full = read_header(project.tomogram(name)).shape
    paths = [project.output(name, ontology) for ontology in ontologies]
    readers = [files.enter_context(open_volume(path)) for path in paths]
    binning = project.configuration.binning
    expected = tuple(-(-n // factor) for n, factor in zip(full, binning, strict=True))
    for path, reader in zip(paths, readers, strict=True):
        if reader.header.shape != expected or is_placeholder(path):
            raise PomError(
                f"{path} has the shape {reader.header.shape}, where {expected} (z, y, x) is the tomogram's, binned:"
                " segment it again."
            )

    def look(z: int) -> tuple[NDArray[np.float32], tuple[float, float]]:
        k = z // binning[0]
        return np.concatenate([read_probability(reader, k, k + 1) for reader in readers]), binning[1:]

    return look


def _previewed(preview: SlicePreview, name: str, ontologies: Sequence[str]) -> Look:
    def look(z: int) -> tuple[NDArray[np.float32], tuple[float, float]]:
        return np.stack([preview.predict(name, ontology, z) for ontology in ontologies]), (1.0, 1.0)

    return look


def _until(deadline: float, slices: Sequence[int]) -> Iterator[int]:
    for z in slices:
        if time.monotonic() > deadline:
            return
        yield z


def _distance(z: int, taken: Collection[int]) -> float:
    """From a slice to the nearest of others; infinite where there are none."""
    return min((abs(z - other) for other in taken), default=float("inf"))
