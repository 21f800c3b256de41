"""Training patches, in memory and in their files."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.atomic import atomic_path


@dataclass(frozen=True)
class PatchSet:
    """Patches cut at annotated boxes; n patches of (y, x) binned pixels, all of one size."""

    images: NDArray[np.float32]
    """(n, channel, y, x), as the networks see them."""
    drawn: NDArray[np.bool_]
    """(n, y, x): the patch's own ontology was drawn here."""
    boxed: NDArray[np.bool_]
    """(n, y, x): within the box, so that a pixel not drawn is known not to be the patch's own ontology."""
    inside: NDArray[np.bool_]
    """(n, y, x): within the tomogram; the rest was padded by reflection."""
    ontologies: NDArray[np.str_]
    """(n,): the patch's own ontology."""
    tomograms: NDArray[np.str_]
    """(n,): the names of the tomograms."""
    centres: NDArray[np.int64]
    """(n, 3): z, y, x of the patch's centre, in pixels of the tomogram."""
    corners: NDArray[np.int64]
    """(n, 3): z, y, x of the patch's first pixel, in binned pixels; y and x may be negative."""
    validation: NDArray[np.bool_]
    """(n,): kept from training, to judge it by."""
    preprocessing: str
    """How the images were made: a ``Preprocessing`` as JSON."""
    pixel_size: float
    """Angstrom per pixel of the tomograms, before binning; the mean over them."""

    def __len__(self) -> int:
        return len(self.images)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """The patches at a mask or at indices, in that order."""
        changed: dict[str, Any] = {name: getattr(self, name)[chosen] for name in self._arrays()}
        return replace(self, **changed)

    @classmethod
    def concatenate(cls, parts: "Sequence[Self]") -> Self:
        """Several sets in one.

        Raises:
            PomError: they were preprocessed differently, or are of different sizes.
        """
        if len({(part.preprocessing, part.images.shape[1:]) for part in parts}) > 1:
            raise PomError(
                "The training patches of the ontologies were sampled with different settings; "
                "run 'pom single initialize' again."
            )
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in cls._arrays()
        }
        return replace(parts[0], **joined)

    def with_drawn_pixels(self) -> Self:
        """The patches in whose box something is drawn."""
        return self.select(np.flatnonzero((self.drawn & self.boxed).any(axis=(1, 2))))

    def save(self, path: Path) -> None:
        """Writes the patches to a compressed NumPy archive."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path, made_by: str) -> Self:
        """Reads what ``save`` wrote.

        Args:
            path: the archive.
            made_by: the command that writes it, for the error.

        Raises:
            PomError: it is missing or damaged.
        """
        if not path.exists():
            raise PomError(f"{path} is not there; run '{made_by}' first.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                values = {f.name: archive[f.name] for f in fields(cls)}
        except Exception as error:  # a damaged archive fails in many ways: zip, zlib, header, missing member
            raise PomError(f"{path} is damaged ({error}); run '{made_by}' again.") from error
        values["preprocessing"] = str(values["preprocessing"])
        for name in {"pixel_size", "unknown_threshold"} & values.keys():
            values[name] = float(values[name])
        return cls(**values)

    @classmethod
    def _arrays(cls) -> list[str]:
        return [f.name for f in fields(cls) if f.name not in ("preprocessing", "pixel_size")]


@dataclass(frozen=True)
class JointPatchSet(PatchSet):
    """Patches with the class of every pixel, for the joint network."""

    labels: NDArray[np.uint8]
    """(n, y, x): index into the joint network's outputs; the last is Unknown."""
    outputs: NDArray[np.str_]
    """(class,): the joint network's outputs in order, ``_`` for an empty place."""
    unknown_threshold: float
    """Where no single network was above it, a pixel spoke for Unknown, 0..1."""

    @classmethod
    def _arrays(cls) -> list[str]:
        return [name for name in super()._arrays() if name not in ("outputs", "unknown_threshold")]


@dataclass
class OntologyCount:
    """What was sampled for one ontology.

    Boxes are counted as a person placed them: one that is cut into several patches counts once. Each is with drawn
    pixels, without, or dropped.
    """

    ontology: str
    tomograms: int = 0
    """With at least one patch of it."""
    boxes: int = 0
    with_pixels: int = 0
    """Boxes in which something is drawn."""
    without_pixels: int = 0
    """Boxes in which nothing is drawn."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason to number of boxes that gave no patch."""


@dataclass
class SamplingSummary:
    """What ``pom single initialize`` sampled."""

    rows: list[OntologyCount]
    unknown_titles: list[tuple[str, int]]
    """Titles that no ontology bears: title, number of boxes."""
    failed: dict[str, str]
    """Annotated tomograms that could not be used, and why."""
