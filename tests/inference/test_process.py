import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.inference import predictor as predictor_module
from pom.inference.predictor import Predictor
from pom.inference.process import Job, OutputType, ProcessReport, process, quantise
from pom.io.channels import NetworkInput
from pom.io.mrc import read_header

SHAPE = (5, 19, 22)
SECONDS = 20.0


@pytest.fixture
def predictor(random_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A joint network that takes two slices at a time."""
    monkeypatch.setitem(predictor_module.PIXELS_PER_BATCH, "cpu", 2 * SHAPE[1] * SHAPE[2])
    weights, card = random_network("joint", ("Disc", "_", "Unknown"))
    return Predictor(weights, card, "cpu", bf16=False, n_orientations=1)


def network_input(seed: int = 0) -> NetworkInput:
    data = np.random.default_rng(seed).normal(size=(2, *SHAPE)).astype(np.float32)
    return NetworkInput(data, (10, 38, 44), (62.72, 31.36, 31.0), (1.0, -2.0, 3.5))


def job(folder: Path, name: str, read: Callable[[], NetworkInput] = network_input) -> Job:
    outputs = {0: folder / f"{name}__Disc.mrc", 2: folder / f"{name}__Unknown.mrc"}
    return Job(name, read, outputs)


def run(jobs: list[Job], predictor: Predictor, output_type: OutputType = "int8") -> ProcessReport:
    report = ProcessReport()
    process(jobs, predictor, output_type, report)
    return report


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("output_type", "scale", "mode"), [("int8", 127, 0), ("uint8", 255, 6), ("float32", 1, 2)])
def test_outputs_are_the_probabilities(
    tmp_path: Path, predictor: Predictor, output_type: OutputType, scale: int, mode: int
) -> None:
    report = run([job(tmp_path / "new", "TS_1")], predictor, output_type)
    assert (report.done, report.skipped, report.failed) == (["TS_1"], [], {})
    assert files(tmp_path / "new") == ["TS_1__Disc.mrc", "TS_1__Unknown.mrc"]
    expected = np.concatenate(list(predictor.predict(network_input().data.swapaxes(0, 1))))
    for index, output in ((0, "Disc"), (2, "Unknown")):
        with mrcfile.open(tmp_path / "new" / f"TS_1__{output}.mrc") as mrc:
            assert mrc.is_volume()
            assert int(mrc.header.mode) == mode
            assert mrc.data.shape == SHAPE
            tolerance = 0.5 / scale if scale > 1 else 0
            np.testing.assert_allclose(mrc.data / np.float32(scale), expected[:, index], atol=tolerance + 1e-5)
            voxel = mrc.voxel_size
            assert (float(voxel.z), float(voxel.y), float(voxel.x)) == pytest.approx((62.72, 31.36, 31.0))
            assert mrc.header.origin.tolist() == (1.0, -2.0, 3.5)


def test_quantised_values() -> None:
    values = np.array([0, 0.003, 0.004, 0.5, 0.996, 1, 1 + 1e-6], np.float32)
    assert quantise(values, "int8").tolist() == [0, 0, 1, 64, 126, 127, 127]
    assert quantise(values, "uint8").tolist() == [0, 1, 1, 128, 254, 255, 255]
    assert quantise(values, "float32").tolist() == values.tolist()
    types: tuple[OutputType, ...] = ("int8", "uint8", "float32")
    assert [str(quantise(values, name).dtype) for name in types] == list(types)


def test_a_failed_tomogram_stops_no_other(
    tmp_path: Path, predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> NetworkInput:
        raise PomError("TS_2.mrc is cut short: copy it again.")

    jobs = [job(tmp_path, "TS_1"), job(tmp_path, "TS_2", fail), job(tmp_path, "TS_3"), job(tmp_path, "TS_4", fail)]
    with caplog.at_level(logging.WARNING):
        report = run(jobs, predictor)
    assert report.done == ["TS_1", "TS_3"]
    assert report.failed == dict.fromkeys(["TS_2", "TS_4"], "TS_2.mrc is cut short: copy it again.")
    assert caplog.messages[0] == "TS_2 failed: TS_2.mrc is cut short: copy it again."
    assert files(tmp_path) == [f"{name}__{output}.mrc" for name in ("TS_1", "TS_3") for output in ("Disc", "Unknown")]


@pytest.mark.parametrize("output", ["Disc", "Unknown"])
def test_an_output_that_cannot_be_written_fails_its_tomogram(tmp_path: Path, predictor: Predictor, output: str) -> None:
    """A folder is in the way of one output; no part of a file is left, and the next tomogram is done."""
    (tmp_path / f"TS_1__{output}.mrc").mkdir()
    report = run([job(tmp_path, "TS_1"), job(tmp_path, "TS_2")], predictor)
    assert report.done == ["TS_2"]
    assert list(report.failed) == ["TS_1"]
    assert report.failed["TS_1"].startswith(f"{tmp_path}/TS_1__{output}.mrc cannot be written")
    left = set(files(tmp_path)) - {f"TS_1__{output}.mrc"}
    assert left >= {"TS_2__Disc.mrc", "TS_2__Unknown.mrc"}
    assert all(read_header(tmp_path / name).shape == SHAPE for name in left)
    (tmp_path / f"TS_1__{output}.mrc").rmdir()
    assert run([job(tmp_path, "TS_1")], predictor).done == ["TS_1"]
    assert len(files(tmp_path)) == 4


def test_an_older_output_survives_a_failure(tmp_path: Path, predictor: Predictor) -> None:
    """The network fails at the last slices; what an earlier run wrote is still there, whole."""

    class Failing(Predictor):
        def __init__(self) -> None:
            pass

        def predict(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
            yield from list(predictor.predict(images))[:-1]
            raise PomError("Not even one slice fits.")

    run([job(tmp_path, "TS_1")], predictor)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    report = run([job(tmp_path, "TS_1"), job(tmp_path, "TS_2")], Failing())
    assert report.failed == dict.fromkeys(["TS_1", "TS_2"], "Not even one slice fits.")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("failing", [1, 4, 6])
def test_the_disk_filling_up_while_writing_fails_the_tomogram(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The error comes from the thread that writes behind, in the first, second or last of three batches."""
    writes = []

    def write(self: object, slices: NDArray[Any]) -> None:
        writes.append(len(slices))
        if len(writes) == failing:
            raise PomError("The disk is full.")

    monkeypatch.setattr("pom.inference.process.MrcWriter.write", write)
    report = run([job(tmp_path, "TS_1")], predictor)
    assert report.failed == {"TS_1": "The disk is full."}
    assert files(tmp_path) == []


def test_the_next_tomogram_alone_is_read_ahead(tmp_path: Path, predictor: Predictor) -> None:
    """While one is computed the next is read, but no more, so that memory holds two at most."""
    names = ["TS_1", "TS_2", "TS_3", "TS_4"]
    has_read = {name: threading.Event() for name in names}
    started: list[str] = []

    def reader(name: str) -> Callable[[], NetworkInput]:
        def read() -> NetworkInput:
            started.append(name)
            has_read[name].set()
            return network_input()

        return read

    class Watched(Predictor):
        def __init__(self) -> None:
            self.n_computed = 0

        def predict(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
            if self.n_computed + 1 < len(names):
                assert has_read[names[self.n_computed + 1]].wait(SECONDS)
            assert started == names[: self.n_computed + 2]
            self.n_computed += 1
            return predictor.predict(images)

    assert run([job(tmp_path, name, reader(name)) for name in names], Watched()).done == names
    assert started == names


def test_no_jobs(predictor: Predictor) -> None:
    assert run([], predictor) == ProcessReport()
