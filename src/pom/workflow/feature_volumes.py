"""The segmentation of a feature in a tomogram, without its margins: an ontology, Unknown, or a macromolecule."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import is_placeholder
from pom.io.volume_files import open_volume, stored_at
from pom.measure.composition import inner_slices
from pom.project.names import DENSITY, EMPTY, UNKNOWN
from pom.project.paths import Project
from pom.volumes.normalise import full_scale, segmentation_top
from pom.workflow.survey import LARGEST_PLACEHOLDER

ANGSTROM_PER_NM = 10.0


@dataclass(frozen=True)
class FeatureVolume:
    """What lies between the margins; ``z_margin_summary`` is cut off above and below."""

    probability: NDArray[np.float32]
    """(z, y, x), 0..1."""
    voxel_size: tuple[float, float, float]
    """(z, y, x) in Angstrom."""
    bottom: float
    """Where in the tomogram the first slice begins, in nm along z."""

    @property
    def size(self) -> NDArray[np.float64]:
        """(x, y, z) in nm."""
        lengths = np.array(self.probability.shape) * np.array(self.voxel_size) / ANGSTROM_PER_NM
        return np.asarray(lengths[::-1])


def known_features(project: Project) -> tuple[str, ...]:
    """The features that a picture can show: the ontologies, Unknown, and the macromolecules."""
    macromolecules = (name for name in project.configuration.macromolecules if name not in (DENSITY, EMPTY))
    return tuple(dict.fromkeys((*project.ontologies, UNKNOWN, *macromolecules)))


def feature_file(project: Project, name: str, feature: str) -> Path | None:
    """The file that holds a feature; None where there is none, or only what stands in for it."""
    if feature not in known_features(project):
        return None
    is_output = feature in (*project.ontologies, UNKNOWN)
    path = project.output(name, feature) if is_output else project.macromolecule(name, feature)
    stored = stored_at(path)
    try:
        size = stored.stat().st_size
    except FileNotFoundError:
        return None
    except OSError:
        return path  # whoever reads it says what is wrong
    return None if size <= LARGEST_PLACEHOLDER and stored == path and is_placeholder(path) else path


def read_feature(project: Project, name: str, feature: str) -> FeatureVolume:
    """Reads a feature's segmentation.

    Raises:
        PomError: there is none, it is damaged, or holds what no segmentation does.
    """
    path = feature_file(project, name, feature)
    if path is None:
        raise PomError(f"{name} has no segmentation of {feature}.")
    configuration = project.configuration
    with open_volume(path) as reader:
        start, stop = inner_slices(reader.header.shape[0], configuration.z_margin_summary)
        stored = reader.read(start, stop)
        header = reader.header
    is_output = feature in (*project.ontologies, UNKNOWN)
    low, high = float(stored.min()), float(stored.max())
    top = segmentation_top(header.dtype, low, high) if np.isfinite((low, high)).all() else None
    if top is None:
        raise PomError(
            f"{path} has values from {low:g} to {high:g}, which a segmentation of {header.dtype.name} cannot have:"
            " make it again."
        )
    if is_output:
        top = full_scale(header.dtype)  # a network's output of 0 and 1 only is next to nothing, and no mask
    factors = configuration.binning if is_output else (1, 1, 1)
    z, y, x = (size or configuration.apix * factor for size, factor in zip(header.voxel_size, factors, strict=True))
    probability = stored.astype(np.float32)
    probability *= np.float32(1 / top)
    return FeatureVolume(probability, (z, y, x), start * z / ANGSTROM_PER_NM)
