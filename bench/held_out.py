"""What trained networks are scored on: whole demo tomograms that no training saw."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pom.demo.dataset import truth_file
from pom.demo.phantom import ONTOLOGIES
from pom.io.channels import read_network_input
from pom.io.mrc import MrcReader
from pom.measure.dice import dice, majority_labels
from pom.project.paths import Project
from pom.workflow.single_initialize import preprocessing_of

Probabilities = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images (n, channel, y, x) to (n, y, x), 0..1."""


@dataclass(frozen=True)
class HeldOut:
    """What a network is scored on: slices of whole tomograms, and where the ontology truly is in them."""

    images: list[NDArray[np.float32]]
    """Per tomogram (n, channel, y, x)."""
    truth: list[NDArray[np.bool_]]
    """Per tomogram (n, y, x)."""

    @classmethod
    def of(cls, project: Project, ontology: str, every: int) -> "HeldOut":
        """Each ``every``-th slice of the tomograms with a truth."""
        preprocessing = preprocessing_of(project)
        images, truth = [], []
        for name in project.tomogram_names():
            path = truth_file(project.folder, name)
            if path.exists():
                files = project.input_files(name, channels=preprocessing.channels)
                data = read_network_input(files, preprocessing, project.configuration.apix).data
                with MrcReader(path) as reader:
                    labels = reader.read(0, reader.header.shape[0])
                labels = majority_labels(labels, preprocessing.binning, len(ONTOLOGIES) + 1)
                images.append(np.ascontiguousarray(data.swapaxes(0, 1)[::every]))
                truth.append(labels[::every] == ONTOLOGIES.index(ontology) + 1)
        return cls(images, truth)

    def score(self, predict: Probabilities) -> float:
        """Dice of all the slices together."""
        answers = [(predict(images) >= 0.5).ravel() for images in self.images]
        return dice(np.concatenate(answers), np.concatenate([truth.ravel() for truth in self.truth]))


@dataclass(frozen=True)
class Point:
    """How good a network was, and what it had taken until then."""

    seconds: float
    patches: int
    dice: float
