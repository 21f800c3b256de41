import math
import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.mrc import MrcReader, MrcWriter
from pom.io.summary_files import Figures, Settings
from pom.io.volume_files import open_volume
from pom.measure.composition import inner_slices, measure

VOXEL = 10.0  # Angstrom, so that a voxel is 1 nm^3


def figures(
    folder: Path,
    volume: NDArray[np.generic],
    level: int = 128,
    dust: float = 1.0,
    margin: float = 0.0,
    may_be_mask: bool = False,
    voxel: float = VOXEL,
) -> Figures:
    with mrcfile.new(folder / "a.mrc", volume, overwrite=True) as file:
        file.voxel_size = voxel
        file.set_volume()
    settings = Settings(level=level, dust=dust, margin=margin, voxel_size=(VOXEL, VOXEL, 2 * VOXEL))
    with open_volume(folder / "a.mrc") as reader:
        return measure(reader, settings, may_be_mask=may_be_mask)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def test_a_ball_has_its_volume_and_is_one_piece(tmp_path: Path) -> None:
    inside = ball((50, 60, 70), (24, 30, 35), 20)
    found = figures(tmp_path, np.where(inside, 0.8, 0.1).astype(np.float32))
    # radius 20 nm
    assert found.volume == pytest.approx(4 / 3 * math.pi * 0.020**3, rel=0.01)
    assert found.volume == pytest.approx(inside.sum() * 1e-9)
    assert found.components == 1
    assert found.confidence == pytest.approx(0.8, rel=1e-6)
    assert found.percent == pytest.approx(100 * (0.8 * inside.mean() + 0.1 * (1 - inside.mean())), rel=1e-5)


def test_a_box_has_its_share_of_what_is_between_the_margins(tmp_path: Path) -> None:
    volume = np.zeros((20, 10, 10), np.int8)
    volume[4:12, :5] = 127
    # 30 % of 20 slices are left out on either side: slices 6 to 13 count.
    found = figures(tmp_path, volume, margin=0.3)
    assert found.percent == pytest.approx(100 * 6 / 8 / 2)
    assert found.volume == pytest.approx(6 * 50 * 1e-9)


@pytest.mark.parametrize(
    ("n_slices", "margin", "expected"),
    [(20, 0.3, (6, 14)), (11, 0.3, (3, 8)), (3, 0.3, (0, 3)), (10, 0.0, (0, 10)), (10, 0.5, (4, 6)), (1, 1.0, (0, 1))],
)
def test_the_margin_is_rounded_down_and_leaves_a_slice(n_slices: int, margin: float, expected: tuple[int, int]) -> None:
    assert inner_slices(n_slices, margin) == expected


@pytest.mark.parametrize(
    ("dtype", "top", "least"),
    [(np.int8, 127, 64), (np.uint16, 255, 128), (np.int16, 255, 128), (np.float32, 1.0, 0.5), (np.float16, 1.0, 0.5)],
)
def test_every_stored_type_has_its_full_scale(
    tmp_path: Path, dtype: type[np.generic], top: float, least: float
) -> None:
    volume = np.zeros((4, 8, 8), dtype)
    volume[0] = top
    volume[1, 0, 0] = least
    volume[3, 7, 7] = least - (0.01 if dtype in (np.float32, np.float16) else 1)  # just below half of full scale
    found = figures(tmp_path, volume)
    assert found.volume == pytest.approx(65 * 1e-9)
    assert found.percent == pytest.approx(100 * volume.sum(dtype=np.float64) / top / 256, rel=1e-3)
    assert found.confidence == pytest.approx((64 + least / top) / 65, rel=1e-3)
    assert found.components == 1


def test_uint8_as_imod_has_it_counts_up_to_255(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, np.full((2, 4, 4), -1, np.int8)) as file:
        file.voxel_size = VOXEL
        file.set_volume()
    raw = bytearray(path.read_bytes())
    raw[152:160] = (1146047817).to_bytes(4, "little") + (0).to_bytes(4, "little")
    path.write_bytes(raw)
    with open_volume(path) as reader:
        settings = Settings(level=128, dust=0, margin=0, voxel_size=(1, 1, 1))
        assert measure(reader, settings, may_be_mask=False).percent == 100.0


def test_pieces_smaller_than_dust_do_not_count(tmp_path: Path) -> None:
    volume = np.zeros((6, 20, 20), np.int8)
    volume[0, 0, 0] = 127  # 1 nm^3
    volume[2:4, 5:7, 5] = 127  # 4 nm^3
    volume[4, 10:15, 10:12] = 127  # 10 nm^3
    assert figures(tmp_path, volume, dust=0.0).components == 3
    assert figures(tmp_path, volume, dust=1.0).components == 3
    assert figures(tmp_path, volume, dust=4.0).components == 2
    assert figures(tmp_path, volume, dust=4.1).components == 1
    # Dust is part of the volume all the same.
    assert figures(tmp_path, volume, dust=11.0).volume == pytest.approx(15e-9)
    assert figures(tmp_path, volume, dust=11.0).components == 0


def test_the_level_decides_what_belongs_to_a_feature(tmp_path: Path) -> None:
    volume = np.zeros((2, 4, 4), np.float32)
    volume[0, 0] = (0.25, 0.5, 0.75, 1.0)
    counts = {level: figures(tmp_path, volume, level=level).volume * 1e9 for level in (0, 64, 128, 192, 256)}
    assert counts == pytest.approx({0: 32, 64: 4, 128: 3, 192: 2, 256: 1})


def test_nothing_there_has_no_confidence(tmp_path: Path) -> None:
    assert figures(tmp_path, np.zeros((4, 8, 8), np.int8)) == Figures(
        percent=0.0, volume=0.0, components=0, confidence=None
    )


def test_a_mask_of_0_and_1_is_full_only_for_a_macromolecule(tmp_path: Path) -> None:
    volume = np.zeros((2, 4, 4), np.uint16)
    volume[0] = 1
    mask = figures(tmp_path, volume, may_be_mask=True)
    assert (mask.percent, mask.confidence, mask.components) == (50.0, 1.0, 1)
    output = figures(tmp_path, volume)
    assert output.percent == pytest.approx(50 / 255)
    assert (output.confidence, output.components) == (None, 0)


def test_the_voxel_size_steps_in_where_the_header_has_none(tmp_path: Path) -> None:
    volume = np.full((2, 4, 4), 127, np.int8)
    assert figures(tmp_path, volume, voxel=0.0).volume == pytest.approx(2 * figures(tmp_path, volume).volume)


@pytest.mark.parametrize(
    ("values", "dtype", "reason"),
    [
        ((0, 300), np.uint16, "values from 0 to 300, which a segmentation of uint16"),
        ((-5, 100), np.int8, "values from -5 to 100"),
        ((0.0, 1.5), np.float32, "values from 0 to 1.5"),
        ((0.0, math.nan), np.float32, "NaN"),
        ((0.0, math.inf), np.float32, "NaN or infinite"),
    ],
)
def test_values_that_no_segmentation_has_are_refused(
    tmp_path: Path, values: tuple[float, float], dtype: type[np.generic], reason: str
) -> None:
    volume = np.full((2, 4, 4), values[0]).astype(dtype)
    volume[1, 2, 3] = values[1]
    with pytest.raises(PomError, match=reason):
        figures(tmp_path, volume)


def test_a_large_slice_does_not_overflow_a_sum(tmp_path: Path) -> None:
    # 16.8 million voxels of 255 in one chunk make more than 32 bits hold.
    found = figures(tmp_path, np.full((1, 4096, 4096), 255, np.uint16))
    assert (found.percent, found.confidence, found.components) == (100.0, 1.0, 1)


def test_a_deeper_volume_takes_no_more_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    some = (random.random((64, 128, 128)) < 0.1).astype(np.int8) * 127
    peaks = []
    for repeats in (1, 1, 6):  # what is imported at first does not count
        path = tmp_path / f"{repeats}.mrc"
        with MrcWriter(path, (64 * repeats, 128, 128), np.int8, (10.0, 10.0, 10.0)) as writer:
            for _ in range(repeats):
                writer.write(some)
        with MrcReader(path) as reader:
            tracemalloc.start()
            measure(reader, Settings(level=128, dust=1.0, margin=0.0, voxel_size=(10.0,) * 3), may_be_mask=False)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


def test_a_mask_is_one_in_its_margins_too(tmp_path: Path) -> None:
    volume = np.zeros((20, 4, 4), np.uint16)
    volume[8:12, :2] = 1
    mask = figures(tmp_path, volume, margin=0.3, may_be_mask=True)
    assert (mask.percent, mask.confidence) == (25.0, 1.0)
    for z in (0, 5, 14, 19):
        other = volume.copy()
        other[z, 0, 0] = 200
        found = figures(tmp_path, other, margin=0.3, may_be_mask=True)
        assert found.percent == pytest.approx(25 / 255)
        assert found.volume == 0
