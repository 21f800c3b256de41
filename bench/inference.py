"""Inference of one tomogram, from files to files: Pom, and the published design with everything else alike.

Each run is a process of its own. The clock runs from opening the inputs to the last output on disk; starting Python
and one slice to warm up come before it, for both.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from measure_process import Figures, run_alone
from report import GIB, MILLION, report
from workload import CHANNELS, PREPROCESSING, VOXEL_SIZE, input_files, output_files, random_predictor, write_tomogram


def run_pom(folder: str, n_outputs: int, n_orientations: int, device: str) -> Figures:
    """Segments the tomogram in a folder as the program does."""
    import torch

    from pom.inference.segment import segment
    from pom.io.channels import read_network_input

    predictor = random_predictor(n_outputs, n_orientations, device)
    _, height, width = _binned_shape(Path(folder))
    for _ in predictor.predict(np.zeros((1, len(CHANNELS), height, width), np.float32)):
        pass
    started = time.perf_counter()
    network_input = read_network_input(input_files(Path(folder)), PREPROCESSING, VOXEL_SIZE)
    segment(network_input, predictor, output_files(Path(folder), "pom", n_outputs), "int8")
    return {"seconds": time.perf_counter() - started, "threads": torch.get_num_threads()}


def run_published(folder: str, n_outputs: int, n_orientations: int, device: str, every: int) -> Figures:
    """Segments it with the published design: float32, one slice and one orientation at a time.

    ``every``: process one slice in so many, and scale the seconds spent on slices up to all of them.
    """
    import torch
    from torch import Tensor

    from pom.io.channels import read_network_input
    from pom.io.mrc import MrcWriter
    from pom.networks.orientations import orient, orientations, restore
    from pom.volumes.pad import reflect_indices
    from published_design import STRIDE, PublishedUNet

    torch.manual_seed(0)
    network = PublishedUNet(len(CHANNELS), n_outputs).eval().to(device)

    def predict(image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        rows, columns = (
            torch.from_numpy(reflect_indices(0, -(-size // STRIDE) * STRIDE, size)).to(device)
            for size in (height, width)
        )
        padded = image[:, :, rows][:, :, :, columns]
        return torch.softmax(network(padded)[:, :, :height, :width], dim=1)

    with torch.inference_mode(), ExitStack() as files:
        predict(torch.zeros(1, len(CHANNELS), *_binned_shape(Path(folder))[1:], device=device))
        started = time.perf_counter()
        network_input = read_network_input(input_files(Path(folder)), PREPROCESSING, VOXEL_SIZE)
        was_read = time.perf_counter()
        n_slices, height, width = network_input.data.shape[1:]
        chosen = range(0, n_slices, every)
        writers = [
            files.enter_context(
                MrcWriter(path, (len(chosen), height, width), np.dtype(np.float32), network_input.voxel_size,
                          network_input.origin)
            )
            for path in output_files(Path(folder), "published", n_outputs).values()
        ]  # fmt: skip
        for z in chosen:
            image = torch.from_numpy(network_input.data[:, z][None]).to(device)
            total = torch.zeros(1, n_outputs, height, width, device=device)
            for k in orientations(n_orientations):
                total += restore(predict(orient(image, k)), k)
            probabilities = (total / n_orientations).cpu().numpy()
            for index, writer in enumerate(writers):
                writer.write(probabilities[:, index])
        files.close()
        slices_seconds = time.perf_counter() - was_read
    scaled = was_read - started + slices_seconds * n_slices / len(chosen)
    return {"seconds": scaled, "threads": torch.get_num_threads()}


def _binned_shape(folder: Path) -> tuple[int, int, int]:
    from pom.io.mrc import read_header

    shape = read_header(input_files(folder)["Density"]).shape
    z, y, x = (-(-n // factor) for n, factor in zip(shape, PREPROCESSING.binning, strict=True))
    return z, y, x


def _median(runs: list[Figures], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def main() -> None:
    """Measures both designs in turns and prints their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), default=(64, 256, 256), help="voxels")
    parser.add_argument("--outputs", type=int, default=4, help="ontologies; Unknown comes on top")
    parser.add_argument("--orientations", type=int, choices=(1, 2, 4, 8), default=4, help="flips and rotations")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turns")
    parser.add_argument("--baseline-slices", type=int, default=1, metavar="K", help="baseline: one slice in K")
    parser.add_argument("--device", default="cpu", help="of both networks, as PyTorch names it")
    parser.add_argument("--folder", type=Path, help="where the temporary files go")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    n_outputs = options.outputs + 1
    runs: dict[str, list[Figures]] = {"Pom": [], "published design": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_tomogram(Path(folder), tuple(options.size))
        alike = {
            "folder": folder, "n_outputs": n_outputs, "n_orientations": options.orientations, "device": options.device
        }  # fmt: skip
        for _ in range(options.repeats):
            runs["Pom"].append(run_alone(run_pom, **alike))
            runs["published design"].append(run_alone(run_published, every=options.baseline_slices, **alike))
    millions = float(np.prod(options.size)) / MILLION
    seconds = {design: _median(each, "seconds") for design, each in runs.items()}
    peaks = {design: _median(each, "peak_bytes") for design, each in runs.items()}
    ratio = seconds["published design"] / seconds["Pom"]
    rows = [
        [
            design,
            f"{seconds[design]:.2f}",
            f"{min(r['seconds'] for r in runs[design]):.2f} - {max(r['seconds'] for r in runs[design]):.2f}",
            f"{millions / seconds[design]:.3f}",
            f"{seconds[design] / millions:.3f}",
            f"{peaks[design] / GIB:.2f}",
            f"{seconds['published design'] / seconds[design]:.1f}",
        ]
        for design in runs
    ]
    notes = [f"{int(runs['Pom'][0]['threads'])} threads on {options.device}; medians of {options.repeats} runs each."]
    if options.baseline_slices > 1:
        notes.append(
            f"The published design processed only one slice in {options.baseline_slices}; its seconds on slices are "
            "SCALED UP to all of them, and its memory is that of the run it made."
        )
    size = " x ".join(map(str, options.size))
    report(
        f"Inference, {size} voxels, {len(CHANNELS)} channels, {options.orientations} orientations, {n_outputs} outputs",
        ["design", "seconds", "from - to", "M voxels/s", "s per M voxels", "peak GiB", "times faster"],
        rows,
        notes,
        {"runs": runs, "ratio": ratio, "input_voxels": millions * MILLION, "baseline_slices": options.baseline_slices},
        options.json,
    )


if __name__ == "__main__":
    main()
