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
from pom.inference.segment import OutputType, quantise, segment
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


def outputs(folder: Path) -> dict[int, Path]:
    return {0: folder / "TS_1__Disc.mrc", 2: folder / "TS_1__Unknown.mrc"}


def run(folder: Path, predictor: Predictor, output_type: OutputType = "int8") -> None:
    segment(network_input(), predictor, outputs(folder), output_type)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("output_type", "scale", "mode"), [("int8", 127, 0), ("uint8", 255, 6), ("float32", 1, 2)])
def test_outputs_are_the_probabilities(
    tmp_path: Path, predictor: Predictor, output_type: OutputType, scale: int, mode: int
) -> None:
    run(tmp_path / "new", predictor, output_type)
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


@pytest.mark.parametrize("output", ["Disc", "Unknown"])
def test_a_folder_in_the_way_of_an_output(tmp_path: Path, predictor: Predictor, output: str) -> None:
    """No part of a file is left."""
    (tmp_path / f"TS_1__{output}.mrc").mkdir()
    with pytest.raises(PomError, match=rf"TS_1__{output}\.mrc cannot be written"):
        run(tmp_path, predictor)
    left = set(files(tmp_path)) - {f"TS_1__{output}.mrc"}
    assert all(read_header(tmp_path / name).shape == SHAPE for name in left)


def test_nothing_appears_if_the_check_before_fails(tmp_path: Path, predictor: Predictor) -> None:
    seen: list[list[str]] = []

    def check() -> None:
        seen.append([name for name in files(tmp_path) if not name.startswith(".")])
        raise PomError("The claim was lost.")

    with pytest.raises(PomError, match="The claim was lost"):
        segment(network_input(), predictor, outputs(tmp_path), "int8", check)
    assert seen == [[]]
    assert files(tmp_path) == []


def test_an_older_output_survives_a_failure(tmp_path: Path, predictor: Predictor) -> None:
    """The network fails at the last slices; what an earlier run wrote is still there, whole."""

    class Failing(Predictor):
        def __init__(self) -> None:
            pass

        def predict(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
            yield from list(predictor.predict(images))[:-1]
            raise PomError("Not even one slice fits.")

    run(tmp_path, predictor)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(PomError, match="Not even one slice fits"):
        run(tmp_path, Failing())
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

    monkeypatch.setattr("pom.inference.segment.MrcWriter.write", write)
    with pytest.raises(PomError, match="The disk is full"):
        run(tmp_path, predictor)
    assert files(tmp_path) == []
