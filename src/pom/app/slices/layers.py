"""What can be laid over a tomogram, and its values from 0 to 1."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pom.app.slices.volumes import Range, Volume, tag_of
from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE
from pom.io.volume_files import stored_at
from pom.project.names import DENSITY, UNKNOWN, without_empty
from pom.project.paths import Project
from pom.volumes.normalise import full_scale, segmentation_top

Kind = Literal["macromolecule", "output", "network"]

N_SAMPLES = 16


@dataclass(frozen=True)
class Layer:
    """Something that can be laid over a tomogram."""

    kind: Kind
    title: str
    """The macromolecule or ontology."""
    path: Path | None
    """Its volume; None: a network computes it."""
    tag: str
    """Changes with the volume, or with the network."""

    @property
    def id(self) -> str:
        """How a request names it."""
        return f"{self.kind}-{self.title}"


def layers_of(project: Project, name: str) -> list[Layer]:
    """The layers of a tomogram: volumes that are there and no placeholders, and trained single networks."""
    from pom.workflow.feature_volumes import feature_file
    from pom.workflow.slice_preview import ontologies_with_network

    macromolecules = without_empty(title for title in project.configuration.macromolecules if title != DENSITY)
    volumes: list[tuple[Kind, str, Path]] = [
        *(("macromolecule", title, project.macromolecule(name, title)) for title in macromolecules),
        *(("output", title, project.output(name, title)) for title in (*project.ontologies, UNKNOWN)),
    ]
    there = [
        Layer(kind, title, path, tag_of(path))
        for kind, title, path in volumes
        if stored_at(path).is_file() and feature_file(project, name, title) is not None
    ]
    networks = {ontology: project.single_network(ontology) / CARD_FILE for ontology in ontologies_with_network(project)}
    return [*there, *(Layer("network", ontology, None, tag_of(card)) for ontology, card in networks.items())]


def share_of_one(volume: Volume, z: int, kind: Kind) -> tuple[NDArray[Any], float]:
    """A slice of a segmentation, (y, x), and the value in it that stands for 1.

    Pom's outputs reach to the top of their type. A macromolecule's volume of only 0 and 1 is a mask; whether it has
    only these is judged by some of its slices and all that were looked at so far.

    Args:
        volume: of the layer.
        z: a slice of it.
        kind: of the layer.

    Raises:
        PomError: values that a segmentation of this type cannot have.
    """
    image = volume.slab(z)
    dtype = volume.header.dtype
    if kind == "output":
        return image, full_scale(dtype)
    seen: SeenRange = volume.measured(SeenRange)
    low, high = seen.with_image(image)
    top = segmentation_top(dtype, low, high)
    if top is None:
        raise PomError(
            f"{volume.header.path} has values from {low:g} to {high:g}, which a segmentation of {dtype.name} cannot "
            "have: save it as uint8 or uint16 from 0 to 255, int8 from 0 to 127, or float from 0 to 1."
        )
    return image, top


class SeenRange:
    """The smallest and largest value of a volume, as far as it was looked at; to begin with, in a few slices."""

    def __init__(self, volume: Volume) -> None:
        depth = volume.header.shape[0]
        places = {int(z) for z in np.linspace(0, depth - 1, min(N_SAMPLES, depth))}
        self._lock = threading.Lock()
        self._low, self._high = np.inf, -np.inf
        for z in places:
            self.with_image(volume.slab(z))

    def with_image(self, image: NDArray[Any]) -> Range:
        """The range with one more slice."""
        low, high = float(image.min()), float(image.max())
        with self._lock:
            self._low, self._high = min(self._low, low), max(self._high, high)
            return self._low, self._high


def slice_of_layer(z: int, n_slices: int, n_layer_slices: int) -> int:
    """The slice of a layer that shows slice ``z`` of a tomogram; the layer may be binned along z."""
    factor = -(-n_slices // n_layer_slices)
    if -(-n_slices // factor) == n_layer_slices:
        return z // factor
    return z * n_layer_slices // n_slices
