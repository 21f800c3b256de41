"""Tomograms through a network: the next one is read while this one is computed and the results are written."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.inference.predictor import Predictor
from pom.io.channels import NetworkInput
from pom.io.mrc import MrcWriter
from pom.progress import track

log = logging.getLogger(__name__)

OutputType = Literal["int8", "uint8", "float32"]
FULL_SCALE = {"int8": 127, "uint8": 255}
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """One tomogram to process."""

    name: str
    read: Callable[[], NetworkInput]
    outputs: dict[int, Path]
    """Where each of the network's outputs goes, by its index."""


@dataclass
class ProcessReport:
    """What became of the tomograms."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Their outputs were there."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name to reason."""


def process(jobs: Sequence[Job], predictor: Predictor, output_type: OutputType, report: ProcessReport) -> None:
    """Processes tomograms one after the other; a failed one is noted in the report and stops no other.

    That holds for every fault but an interruption, be it a PomError, a lack of memory or a fault of the program.

    Args:
        jobs: what to do.
        predictor: the network.
        output_type: int8 for 0..127, uint8 for 0..255, float32 for 0..1.
        report: gets the names.
    """
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        for job, reading in track(_read_ahead(jobs, reader), "Tomograms", len(jobs)):
            try:
                segment(reading.result(), predictor, job.outputs, output_type)
            except PomError as error:
                _fail(report, job, str(error))
            except Exception as error:  # whatever is wrong with one tomogram, the next may do
                first_line, *_ = [*str(error).splitlines(), ""]
                _fail(report, job, f"{type(error).__name__}: {first_line}".removesuffix(": "))
            else:
                report.done.append(job.name)


def _fail(report: ProcessReport, job: Job, reason: str) -> None:
    """Notes a failed tomogram; called while its exception is handled."""
    log.warning("%s failed: %s", job.name, reason)
    log.debug("Traceback of %s:", job.name, exc_info=True)
    report.failed[job.name] = reason


def segment(
    network_input: NetworkInput, predictor: Predictor, outputs: dict[int, Path], output_type: OutputType
) -> None:
    """Segments one tomogram slice by slice; outputs appear whole, and only once all slices are done.

    Args:
        network_input: the tomogram.
        predictor: the network.
        outputs: where each output goes, by its index.
        output_type: see ``process``.

    Raises:
        PomError: an output cannot be written.
    """
    volume = network_input.data.swapaxes(0, 1)
    with ExitStack() as files, ThreadPoolExecutor(1, "write-behind") as executor:
        writers = {
            index: files.enter_context(
                MrcWriter(path, volume.shape[:1] + volume.shape[2:], np.dtype(output_type),
                          network_input.voxel_size, network_input.origin)
            )
            for index, path in outputs.items()
        }  # fmt: skip

        def write(probabilities: NDArray[np.float32]) -> None:
            for index, writer in writers.items():
                writer.write(quantise(probabilities[:, index], output_type))

        waiting: list[Future[None]] = []
        for probabilities in predictor.predict(volume):
            if len(waiting) == BATCHES_AHEAD:
                waiting.pop(0).result()
            waiting.append(executor.submit(write, probabilities))
        for write_behind in waiting:
            write_behind.result()


def quantise(probabilities: NDArray[np.float32], output_type: OutputType) -> NDArray[np.generic]:
    """Probabilities 0..1 as they are written; rounded to the nearest step where the type has steps."""
    if output_type == "float32":
        return probabilities.astype(np.float32, copy=False)
    return np.rint(probabilities * FULL_SCALE[output_type]).astype(output_type)


def _read_ahead(jobs: Sequence[Job], reader: ThreadPoolExecutor) -> Iterator[tuple[Job, Future[NetworkInput]]]:
    """The jobs with their inputs, of which the next is being read."""
    following = reader.submit(jobs[0].read) if jobs else None
    for job, after in zip_longest(jobs, jobs[1:]):
        assert following is not None
        reading = following
        following = reader.submit(after.read) if after else None
        yield job, reading
