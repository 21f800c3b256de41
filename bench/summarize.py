"""How fast 'pom summarize' is beside a plain read of the same bytes, and what costs the rest.

Made-up segmentations of smooth blobs with rough edges. Both read what lies between the margins, in as many processes,
in turn: first with the files thrown out of memory, so that the disk is what reads them, then from memory.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.io.mrc import MrcReader, MrcWriter
from pom.io.summary_files import Settings
from pom.io.volume_files import open_volume
from pom.jobs.side_by_side import side_by_side
from pom.measure.composition import inner_slices, measure
from pom.project.configuration import Configuration
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.volumes.normalise import full_scale
from pom.volumes.pieces import PieceCounter
from report import MILLION, report

ONTOLOGIES = ("Mitochondrion", "ER", "Vesicle")
VOXEL = 15.68
CHUNK = 1 << 20
Seconds = tuple[float, float]
"""Gone by, and of the processor in this process."""


def main() -> None:
    """Measures and prints."""
    options = parse()
    import_all()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        configuration = Configuration(
            ontologies=ONTOLOGIES, z_margin_summary=options.margin, output_dtype=options.dtype
        )
        project = Project(Path(folder), configuration)
        files = make(project, options.tomograms, tuple(options.size))
        n_bytes = sum(stop - start for start, stop in (byte_range(path, options.margin) for path in files))
        rows: list[tuple[str, ...]] = []
        figures: dict[str, dict[str, list[Seconds]]] = {}
        for state in ("disk", "memory"):
            reads, sums = [], []
            for _ in range(options.runs):
                forget(files, state)
                reads.append(seconds_of_read(files, options.margin, options.processes))
                forget(files, state)
                sums.append(seconds_of_summary(project, options.processes))
            figures[state] = {"read": reads, "summarize": sums}
            for what, runs in figures[state].items():
                seconds, worked = (statistics.median(column) for column in zip(*runs, strict=True))
                rate = n_bytes / seconds / MILLION
                rows.append((f"{what} from {state}", f"{seconds:.2f}", f"{rate:.0f}", f"{worked:.2f}"))
        parts = seconds_by_part(files[: len(ONTOLOGIES) + 1], options.margin)
        notes = [
            f"{len(files)} files of {options.size} {options.dtype}, {n_bytes / MILLION:.0f} MB between the margins,"
            f" {options.processes} processes, medians of {options.runs} runs in turn.",
            "From memory, ns of the processor a voxel: "
            + ", ".join(f"{part} {nanoseconds:.2f}" for part, nanoseconds in parts.items())
            + ".",
        ]
    report(
        "pom summarize against a plain read",
        ("", "seconds", "MB/s", "of the processor"),
        rows,
        notes,
        {**figures, "parts": parts},
        options.json,
    )


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tomograms", type=int, default=6)
    parser.add_argument("--size", type=int, nargs=3, default=[128, 512, 512], metavar=("Z", "Y", "X"))
    parser.add_argument("--dtype", choices=("int8", "uint8", "float32"), default="int8")
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--processes", type=int, default=1, help="their start counts too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; by default that of temporary files")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def import_all() -> None:
    """Imports what summarize needs, here and not above, or processes that only read would have to import it too."""
    import cc3d  # noqa: F401
    import openpyxl  # type: ignore[import-untyped]  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401

    import pom.workflow.summarize  # noqa: F401


def make(project: Project, n_tomograms: int, shape: tuple[int, int, int]) -> list[Path]:
    """Writes the segmentations: one tomogram, and copies of it."""
    for number, ontology in enumerate((*ONTOLOGIES, UNKNOWN)):
        first = project.output("TS_000", ontology)
        volume = blobs(shape, number).astype(np.float32)
        kind = project.configuration.output_dtype
        stored = volume if kind == "float32" else (volume * (127 if kind == "int8" else 255)).astype(kind)
        with MrcWriter(first, shape, stored.dtype, (VOXEL,) * 3) as writer:
            writer.write(stored)
        for copy in range(1, n_tomograms):
            shutil.copy(first, project.output(f"TS_{copy:03d}", ontology))
    files = sorted(project.output_dir.glob("*.mrc"))
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return files


def blobs(shape: tuple[int, int, int], seed: int) -> NDArray[np.floating]:
    """Values 0..1, about a fifth of them above a half, in pieces some tens of voxels wide."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(random.normal(size=[-(-n // 8) for n in shape]), 1.5)
    fine = ndimage.zoom(coarse / coarse.std(), [n / m for n, m in zip(shape, coarse.shape, strict=True)], order=1)
    fine += random.normal(0.0, 0.05, shape)
    values: NDArray[np.floating] = np.clip((fine - 0.8) * 1.5 + 0.5, 0.0, 1.0)
    return values


def byte_range(path: Path, margin: float) -> tuple[int, int]:
    """From where to where a file is read."""
    with MrcReader(path) as reader:
        header = reader.header
    start, stop = inner_slices(header.shape[0], margin)
    slice_bytes = header.shape[1] * header.shape[2] * header.dtype.itemsize
    return header.data_offset + start * slice_bytes, header.data_offset + stop * slice_bytes


def forget(files: Sequence[Path], state: str) -> None:
    """Throws files out of memory, or brings them there."""
    for path in files:
        with path.open("rb", buffering=0) as file:
            if state == "disk":
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(CHUNK):
                    pass


def read_plainly(task: tuple[tuple[Path, ...], float]) -> int:
    """Reads the same bytes and does nothing with them."""
    paths, margin = task
    buffer = bytearray(CHUNK)
    n_read = 0
    for path in paths:
        start, stop = byte_range(path, margin)
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < stop:
                start += file.readinto(memoryview(buffer)[: stop - start])
        n_read += stop
    return n_read


def seconds_of_read(files: Sequence[Path], margin: float, processes: int) -> Seconds:
    """As many processes as summarize has, each with a tomogram at a time."""
    step = len(ONTOLOGIES) + 1
    tasks = [(tuple(files[start : start + step]), margin) for start in range(0, len(files), step)]
    begun, worked = time.perf_counter(), time.process_time()
    list(side_by_side(read_plainly, tasks, processes))
    return time.perf_counter() - begun, time.process_time() - worked


def seconds_of_summary(project: Project, processes: int) -> Seconds:
    """All of it, from looking for the files to the written tables."""
    from pom.workflow.summarize import summarize

    begun, worked = time.perf_counter(), time.process_time()
    summarize(project, overwrite=True, processes=processes)
    return time.perf_counter() - begun, time.process_time() - worked


def seconds_by_part(files: Sequence[Path], margin: float) -> dict[str, float]:
    """What reading, sums and pieces take in one process, in ns of the processor a voxel; of each file the best."""
    settings = Settings(level=128, dust=1.0, margin=margin, voxel_size=(VOXEL,) * 3)
    forget(files, "memory")
    read = pieces = whole = voxels = 0.0
    for path in files:
        with open_volume(path) as reader:
            start, stop = inner_slices(reader.header.shape[0], margin)
            stored = reader.read(start, stop)
            mask = stored >= stored.dtype.type(full_scale(stored.dtype) / 2)
            read += best(partial(read_plainly, ((path,), margin)))
            whole += best(partial(measure, reader, settings, may_be_mask=False))
            pieces += best(partial(count_pieces, mask))
            voxels += mask.size
    parts = {"plain read": read, "sums": whole - pieces - read, "pieces": pieces, "all": whole}
    return {part: seconds / voxels * 1e9 for part, seconds in parts.items()}


def count_pieces(mask: NDArray[np.bool_]) -> None:
    """As ``measure`` does, some slices at a time."""
    counter = PieceCounter()
    for start in range(0, len(mask), 4):
        counter.add(mask[start : start + 4])
    counter.sizes()


def best(work: Callable[[], object]) -> float:
    """The least that some work takes of the processor, in seconds; others on the machine slow it down too."""
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


if __name__ == "__main__":
    main()
