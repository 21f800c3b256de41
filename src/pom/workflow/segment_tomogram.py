"""What a worker does to one tomogram: read it, segment it, write down where the outputs come from."""

import hashlib
import logging
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

import pom
from pom.inference.familiarity import Familiarity
from pom.inference.predictor import Predictor
from pom.inference.segment import segment
from pom.io.atomic import atomic_folder
from pom.io.channels import NetworkInput, read_network_input
from pom.io.checkpoints import ModelCard, load_familiarity, load_network
from pom.io.ome_zarr import check_own
from pom.jobs.ledger import InputFile, Record
from pom.networks.devices import Devices, use_bf16
from pom.workflow.ome_zarr import Form, write_store
from pom.workflow.segmentation import Segmentation

log = logging.getLogger(__name__)

LARGEST_DIFFERENCE = 0.1
"""Of pixel sizes, as a share, before a person should hear of it."""


@dataclass(frozen=True)
class Read:
    """A tomogram, and what it was read from."""

    network_input: NetworkInput
    files: dict[str, InputFile]
    """By channel, as they were before they were read."""


class SegmentTomogram:
    """A worker's ``pom.jobs.worker.Step``.

    Args:
        segmentation: which network, and which tomograms.
        devices: where; the first GPU is used.
    """

    def __init__(self, segmentation: Segmentation, devices: Devices) -> None:
        self._segmentation = segmentation
        self._devices = devices

    @cached_property
    def _network(self) -> tuple[dict[str, torch.Tensor], ModelCard]:
        return load_network(self._segmentation.network, self._segmentation.made_by)

    @cached_property
    def _predictor(self) -> Predictor:
        configuration = self._segmentation.project.configuration
        weights, card = self._network
        bf16 = use_bf16(self._devices, configuration.precision)
        n_orientations = configuration.shared_model_runs_per_volume
        return Predictor(weights, card, self._devices.first, bf16=bf16, n_orientations=n_orientations)

    @cached_property
    def _familiarity(self) -> Familiarity | None:
        """Tells tomograms that are unlike the training data; only the joint network knows what that looked like."""
        weights, card = self._network
        known = load_familiarity(self._segmentation.network, card)
        if known is None:
            return None
        n_orientations = self._segmentation.project.configuration.shared_model_runs_per_volume
        return Familiarity(weights, card, known, self._devices.first, n_orientations)

    def prepare(self) -> None:
        """Loads the network.

        Raises:
            PomError: there is none, or it is damaged.
        """
        _ = self._predictor, self._familiarity

    def read(self, name: str) -> Read:
        """The network's input; warns where its pixels are of another size than those that the network knows."""
        card = self._segmentation.card
        files = self._segmentation.inputs(name)
        # Before they are read: a file that is replaced meanwhile would otherwise pass for the one that was segmented.
        states = {channel: state for channel, path in files.items() if (state := _state(path)) is not None}
        network_input = read_network_input(files, card.preprocessing, self._segmentation.project.configuration.apix)
        pixel_size = network_input.voxel_size[2] / card.preprocessing.binning[2]
        if abs(pixel_size / card.pixel_size - 1.0) > LARGEST_DIFFERENCE:
            log.warning(
                "%s has pixels of %.4g Angstrom, but the network was trained at %.4g: what it finds may be wrong.",
                next(iter(files.values())), pixel_size, card.pixel_size,
            )  # fmt: skip
        return Read(network_input, states)

    def do(self, name: str, inputs: Read, check: Callable[[], None]) -> None:
        """Segments a tomogram, and writes its record once all outputs are there."""
        started = time.time()
        configuration = self._segmentation.project.configuration
        unlike = None if self._familiarity is None else round(self._familiarity.score(inputs.network_input.data), 3)
        write = self._segment_into_store if self._segmentation.in_stores else self._segment_into_files
        outputs = write(name, inputs.network_input, check)
        record = Record(
            tomogram=name,
            step=self._segmentation.step,
            network=self._predictor.card.weights_sha256,
            configuration=hashlib.sha256(configuration.model_dump_json().encode()).hexdigest(),
            inputs=inputs.files,
            version=pom.__version__,
            host=socket.gethostname(),
            device=self._devices.first,
            started=started,
            seconds=round(time.time() - started, 3),
            outputs=outputs,
            unlike=unlike,
        )
        self._segmentation.ledger.write_record(record)

    def _segment_into_files(self, name: str, inputs: NetworkInput, check: Callable[[], None]) -> tuple[str, ...]:
        outputs = self._segmentation.outputs(name)
        dtype = self._segmentation.project.configuration.output_dtype
        segment(inputs, self._predictor, outputs, dtype, check)
        return tuple(path.name for path in outputs.values())

    def _segment_into_store(self, name: str, inputs: NetworkInput, check: Callable[[], None]) -> tuple[str, ...]:
        """By way of MRC files, since chunks of several slices cannot be written slice by slice."""
        segmentation, project = self._segmentation, self._segmentation.project
        store, outputs = project.ome_zarr(name), segmentation.outputs(name)
        check_own(store)
        # Its MRC files go too: were both there, they would be read.
        with atomic_folder(store, instead_of=tuple(outputs.values())) as temporary:
            scratch = temporary / "scratch"
            files = {index: scratch / path.name for index, path in outputs.items()}
            segment(inputs, self._predictor, files, project.configuration.output_dtype, check)
            names = self._predictor.card.outputs
            form = Form(probabilities=True, quantised=False, density_bins=self._predictor.card.preprocessing.binning)
            made_from = {"network": self._predictor.card.weights_sha256}
            write_store(project, name, temporary, form, made_from, {names[index]: files[index] for index in files})
            shutil.rmtree(scratch)
            check()
            check_own(store)
        return (store.name,)

    def is_beyond_repair(self, error: Exception) -> bool:
        """Whether the GPU has failed: CUDA refuses all that comes after such an error in the same process."""
        if isinstance(error, torch.OutOfMemoryError):
            return False
        return bool(self._devices.gpus) and any(name in str(error) for name in ("CUDA", "cuBLAS", "cuDNN"))


def _state(path: Path) -> InputFile | None:
    try:
        found = path.stat()
    except OSError:  # whoever reads it says what is wrong
        return None
    return InputFile(file=str(path), bytes=found.st_size, modified=found.st_mtime)
