"""A tomogram through a network: results are written while the next slices are computed."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pom.inference.predictor import Predictor
from pom.io.channels import NetworkInput
from pom.io.mrc import MrcWriter

OutputType = Literal["int8", "uint8", "float32"]
FULL_SCALE = {"int8": 127, "uint8": 255}
BATCHES_AHEAD = 2


def segment(
    network_input: NetworkInput,
    predictor: Predictor,
    outputs: Mapping[int, Path],
    output_type: OutputType,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Segments one tomogram slice by slice; outputs appear whole, and only once all slices are done.

    Args:
        network_input: the tomogram.
        predictor: the network.
        outputs: where each output goes, by its index.
        output_type: int8 for 0..127, uint8 for 0..255, float32 for 0..1.
        check: called when all is computed and nothing has appeared yet; what it raises stops that.

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
        check()


def quantise(probabilities: NDArray[np.float32], output_type: OutputType) -> NDArray[np.generic]:
    """Probabilities 0..1 as they are written; rounded to the nearest step where the type has steps."""
    if output_type == "float32":
        return probabilities.astype(np.float32, copy=False)
    return np.rint(probabilities * FULL_SCALE[output_type]).astype(output_type)
