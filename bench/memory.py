"""One big tomogram, from files to files: peak memory, where the time goes, how far that is from the machine's limits.

The whole path is measured, and then each of its phases alone, each in a process of its own. Files are taken out of
the system's cache before they are read, where the system allows that.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from measure_process import Figures, peak_bytes, run_alone
from report import GIB, MILLION, report
from workload import CHANNELS, PREPROCESSING, VOXEL_SIZE, input_files, output_files, random_predictor, write_tomogram

TARGET_BYTES = 3 * GIB
BLOCK = 32 << 20
MATRIX = 2048
MATRIX_SECONDS = 2.0
BILLION = 1e9


def whole(folder: str, n_outputs: int, n_orientations: int) -> Figures:
    """The program's real path."""
    from pom.inference.segment import segment
    from pom.io.channels import read_network_input

    predictor = random_predictor(n_outputs, n_orientations, "cpu")
    _forget(Path(folder))
    before, started = peak_bytes(), time.perf_counter()
    network_input = read_network_input(input_files(Path(folder)), PREPROCESSING, VOXEL_SIZE)
    was_read = time.perf_counter()
    segment(network_input, predictor, output_files(Path(folder), "pom", n_outputs), "int8")
    return {"seconds": time.perf_counter() - started, "read_seconds": was_read - started, "before_bytes": before}


def read_alone(folder: str) -> Figures:
    """Reading and preprocessing."""
    from pom.io.channels import read_network_input

    _forget(Path(folder))
    started = time.perf_counter()
    read_network_input(input_files(Path(folder)), PREPROCESSING, VOXEL_SIZE)
    return {"seconds": time.perf_counter() - started}


def plain_read(folder: str, cached: bool) -> Figures:
    """Reading the same bytes and doing nothing with them; ``cached``: from the system's cache."""
    if not cached:
        _forget(Path(folder))
    buffer, n_bytes, started = memoryview(bytearray(BLOCK)), 0, time.perf_counter()
    for path in input_files(Path(folder)).values():
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                n_bytes += count
    return {"seconds": time.perf_counter() - started, "bytes": n_bytes}


def network_alone(shape: list[int], n_outputs: int, n_orientations: int) -> Figures:
    """The network over the preprocessed volume in memory, its answers dropped. ``shape``: (z, y, x), binned."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pom.networks.unet import UNet

    predictor = random_predictor(n_outputs, n_orientations, "cpu")
    images = np.random.default_rng(0).standard_normal((shape[0], len(CHANNELS), *shape[1:]), np.float32)
    for _ in predictor.predict(images[:1]):
        pass
    started = time.perf_counter()
    for _ in predictor.predict(images):
        pass
    seconds = time.perf_counter() - started
    with torch.device("meta"):
        network = UNet(len(CHANNELS), n_outputs, predictor.card.widths).eval()
        padded = [-(-size // network.stride) * network.stride for size in shape[1:]]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, len(CHANNELS), *padded))
    flops = counter.get_total_flops() * shape[0] * n_orientations
    return {"seconds": seconds, "flops": flops, "bf16": float(predictor.bf16), "threads": torch.get_num_threads()}


def write_alone(folder: str, shape: list[int], n_outputs: int) -> Figures:
    """Rounding and writing: the program's own path with a network that answers at once."""
    from pom.inference.predictor import Predictor
    from pom.inference.segment import segment
    from pom.io.channels import NetworkInput

    class Instant(Predictor):
        """Answers with the same noise, in batches as large as the real one's."""

        def __init__(self) -> None:
            self._answer = np.random.default_rng(0).random((1, n_outputs, *shape[1:]), np.float32)

        def predict(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
            for _ in images:
                yield self._answer

    # Zeros that nobody touches: the volume takes no memory and no time.
    volume = np.zeros((1, *shape), np.float32)
    network_input = NetworkInput(volume, (0, 0, 0), (VOXEL_SIZE,) * 3, (0.0, 0.0, 0.0))
    started = time.perf_counter()
    segment(network_input, Instant(), output_files(Path(folder), "alone", n_outputs), "int8")
    return {"seconds": time.perf_counter() - started, "bytes": n_outputs * float(np.prod(shape))}


def plain_write(folder: str, n_files: int, file_bytes: int) -> Figures:
    """Writing as many bytes to as many files, each flushed to disk."""
    block = np.random.default_rng(0).bytes(min(BLOCK, file_bytes))
    started = time.perf_counter()
    for index in range(n_files):
        with (Path(folder) / "output" / f"plain_{index:02d}").open("wb", buffering=0) as file:
            for start in range(0, file_bytes, len(block)):
                file.write(block[: file_bytes - start])
            os.fsync(file.fileno())
    return {"seconds": time.perf_counter() - started, "bytes": n_files * file_bytes}


def matrix_rates() -> Figures:
    """Floating-point operations per second of a plain matrix product, in bfloat16 and float32."""
    import torch

    rates: Figures = {}
    for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        a, b = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
        best, finish = float("inf"), time.perf_counter() + MATRIX_SECONDS
        while time.perf_counter() < finish:
            started = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - started)
        rates[name] = 2.0 * MATRIX**3 / best
    return rates


def _forget(folder: Path) -> None:
    """Takes the inputs out of the system's cache."""
    if hasattr(os, "posix_fadvise"):
        for path in input_files(folder).values():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, shape: tuple[int, int, int], n_outputs: int, n_orientations: int) -> dict[str, Figures]:
    """All measurements of one tomogram of ``shape`` (z, y, x), by name."""
    write_tomogram(folder, shape)
    binned = [-(-n // factor) for n, factor in zip(shape, PREPROCESSING.binning, strict=True)]
    network = {"n_outputs": n_outputs, "n_orientations": n_orientations}
    return {
        "whole": run_alone(whole, folder=str(folder), **network),
        "read": run_alone(read_alone, folder=str(folder)),
        "plain read": run_alone(plain_read, folder=str(folder), cached=False),
        "cached read": run_alone(plain_read, folder=str(folder), cached=True),
        "network": run_alone(network_alone, shape=binned, **network),
        "write": run_alone(write_alone, folder=str(folder), shape=binned, n_outputs=n_outputs),
        "plain write": run_alone(
            plain_write, folder=str(folder), n_files=n_outputs, file_bytes=int(np.prod(binned, dtype=int))
        ),
        "matrix": run_alone(matrix_rates),
    }


def rows_of(figures: dict[str, Figures], voxels: float) -> list[list[str]]:
    """The table: what, seconds, share of the whole, rate, limit, rate over limit, peak memory."""
    total, precision = figures["whole"]["seconds"], "bf16" if figures["network"]["bf16"] else "float32"
    n_bytes = figures["plain read"]["bytes"]
    plain = {name: figures[name]["bytes"] / figures[name]["seconds"] for name in ("plain read", "plain write")}
    limits = {
        "read": (n_bytes, plain["plain read"], MILLION, "MB/s"),
        "network": (figures["network"]["flops"], figures["matrix"][precision], BILLION, "GFLOP/s"),
        "write": (figures["write"]["bytes"], plain["plain write"], MILLION, "MB/s"),
    }
    titles = {"read": "read and preprocess, alone", "network": "network, alone", "write": "round and write, alone"}
    rows = []
    for name, (amount, limit, unit, unit_name) in limits.items():
        seconds = figures[name]["seconds"]
        rate = amount / seconds
        rows.append(
            [
                titles[name], f"{seconds:.2f}", f"{100 * seconds / total:.0f} %", f"{rate / unit:.0f} {unit_name}",
                f"{limit / unit:.0f} {unit_name}", f"{100 * rate / limit:.0f} %",
                f"{figures[name]['peak_bytes'] / GIB:.2f}",
            ]
        )  # fmt: skip
    speed = f"{voxels / total / MILLION:.1f} M voxels/s"
    rows.append(["whole", f"{total:.2f}", "100 %", speed, "", "", f"{figures['whole']['peak_bytes'] / GIB:.2f}"])
    return rows


def main() -> None:
    """Measures one tomogram and prints where its time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), default=(256, 1024, 1024), help="voxels")
    parser.add_argument("--outputs", type=int, default=20, help="ontologies; Unknown comes on top")
    parser.add_argument("--orientations", type=int, choices=(1, 2, 4, 8), default=4, help="flips and rotations")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (3 GB at the default size)")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    shape = tuple(options.size)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder), shape, options.outputs + 1, options.orientations)
    peak, before = figures["whole"]["peak_bytes"], figures["whole"]["before_bytes"]
    network, matrix = figures["network"], figures["matrix"]
    notes = [
        f"{int(network['threads'])} threads; network in {'bfloat16' if network['bf16'] else 'float32'}, "
        f"{network['flops'] / BILLION:.0f} GFLOP by PyTorch's counter.",
        f"Peak memory {peak / GIB:.2f} GiB, of which {before / GIB:.2f} before the first voxel was read; "
        f"at the default size it should be at most {TARGET_BYTES / GIB:.0f}.",
        f"Limits: a plain read of the same bytes ({_rate(figures['plain read'])} MB/s; from the system's cache "
        f"{_rate(figures['cached read'])}), a plain write of as many with fsync, a product of two {MATRIX} x {MATRIX} "
        f"matrices ({matrix['bf16'] / BILLION:.0f} GFLOP/s in bfloat16, {matrix['float32'] / BILLION:.0f} in float32).",
        f"In the whole, reading took {figures['whole']['read_seconds']:.2f} s; writing runs beside the network there, "
        "so that the phases may sum to more than the whole.",
    ]
    size = " x ".join(map(str, shape))
    report(
        f"One tomogram, {size} voxels, {len(CHANNELS)} channels, {options.orientations} orientations, "
        f"{options.outputs + 1} outputs",
        ["phase", "seconds", "of whole", "rate", "limit", "of limit", "peak GiB"],
        rows_of(figures, float(np.prod(shape))),
        notes,
        figures,
        options.json,
    )


def _rate(figures: Figures) -> str:
    return f"{figures['bytes'] / figures['seconds'] / MILLION:.0f}"


if __name__ == "__main__":
    main()
