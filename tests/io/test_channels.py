import tracemalloc
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from pydantic import ValidationError

from pom.errors import PomError
from pom.io import channels
from pom.io.channels import (
    DensityScale,
    NetworkInput,
    Preprocessing,
    SegmentationScale,
    measure_scale,
    read_network_input,
    read_slab,
)
from pom.io.mrc import MrcReader

SHAPE = (13, 37, 29)
RNG = np.random.default_rng(0)


def write(path: Path, data: NDArray[np.generic], voxel_size: float = 15.68) -> Path:
    with mrcfile.new(path, data, overwrite=True) as mrc:
        mrc.voxel_size = voxel_size
    return path


def read(
    files: dict[str, Path], *names: str, z_sum: int = 0, binning: tuple[int, int, int] = (1, 1, 1)
) -> NetworkInput:
    return read_network_input(files, Preprocessing(channels=names, z_sum=z_sum, binning=binning), 15.68)


def slab_then_bin(volume: NDArray[np.generic], z_sum: int, binning: tuple[int, int, int]) -> NDArray[np.float64]:
    """The definition, on the whole volume."""
    values = volume.astype(np.float64)
    result = np.stack([values[max(z - z_sum, 0) : z + z_sum + 1].mean(0) for z in range(len(values))])
    for axis, factor in enumerate(binning):
        n = result.shape[axis]
        blocks = [result.take(range(k, min(k + factor, n)), axis).mean(axis) for k in range(0, n, factor)]
        result = np.stack(blocks, axis)
    return result


@pytest.mark.parametrize("binning", [(1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1, 2)])
@pytest.mark.parametrize("z_sum", [0, 4, 40])
@pytest.mark.parametrize("chunk_slices", [1, 5, 100])
def test_streaming_equals_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binning: tuple[int, int, int], z_sum: int, chunk_slices: int
) -> None:
    monkeypatch.setattr(channels, "CHUNK_BYTES", chunk_slices * SHAPE[1] * SHAPE[2] * 2)
    monkeypatch.setattr(channels, "TILE_ROWS", 3)
    monkeypatch.setattr(channels, "TILE_PRODUCTS", 1000)
    density = RNG.normal(1000, 300, SHAPE).astype(np.int16)
    membrane = RNG.integers(0, 256, SHAPE).astype(np.uint16)
    files = {"Density": write(tmp_path / "a.mrc", density), "Membrane": write(tmp_path / "m.mrc", membrane)}
    result = read(files, "Density", "_", "Membrane", z_sum=z_sum, binning=binning)
    expected = slab_then_bin(density, z_sum, binning)
    np.testing.assert_allclose(result.data[0], (expected - expected.mean()) / expected.std(), atol=2e-4)
    assert (result.data[1] == -1).all()
    np.testing.assert_allclose(result.data[2], slab_then_bin(membrane, z_sum, binning) * 2 / 255 - 1, atol=2e-6)
    assert result.data.dtype == np.float32
    assert result.full_shape == SHAPE


def test_voxel_size_is_binned_and_the_origin_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, RNG.normal(size=(4, 6, 8)).astype(np.float32)) as mrc:
        mrc.voxel_size = (16.0, 15.0, 30.0)
        mrc.header.origin = (1, 2, 3)
    result = read({"Density": path}, "Density", binning=(1, 2, 4))
    assert result.voxel_size == pytest.approx((30, 30, 64))
    assert result.origin == (1, 2, 3)
    assert result.data.shape == (1, 4, 3, 2)


def test_without_density_the_first_channel_is_the_reference(tmp_path: Path) -> None:
    result = read({"Membrane": write(tmp_path / "m.mrc", np.zeros((2, 4, 4), np.int8))}, "_", "Membrane")
    assert result.full_shape == (2, 4, 4)
    assert (result.data == -1).all()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("dtype", "zero", "one"),
    [
        (np.int8, 0, 127),
        (np.uint16, 0, 255),
        (np.int16, 0, 255),
        (np.float32, 0, 1),
        (np.float16, 0, 1),
        (np.int8, 0, 1),
        (np.uint16, 0, 1),
        (np.float32, -0.02, 1.02),
    ],
)
def test_a_segmentation_is_scaled_by_its_type(
    tmp_path: Path, dtype: DTypeLike, zero: float, one: float, big_endian: bool
) -> None:
    """Three slices of the value for 0, for 1, and half of each in two neighbouring pixels."""
    volume = np.full((3, 2, 4), zero, dtype)
    volume[1] = one
    volume[2, :, ::2] = one
    path = write(tmp_path / "m.mrc", volume)
    if big_endian:
        with mrcfile.open(path) as mrc:
            header = mrc.header.copy().byteswap()
        header["machst"] = [0x11, 0x11, 0, 0]
        path.write_bytes(header.tobytes() + volume.byteswap().tobytes())
    result = read({"Membrane": path}, "Membrane", binning=(1, 1, 2))
    np.testing.assert_allclose(result.data[0, :, 0, 0], [-1, 1, 0], atol=1e-6)
    assert np.abs(result.data).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.int8, -1, 127), (np.uint16, 0, 256), (np.int16, -3, 255), (np.float32, 0, 255), (np.float32, -0.5, 1)],
)
def test_segmentation_values_out_of_range(tmp_path: Path, dtype: DTypeLike, low: float, high: float) -> None:
    volume = np.full((2, 4, 4), low, dtype)
    volume[1] = high
    message = rf"m\.mrc has values from {low:g} to {high:g}, which a segmentation of {np.dtype(dtype).name} cannot"
    with pytest.raises(PomError, match=message):
        read({"Membrane": write(tmp_path / "m.mrc", volume)}, "Membrane")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the library that writes the file
@pytest.mark.parametrize("name", ["Density", "Membrane"])
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [np.inf, -np.inf, np.nan]])
def test_nan_and_infinite_values_are_counted(tmp_path: Path, name: str, values: list[float]) -> None:
    volume = RNG.uniform(size=(5, 8, 8)).astype(np.float32)
    volume.reshape(-1)[10 : 10 + len(values)] = values
    with pytest.raises(PomError, match=rf"a\.mrc holds {len(values)} NaN or infinite values: replace them"):
        read({name: write(tmp_path / "a.mrc", volume)}, name, z_sum=1, binning=(2, 2, 2))


def test_constant_density(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", np.full((7, 9, 9), 0.1, np.float32))
    with pytest.raises(PomError, match=r"a\.mrc is constant \(0\.1 everywhere\)"):
        read({"Density": path}, "Density", z_sum=2, binning=(3, 2, 2))


def test_faint_contrast_is_not_constant(tmp_path: Path) -> None:
    volume = (30_000 + RNG.normal(0, 2, (5, 20, 20))).astype(np.float32)
    result = read({"Density": write(tmp_path / "a.mrc", volume)}, "Density")
    assert result.data.std() == pytest.approx(1, abs=1e-3)


def test_another_shape(tmp_path: Path) -> None:
    files = {
        "Density": write(tmp_path / "a.mrc", RNG.normal(size=(4, 5, 6)).astype(np.float32)),
        "Membrane": write(tmp_path / "m.mrc", np.zeros((4, 6, 5), np.int8)),
    }
    with pytest.raises(PomError, match=r"m\.mrc has the shape \(4, 6, 5\) but .*a\.mrc has \(4, 5, 6\)"):
        read(files, "Membrane", "Density")


def test_missing_files(tmp_path: Path) -> None:
    density = write(tmp_path / "a.mrc", RNG.normal(size=(4, 5, 6)).astype(np.float32))
    with pytest.raises(PomError, match=r"m\.mrc is missing: segment Membrane in this tomogram"):
        read({"Density": density, "Membrane": tmp_path / "m.mrc"}, "Density", "Membrane")
    with pytest.raises(PomError, match="The channel Membrane has no file"):
        read({"Density": density}, "Density", "Membrane")
    with pytest.raises(PomError, match="There is no file"):
        read({"Density": tmp_path / "b.mrc"}, "Density")
    with pytest.raises(PomError, match="No channel has a file"):
        read({}, "_", "_")


def test_a_placeholder_counts_as_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "m.mrc", np.full((10, 10, 10), -1, np.float32))
    with pytest.raises(PomError, match=r"m\.mrc is only the placeholder of an unfinished run"):
        read({"Membrane": path}, "Membrane")


@pytest.mark.parametrize("change", [{"channels": ()}, {"z_sum": -1}, {"binning": (0, 2, 2)}, {"z_bin": 2}])
def test_preprocessing_refuses_nonsense(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocessing.model_validate({"channels": ["Density"], "z_sum": 4, "binning": [2, 2, 2]} | change)


def test_preprocessing_survives_json() -> None:
    preprocessing = Preprocessing(channels=("Density", "_"), z_sum=4, binning=(1, 2, 2))
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing


def test_a_failing_disk_stops_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the reading thread reaches the caller."""
    monkeypatch.setattr(channels, "CHUNK_BYTES", 1)
    read_slices: Callable[[MrcReader, int, int], NDArray[np.generic]] = MrcReader.read

    def fails_at_slice_three(reader: MrcReader, z_start: int, z_stop: int) -> NDArray[np.generic]:
        if z_start == 3:
            raise PomError("the disk fails")
        return read_slices(reader, z_start, z_stop)

    monkeypatch.setattr(MrcReader, "read", fails_at_slice_three)
    with pytest.raises(PomError, match="the disk fails"):
        read({"Density": write(tmp_path / "a.mrc", RNG.normal(size=(5, 4, 4)).astype(np.float32))}, "Density")


def test_memory_stays_bounded_for_a_big_tomogram(tmp_path: Path) -> None:
    """512 MiB of zeros, which take no room on the disk, binned to 64 MiB."""
    path = write(tmp_path / "m.mrc", np.zeros((1, 1024, 1024), np.float32))
    with path.open("r+b") as file:
        for offset in (8, 36):  # nz and mz
            file.seek(offset)
            file.write(np.array(128, "<i4").tobytes())
        file.truncate(1024 + (512 << 20))
    tracemalloc.start()
    try:
        result = read({"Membrane": path}, "Membrane", z_sum=4, binning=(2, 2, 2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.data.shape == (1, 64, 512, 512)
    assert (result.data == -1).all()
    assert peak - result.data.nbytes < 150 << 20


@pytest.mark.parametrize("binning", [(1, 1, 1), (2, 2, 2), (3, 1, 2), (20, 5, 7)])
@pytest.mark.parametrize("z_sum", [0, 4, 40])
@pytest.mark.parametrize("chunk_slices", [1, 5, 100])
def test_each_slice_alone_equals_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binning: tuple[int, int, int], z_sum: int, chunk_slices: int
) -> None:
    monkeypatch.setattr(channels, "CHUNK_BYTES", chunk_slices * SHAPE[1] * SHAPE[2] * 2)
    monkeypatch.setattr(channels, "TILE_ROWS", 3)
    monkeypatch.setattr(channels, "TILE_PRODUCTS", 1000)
    density = write(tmp_path / "a.mrc", RNG.normal(1000, 300, SHAPE).astype(np.int16))
    membrane = write(tmp_path / "m.mrc", RNG.integers(0, 256, SHAPE).astype(np.uint16))
    files = {"Density": density, "Membrane": membrane}
    preprocessing = Preprocessing(channels=("Density", "_", "Membrane"), z_sum=z_sum, binning=binning)
    whole = read_network_input(files, preprocessing, 15.68).data
    scales = {channel: measure_scale(channel, path, preprocessing) for channel, path in files.items()}
    for k in range(whole.shape[1]):
        slab = read_slab(files, preprocessing, scales, k)
        assert slab.dtype == np.float32
        np.testing.assert_allclose(slab, whole[:, k], atol=1e-5)
    for k in (-1, whole.shape[1]):
        with pytest.raises(ValueError, match="no slice"):
            read_slab(files, preprocessing, scales, k)


def test_known_scales(tmp_path: Path) -> None:
    """One half of the voxels is 10, the other 30; bins of both are 20."""
    volume = np.zeros((4, 2, 2), np.float32)
    volume[:, 0], volume[:, 1] = 10, 30
    preprocessing = Preprocessing(channels=("Density", "Mask"), z_sum=0, binning=(1, 1, 2))
    assert measure_scale("Density", write(tmp_path / "a.mrc", volume), preprocessing) == DensityScale(20.0, 10.0)
    in_plane = preprocessing.model_copy(update={"binning": (2, 2, 1)})
    with pytest.raises(PomError, match="is constant"):
        measure_scale("Density", tmp_path / "a.mrc", in_plane)
    mask = write(tmp_path / "m.mrc", np.eye(4, dtype=np.int8)[:, None].repeat(2, 1))
    assert measure_scale("Mask", mask, preprocessing) == SegmentationScale(1.0)
    assert measure_scale("Mask", write(tmp_path / "s.mrc", np.full((2, 3, 3), 9, np.int8)), preprocessing) == (
        SegmentationScale(127.0)
    )


def test_a_slice_reads_only_what_belongs_to_its_slab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Spy(MrcReader):
        def read(self, z_start: int, z_stop: int) -> NDArray[np.generic]:
            seen.append((z_start, z_stop))
            return super().read(z_start, z_stop)

    monkeypatch.setattr(channels, "MrcReader", Spy)
    files = {"Density": write(tmp_path / "a.mrc", RNG.normal(size=(40, 8, 8)).astype(np.float32))}
    preprocessing = Preprocessing(channels=("Density",), z_sum=3, binning=(2, 2, 2))
    for k, expected in ((0, (0, 5)), (10, (17, 25)), (19, (35, 40))):
        seen.clear()
        read_slab(files, preprocessing, {"Density": DensityScale(0.0, 1.0)}, k)
        assert seen == [expected]


def test_measuring_holds_little_of_a_long_tomogram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CHUNK_BYTES", 4 * 256 * 256 * 4)
    path = write(tmp_path / "a.mrc", RNG.normal(size=(256, 256, 256)).astype(np.float32))
    tracemalloc.start()
    try:
        measure_scale("Density", path, Preprocessing(channels=("Density",), z_sum=4, binning=(1, 1, 1)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20  # of 64 MiB


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the library that writes the file
def test_what_cannot_be_measured(tmp_path: Path) -> None:
    preprocessing = Preprocessing(channels=("Density", "Membrane"), z_sum=1, binning=(2, 2, 2))
    bad = RNG.uniform(size=(5, 8, 8)).astype(np.float32)
    bad[3, 2, 1:3] = np.nan
    path = write(tmp_path / "a.mrc", bad)
    for channel in preprocessing.channels:
        with pytest.raises(PomError, match=r"a\.mrc holds 2 NaN or infinite values"):
            measure_scale(channel, path, preprocessing)
    with pytest.raises(PomError, match="segment Membrane in this tomogram"):
        measure_scale("Membrane", tmp_path / "gone.mrc", preprocessing)
    with pytest.raises(PomError, match="cannot have"):
        measure_scale("Membrane", write(tmp_path / "m.mrc", np.full((2, 4, 4), 7, np.float32)), preprocessing)
