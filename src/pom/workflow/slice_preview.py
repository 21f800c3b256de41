"""What a single network says of one slice, at once: only the slices that belong to its slab are read."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.channels import Preprocessing, Scale, measure_scale, read_slab
from pom.io.checkpoints import CARD_FILE, load_network
from pom.io.mrc import read_header
from pom.io.stamps import FileStamp, file_stamp
from pom.networks.devices import Devices, use_bf16
from pom.project.paths import Project
from pom.volumes.binning import unbin
from pom.workflow.segmentation import Segmentation

if TYPE_CHECKING:
    from pom.inference.predictor import Predictor

MOST_SCALES = 4096
"""Of files, two numbers each."""
MOST_SLABS = 4
"""Inputs of the network that are kept, since several networks are asked about one slice: megabytes each."""
MOST_ANSWERS = 16
"""Outputs that are kept, since the slices of one bin have one: a megabyte each."""
MOST_NETWORKS = 4

Key = TypeVar("Key")
Value = TypeVar("Value")
ScaleKey = tuple[Path, FileStamp, str, int, tuple[int, int, int]]


class Recent(Generic[Key, Value]):
    """Keeps the values that were asked for last, so many of them; may be asked from several threads.

    Who asks for a value that another thread is just making waits for that one, and for no other.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._mutex = threading.Lock()
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value kept, or else a new one, which is kept from now on."""
        with self._mutex:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.making:
            if not entry.values:
                entry.values.append(make())
        return entry.values[0]


class _Entry(Generic[Value]):
    """A value, once it is made."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.values: list[Value] = []


def ontologies_with_network(project: Project) -> list[str]:
    """The ontologies of the configuration whose single network is trained, in its order."""
    return [ontology for ontology in project.ontologies if (project.single_network(ontology) / CARD_FILE).exists()]


class SlicePreview:
    """Applies single networks to single slices; may be asked from several threads.

    The answers are those of ``pom single process``, but for rounding: the same preprocessing, with statistics of the
    whole tomogram, and the same network, orientations and precision. The statistics are measured once per tomogram
    and channel, and again when its file has changed; ``prepare`` does so ahead of time. A network that is trained
    anew takes the place of the old one.

    Args:
        project: with tomograms.
        devices: where; the first GPU is used.
    """

    def __init__(self, project: Project, devices: Devices) -> None:
        self._project = project
        self._devices = devices
        self._scales: Recent[ScaleKey, Scale] = Recent(MOST_SCALES)
        self._networks: Recent[str, Predictor] = Recent(MOST_NETWORKS)
        self._slabs: Recent[tuple[object, ...], NDArray[np.float32]] = Recent(MOST_SLABS)
        self._answers: Recent[tuple[object, ...], NDArray[np.float32]] = Recent(MOST_ANSWERS)
        # Two threads that compute at a time only wait for each other, and others may measure meanwhile.
        self._computing = threading.Lock()

    def prepare(self, name: str, ontology: str) -> None:
        """Measures what ``predict`` needs to know of the whole tomogram, seconds where it is large; loads the network.

        That of a GPU is not loaded: the GPU is left to others until somebody asks for an answer.

        Raises:
            PomError: as ``predict``.
        """
        segmentation = self._segmentation(ontology)
        self._scales_of(segmentation.inputs(name), segmentation.card.preprocessing)
        if not self._devices.gpus:
            self._network(segmentation)

    def predict(self, name: str, ontology: str, z: int) -> NDArray[np.float32]:
        """How likely each pixel of a slice is of the ontology.

        Args:
            name: of the tomogram.
            ontology: of the single network.
            z: of the slice, in the tomogram as it is on disk.

        Returns:
            (y, x), 0..1, of the tomogram's full size. The network answers for bins, and every pixel has the value
            of its bin; ``pom single process`` writes one voxel a bin.

        Raises:
            PomError: no such ontology, no trained network of it, no such slice, or a file of the tomogram is
                missing or cannot be used.
        """
        segmentation = self._segmentation(ontology)
        files = segmentation.inputs(name)
        preprocessing = segmentation.card.preprocessing
        header = read_header(next(iter(files.values())))
        n_slices, height, width = header.shape
        if not 0 <= z < n_slices:
            raise PomError(f"{name} has the slices 0 to {n_slices - 1}, and so no slice {z}.")
        scales = self._scales_of(files, preprocessing)
        bin_z, *bins = preprocessing.binning
        slab = (tuple((path, file_stamp(path)) for path in files.values()), preprocessing, z // bin_z)
        with self._computing:
            answer = self._answers.get(
                (segmentation.card.model_dump_json(), slab),
                lambda: self._answer(
                    segmentation, self._slabs.get(slab, lambda: read_slab(files, preprocessing, scales, z // bin_z))
                ),
            )
        return unbin(answer, (bins[0], bins[1]), (height, width))

    def _segmentation(self, ontology: str) -> Segmentation:
        """The way to a network and its inputs.

        Raises:
            PomError: there is no such ontology, or no network.
        """
        segmentation = Segmentation.single(self._project, self._project.known_ontology(ontology), test=False)
        _ = segmentation.card
        return segmentation

    def _answer(self, segmentation: Segmentation, slab: NDArray[np.float32]) -> NDArray[np.float32]:
        """(y, x), binned."""
        probabilities = next(self._network(segmentation).predict(slab[None]))
        return np.ascontiguousarray(probabilities[0, 0])

    def _network(self, segmentation: Segmentation) -> "Predictor":
        return self._networks.get(segmentation.card.model_dump_json(), lambda: self._load(segmentation))

    def _load(self, segmentation: Segmentation) -> "Predictor":
        from pom.inference.predictor import Predictor

        configuration = self._project.configuration
        weights, card = load_network(segmentation.network, segmentation.made_by)
        bf16 = use_bf16(self._devices, configuration.precision)
        n_orientations = configuration.shared_model_runs_per_volume
        return Predictor(weights, card, self._devices.first, bf16=bf16, n_orientations=n_orientations)

    def _scales_of(self, files: Mapping[str, Path], preprocessing: Preprocessing) -> dict[str, Scale]:
        return {channel: self._scale(channel, path, preprocessing) for channel, path in files.items()}

    def _scale(self, channel: str, path: Path, preprocessing: Preprocessing) -> Scale:
        key = (path, file_stamp(path), channel, preprocessing.z_sum, preprocessing.binning)
        return self._scales.get(key, lambda: measure_scale(channel, path, preprocessing))
