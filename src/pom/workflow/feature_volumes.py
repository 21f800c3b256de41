"""The segmentation of a feature in a tomogram, without its margins: an ontology, Unknown, or a macromolecule."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import ANGSTROM_PER_NM, is_placeholder
from pom.io.stamps import is_absent
from pom.io.volume_files import open_volume, stored_at
from pom.measure.composition import inner_slices, top_of
from pom.project.listing import list_files, list_tomograms
from pom.project.names import DENSITY, SEPARATOR, UNKNOWN, name_fault, readable, without_empty
from pom.project.paths import Project
from pom.workflow.segmented import look_through
from pom.workflow.survey import LARGEST_PLACEHOLDER


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
    """What has segmentations, each once: the ontologies, Unknown, and the macromolecules."""
    macromolecules = (name for name in without_empty(project.configuration.macromolecules) if name != DENSITY)
    return tuple(dict.fromkeys((*project.ontologies, UNKNOWN, *macromolecules)))


def is_output(project: Project, feature: str) -> bool:
    """Whether a feature is one of the networks' outputs, and no macromolecule."""
    return feature in (*project.ontologies, UNKNOWN)


def feature_file(project: Project, name: str, feature: str) -> Path | None:
    """The file that holds a feature; None where there is none, or only what stands in for it."""
    if feature not in known_features(project):
        return None
    place = project.output if is_output(project, feature) else project.macromolecule
    path = place(name, feature)
    stored = stored_at(path)
    try:
        size = stored.stat().st_size
    except OSError as error:
        return None if is_absent(error) else path  # whoever reads it says what is wrong
    return None if size <= LARGEST_PLACEHOLDER and stored == path and is_placeholder(path) else path


def find_segmentations(project: Project, features: Iterable[str]) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """The segmentations that are there, placeholders among them; only names are looked at, and into OME-Zarrs.

    Test tomograms are left out, of which only macromolecules are there.

    Returns:
        By tomogram and feature the path, tomograms sorted and features in the order of ``features``; and by file, why
        it cannot be used: its name, or a damaged OME-Zarr.

    Raises:
        PomError: a folder cannot be read.
    """
    outputs, failed = look_through(project.output_dir)
    macromolecules = list_files(project.macromolecule_dir)
    found: dict[str, dict[str, Path]] = {}
    for title in features:
        of_network = is_output(project, title)
        place = project.output if of_network else project.macromolecule
        ending = f"{SEPARATOR}{title}.mrc"
        for file in outputs if of_network else macromolecules:
            name = file.removesuffix(ending)
            if name == file or not name or SEPARATOR in name:
                continue
            fault = name_fault(name)
            if fault is None:
                found.setdefault(name, {})[title] = place(name, title)
            else:
                # Neither a terminal nor a workbook takes every character.
                failed[readable(f"{name}{SEPARATOR}{title}")] = f"The name of the file {fault}: rename it."
    tests = set(list_tomograms(project.test_dir).tomograms) - set(list_tomograms(project.tomogram_dir).tomograms)
    only_tests = {name for name in tests & set(found) if not any(is_output(project, title) for title in found[name])}
    return {name: found[name] for name in sorted(found) if name not in only_tests}, failed


def read_feature(project: Project, name: str, feature: str) -> FeatureVolume:
    """Reads a feature's segmentation.

    Raises:
        PomError: there is none, it is damaged, or holds what no segmentation does.
    """
    path = feature_file(project, name, feature)
    if path is None:
        raise PomError(f"{name} has no segmentation of {feature}.")
    of_network = is_output(project, feature)
    with open_volume(path) as reader:
        start, stop = inner_slices(reader.header.shape[0], project.configuration.z_margin_summary)
        stored = reader.read(start, stop)
        ends = float(stored.min()), float(stored.max())
        # A network's output of 0 and 1 only is next to nothing, and no mask.
        top = top_of(reader, (start, stop), ends, may_be_mask=not of_network)
        voxel_size = reader.header.voxel_size_or(project.voxel_size(is_output=of_network))
    probability = stored.astype(np.float32)
    probability *= np.float32(1 / top)
    return FeatureVolume(probability, voxel_size, start * voxel_size[0] / ANGSTROM_PER_NM)
