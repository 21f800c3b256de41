"""Scrolling through a tomogram in the browser: how long a slice takes, how many come a second, the server's memory.

The real server, as ``pom annotate`` starts it, on loopback; the client asks as the page does, the slice in view and two
ahead at a time. The tomogram is noise, which compresses worst, and was just written, so it is read from the system's
cache.
"""

import argparse
import http.client
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pom.io.mrc import MrcWriter
from pom.project.paths import CONFIGURATION_FILE
from report import MILLION, report
from workload import VOXEL_SIZE

TYPES = ("float32", "int8")
SPREAD = 30.0
AHEAD = 2
N_TIMED = 200
N_FOR_MEMORY = 1000
TARGET_P95 = 0.060
TARGET_RATE = 20.0
MILLI = 1e-3
N_PATTERNS = 16


@dataclass(frozen=True)
class Scroll:
    """What scrolling through many slices took, in seconds, and what came, in bytes."""

    first: float
    """The first slice, with which the contrast is measured."""
    seconds: list[float]
    """Of each slice, from asking to having all of it."""
    elapsed: float
    n_bytes: int
    resident: dict[int, int]
    """The server's memory in bytes, by how many slices were asked for."""

    @property
    def p95(self) -> float:
        """The 95th percentile of the answers."""
        return statistics.quantiles(self.seconds, n=20)[-1]

    @property
    def rate(self) -> float:
        """Slices a second."""
        return len(self.seconds) / self.elapsed


class Client:
    """Asks for slices on a few lasting connections, as a browser does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(AHEAD + 1)

    def ask(self, path: str) -> "Future[tuple[float, int]]":
        """Seconds and bytes of the answer, when it is there."""
        return self._threads.submit(self._get, path, time.perf_counter())

    def _get(self, path: str, asked: float) -> tuple[float, int]:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return time.perf_counter() - asked, len(content)


def write_project(folder: Path, shape: tuple[int, int, int]) -> None:
    """A project with a tomogram of noise, (z, y, x) voxels, of each type."""
    (folder / CONFIGURATION_FILE).write_text(json.dumps({"apix": VOXEL_SIZE}))
    rng = np.random.default_rng(0)
    patterns = SPREAD * rng.standard_normal((N_PATTERNS, *shape[1:]), np.float32)
    for name in TYPES:
        dtype = np.dtype(name)
        with MrcWriter(folder / "tomograms" / f"{name}.mrc", shape, dtype, (VOXEL_SIZE,) * 3) as writer:
            for z in range(shape[0]):
                image = np.roll(patterns[z % N_PATTERNS], z, axis=1)
                writer.write((image if dtype.kind == "f" else image.clip(-128, 127)).astype(dtype)[None])


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """Starts the server; yields its port and process."""
    command = [sys.executable, "-m", "pom", "annotate", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline()
            if not address:
                raise RuntimeError("The server did not start.")
            yield int(address.rstrip().rstrip("/").rpartition(":")[2]), process.pid
        finally:
            process.send_signal(signal.SIGINT)


def scroll(port: int, process: int, name: str, slab: int, depth: int, n_slices: int) -> Scroll:
    """Scrolls through ``n_slices``, from the last of ``depth`` to the first again and again."""
    client = Client(port)
    places = (f"/api/tomograms/{name}/slices/{z}?slab={slab}" for z in itertools.cycle(range(depth)))
    first, _ = client.ask(f"/api/tomograms/{name}/slices/{depth - 1}?slab={slab}").result()
    resident = {0: resident_bytes(process)}
    under_way = deque(client.ask(next(places)) for _ in range(AHEAD))
    seconds, n_bytes, elapsed, begun = [], 0, 0.0, time.perf_counter()
    for number in range(1, n_slices + 1):
        under_way.append(client.ask(next(places)))
        taken, size = under_way.popleft().result()
        if number <= N_TIMED:
            seconds.append(taken)
            n_bytes += size
            elapsed = time.perf_counter() - begun
        if number in (N_TIMED, n_slices):
            resident[number] = resident_bytes(process)
    return Scroll(first, seconds, elapsed, n_bytes, resident)


def resident_bytes(process: int) -> int:
    """The memory that a process has now."""
    if sys.platform == "linux":
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    answer = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=True)
    return int(answer.stdout) * 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), default=(256, 1024, 1024), help="voxels")
    parser.add_argument("--slabs", type=int, nargs="+", default=(1, 9), help="slices that a slab is the mean of")
    parser.add_argument("--slices", type=int, default=N_FOR_MEMORY, help="in all; the first 200 are timed")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (1.3 GB at the default size)")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    scrolls: dict[tuple[str, int], Scroll] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_project(Path(folder), tuple(options.size))
        for name, slab in itertools.product(TYPES, options.slabs):
            with server(Path(folder)) as (port, process):
                scrolls[name, slab] = scroll(port, process, name, slab, options.size[0], options.slices)
    notes = [
        f"Time: from asking for a slice to having all of it, {AHEAD + 1} being asked for at a time. Targets: a 95th "
        f"percentile below {TARGET_P95 / MILLI:.0f} ms, {TARGET_RATE:.0f} slices a second.",
        "First: the first slice, with which the contrast of the tomogram is measured.",
        f"Memory: what the server has resident after the first slice, after {N_TIMED} more, and after "
        f"{options.slices} more.",
    ]
    figures = {f"{name}, slab {slab}": {**vars(each), "p95": each.p95} for (name, slab), each in scrolls.items()}
    report(
        f"Scrolling through a tomogram of {' x '.join(map(str, options.size))} voxels",
        ["tomogram, slab", "median, ms", "95 %, ms", "slices/s", "first, ms", "kB a slice", "memory, MB"],
        [_row(name, slab, each) for (name, slab), each in scrolls.items()],
        notes,
        figures,
        options.json,
    )


def _row(name: str, slab: int, found: Scroll) -> list[str]:
    return [
        f"{name}, {slab}", f"{statistics.median(found.seconds) / MILLI:.1f}", f"{found.p95 / MILLI:.1f}",
        f"{found.rate:.0f}", f"{found.first / MILLI:.0f}", f"{found.n_bytes / len(found.seconds) / 1000:.0f}",
        " / ".join(f"{each / MILLION:.0f}" for each in found.resident.values()),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
