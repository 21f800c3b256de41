"""The tomogram and the network that the measurements share: noise, and random weights."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pom.io.channels import Preprocessing
from pom.io.mrc import MrcWriter

if TYPE_CHECKING:
    from pom.inference.predictor import Predictor

VOXEL_SIZE = 15.68
CHANNELS = ("Density", "Membrane")
PREPROCESSING = Preprocessing(channels=CHANNELS, z_sum=4, binning=(2, 2, 2))


def write_tomogram(folder: Path, shape: tuple[int, int, int]) -> None:
    """Writes a tomogram of noise, (z, y, x) voxels: density as float32 and membrane as int8 0..127."""
    rng = np.random.default_rng(0)
    voxel_size, origin = (VOXEL_SIZE, VOXEL_SIZE, VOXEL_SIZE), (0.0, 0.0, 0.0)
    files = input_files(folder)
    with (
        MrcWriter(files["Density"], shape, np.dtype(np.float32), voxel_size, origin) as density,
        MrcWriter(files["Membrane"], shape, np.dtype(np.int8), voxel_size, origin) as membrane,
    ):
        for _ in range(shape[0]):
            density.write(rng.standard_normal((1, *shape[1:]), np.float32))
            membrane.write(rng.integers(0, 128, (1, *shape[1:]), np.int8))


def input_files(folder: Path) -> dict[str, Path]:
    """The files of ``write_tomogram``, by channel."""
    return {channel: folder / f"{channel}.mrc" for channel in CHANNELS}


def output_files(folder: Path, design: str, n_outputs: int) -> dict[int, Path]:
    """Where a design writes its outputs."""
    return {index: folder / "output" / f"{design}_{index:02d}.mrc" for index in range(n_outputs)}


def random_predictor(n_outputs: int, n_orientations: int, device: str) -> "Predictor":
    """Pom's joint network with random weights, as the program would load it.

    Args:
        n_outputs: outputs, Unknown among them.
        n_orientations: 1, 2, 4 or 8 to average over.
        device: as PyTorch names it; in bfloat16 where it has that.
    """
    import torch

    from pom.inference.predictor import Predictor
    from pom.io.checkpoints import ModelCard, TrainingRecord, current_versions, timestamp
    from pom.networks.devices import Devices, use_bf16
    from pom.networks.unet import UNet

    torch.manual_seed(0)
    network = UNet(len(CHANNELS), n_outputs)
    record = TrainingRecord(
        tomograms=(), validation_tomograms=(), patches=0, validation_patches=0, counterexamples=0,
        held_out="nothing", epochs=0, batch_size=0, learning_rate=0.0, precision="float32", seed=0, seconds=0.0,
        started_from="",
    )  # fmt: skip
    card = ModelCard(
        kind="joint", outputs=tuple(f"Output{index}" for index in range(n_outputs)), preprocessing=PREPROCESSING,
        pixel_size=VOXEL_SIZE, architecture="UNet", widths=network.widths, weights_sha256="", training=record,
        validation={}, versions=current_versions(), created=timestamp(),
    )  # fmt: skip
    devices = Devices() if device == "cpu" else Devices((torch.device(device).index or 0,))
    bf16 = use_bf16(devices, "auto")
    return Predictor(network.state_dict(), card, device, bf16=bf16, n_orientations=n_orientations)
