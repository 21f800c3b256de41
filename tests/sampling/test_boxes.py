from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.io.channels import NetworkInput, Preprocessing, read_network_input
from pom.io.mrc import MrcWriter
from pom.io.scns import Feature
from pom.sampling.boxes import Patch, PatchCutter, Tile, patch_side, tiles_of
from pom.volumes.binning import bin_mean

SHAPE = (13, 101, 87)
Z = 6
Binning = tuple[int, int, int]
Centres = list[tuple[float, float]]


def coordinates(binning: Binning = (2, 2, 2), shape: tuple[int, int, int] = SHAPE) -> NetworkInput:
    """A tomogram whose channels say where each binned voxel lies: z, y, x."""
    binned = [-(-n // factor) for n, factor in zip(shape, binning, strict=True)]
    return NetworkInput(np.indices(binned, np.float32), shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def boxed_feature(
    centres: Centres, box_size: int = 32, z: int = Z, drawn: Mapping[int, NDArray[np.uint8]] | None = None
) -> Feature:
    return Feature("Disc", box_size, {z: centres}, drawn or {})


def cut(
    feature: Feature, network_input: NetworkInput, binning: Binning = (2, 2, 2), box_size: int = 32
) -> list[Patch | None]:
    cutter = PatchCutter(network_input, binning, box_size, feature)
    return [cutter.cut(tile) for tile in tiles_of(feature, box_size, binning)]


def cut_one(feature: Feature, network_input: NetworkInput, binning: Binning = (2, 2, 2)) -> Patch:
    (patch,) = cut(feature, network_input, binning)
    assert patch is not None
    return patch


def on_grid(patch: Patch, mask: NDArray[np.bool_], binning: Binning = (2, 2, 2)) -> NDArray[np.int64]:
    """How often each binned pixel (y, x) of the tomogram is in a mask of a patch of ``coordinates``."""
    chosen = mask & patch.inside
    grid = np.zeros([-(-n // factor) for n, factor in zip(SHAPE[1:], binning[1:], strict=True)], np.int64)
    np.add.at(grid, (patch.image[1][chosen].astype(int), patch.image[2][chosen].astype(int)), 1)
    return grid


def wholly_within(x: float, y: float, box_size: int, binning: Binning = (2, 2, 2)) -> NDArray[np.bool_]:
    """The definition: binned pixels (y, x) all of whose pixels are in the box."""
    rows, columns = np.indices(SHAPE[1:])
    left, top = np.floor(x - box_size / 2), np.floor(y - box_size / 2)
    box = (rows >= top) & (rows < top + box_size) & (columns >= left) & (columns < left + box_size)
    binned: NDArray[np.bool_] = bin_mean(box, binning[1:]) == 1
    return binned


@pytest.mark.parametrize("binning", [(1, 1, 1), (2, 2, 2), (2, 3, 3), (1, 4, 2)])
def test_a_patch_is_the_window_that_inference_sees(tmp_path: Path, binning: Binning) -> None:
    """From the file to the patch, at even and odd centres, at the edges, at top and bottom."""
    random = np.random.default_rng(0)
    path = tmp_path / "a.mrc"
    with MrcWriter(path, SHAPE, np.float32, (15.68,) * 3) as writer:
        writer.write(random.normal(size=SHAPE).astype(np.float32))
    preprocessing = Preprocessing(channels=("Density", "_"), z_sum=2, binning=binning)
    seen = read_network_input({"Density": path}, preprocessing, 15.68)
    rows, columns = patch_side(32, binning[1]), patch_side(32, binning[2])
    for z, x, y in [(0, 40, 50), (6, 41, 51), (12, 0, 0), (7, 86, 100), (3, 5.5, 99)]:
        patch = cut_one(boxed_feature([(x, y)], z=z), seen, binning)
        pad = 2 * max(rows, columns)
        padded = np.pad(seen.data[:, z // binning[0]], ((0, 0), (pad, pad), (pad, pad)), "reflect")
        boxes = [-(-32 // factor) for factor in binning[1:]]
        top = pad + int(np.floor(y - 16)) // binning[1] - (rows - boxes[0]) // 2
        left = pad + int(np.floor(x - 16)) // binning[2] - (columns - boxes[1]) // 2
        np.testing.assert_array_equal(patch.image, padded[:, top : top + rows, left : left + columns])
        assert patch.centre == (z, int(np.floor(y)), int(np.floor(x)))
        assert patch.corner == (z // binning[0], top - pad, left - pad)


def test_patch_sides() -> None:
    """A box of 128 at binning 2 has 64 pixels, and 48 of context on each side; sides are multiples of 16."""
    assert [patch_side(128, 2), patch_side(32, 2), patch_side(33, 2), patch_side(100, 1), patch_side(1, 2)] == [
        160, 112, 128, 208, 112,
    ]  # fmt: skip


@pytest.mark.parametrize("binning", [(2, 2, 2), (2, 3, 2), (1, 1, 1)])
@pytest.mark.parametrize("box_size", [32, 31, 10])
@pytest.mark.parametrize(
    "centre", [(40, 50), (41, 50), (41, 51), (40.5, 50.0), (3, 2), (80, 97), (86, 100), (-9, 40), (71, 85)]
)
def test_boxed_are_the_pixels_wholly_in_the_box(centre: tuple[float, float], box_size: int, binning: Binning) -> None:
    """Also where the box is smaller than the patch, reaches over the edge, or ends in a partial bin."""
    network_input = coordinates(binning)
    feature = boxed_feature([centre], box_size)
    expected = wholly_within(*centre, box_size, binning)
    patch = PatchCutter(network_input, binning, 32, feature).cut(next(iter(tiles_of(feature, 32, binning))))
    if patch is None:
        assert not expected.any()
        return
    np.testing.assert_array_equal(on_grid(patch, patch.boxed, binning), expected)
    assert not (patch.boxed & ~patch.inside).any()


def test_what_lies_beyond_the_edge_is_reflected_and_masked() -> None:
    patch = cut_one(boxed_feature([(4, 2)]), coordinates(shape=(8, 120, 121)))
    # The box begins 14 and 12 pixels, 7 and 6 binned ones, before the edge; 48 of context come before it.
    assert patch.corner[1:] == (-55, -54)
    np.testing.assert_array_equal(patch.image[1, :, 60], [*range(55, 0, -1), *range(57)])
    np.testing.assert_array_equal(patch.image[2, 60, :], [*range(54, 0, -1), *range(58)])
    assert not patch.inside[:55].any()
    assert not patch.inside[:, :54].any()
    assert patch.inside[55:, 54:].all()
    assert patch.boxed[55:64, 54:64].all()
    assert patch.boxed.sum() == 9 * 10


def test_a_tomogram_smaller_than_the_patch() -> None:
    small = coordinates(shape=(4, 20, 10))
    patch = cut_one(boxed_feature([(5, 10)], z=1), small)
    assert patch.image.shape == (3, 112, 112)
    assert patch.inside.sum() == 10 * 5
    np.testing.assert_array_equal(patch.boxed, patch.inside)


@pytest.mark.parametrize("binning", [(2, 2, 2), (2, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("box_size", [33, 64, 70, 81])
@pytest.mark.parametrize("centre", [(43, 50), (42, 51), (42.5, 49.5), (20, 80)])
def test_all_of_a_larger_box_is_used_once(centre: tuple[float, float], box_size: int, binning: Binning) -> None:
    patches = cut(boxed_feature([centre], box_size), coordinates(binning), binning)
    assert len(patches) == int(np.ceil(box_size / 32)) ** 2
    used = sum(on_grid(patch, patch.boxed, binning) for patch in patches if patch is not None)
    np.testing.assert_array_equal(used, wholly_within(*centre, box_size, binning))


def test_tiles_are_pixels_of_the_tomogram() -> None:
    (tile,) = tiles_of(boxed_feature([(41, 50)]), 32, (2, 2, 2))
    assert tile == Tile(Z, 34, 25, 66, 57)
    tiles = list(tiles_of(boxed_feature([(41, 50)], 64), 32, (2, 2, 2)))
    assert tiles[0] == Tile(Z, 18, 9, 50, 40)
    assert tiles[3] == Tile(Z, 50, 40, 82, 73)


@pytest.mark.parametrize(("z", "section"), [(0, 0), (1, 0), (11, 5), (12, 6)])
def test_slices_near_top_and_bottom_are_used(z: int, section: int) -> None:
    patch = cut_one(boxed_feature([(40, 50)], z=z), coordinates())
    assert (patch.image[0] == section).all()
    assert patch.boxed.sum() == 16 * 16


@pytest.mark.parametrize("z", [-1, 13, 1000])
def test_a_box_beyond_top_or_bottom_has_no_patch(z: int) -> None:
    assert cut(boxed_feature([(40, 50)], z=z), coordinates()) == [None]


@pytest.mark.parametrize("centre", [(-16, 50), (103, 50), (40, -16), (40, 117), (1000, 50)])
def test_a_box_beside_the_tomogram_has_no_patch(centre: tuple[float, float]) -> None:
    assert cut(boxed_feature([centre]), coordinates()) == [None]


def test_a_pixel_is_drawn_where_half_of_it_is() -> None:
    """Blocks of 2 x 2 with 0 to 4 drawn pixels beside each other, and values above 1, as Ais has them."""
    mask = np.zeros(SHAPE[1:], np.uint8)
    for n in range(5):
        block = np.zeros(4, np.uint8)
        block[:n] = 255
        mask[50:52, 40 + 2 * n : 42 + 2 * n] = block.reshape(2, 2)
    patch = cut_one(boxed_feature([(44, 50)], drawn={Z: mask}), coordinates())
    drawn = on_grid(patch, patch.drawn)
    assert drawn[25, 20:25].tolist() == [0, 0, 1, 1, 1]
    assert drawn.sum() == 3


def test_a_partial_last_bin_is_drawn_where_half_of_what_exists_is() -> None:
    """The tomogram's 101 x 87 pixels leave bins of 1 x 2, 2 x 1 and, in the corner, 1 x 1."""
    mask = np.zeros(SHAPE[1:], np.uint8)
    mask[100, 80] = mask[98, 86] = mask[100, 86] = 1
    patch = cut_one(boxed_feature([(80, 95)], drawn={Z: mask}), coordinates())
    drawn = on_grid(patch, patch.drawn)
    assert np.argwhere(drawn).tolist() == [[49, 43], [50, 40], [50, 43]]
    assert not (patch.drawn & ~patch.inside).any()


def test_what_is_drawn_belongs_to_its_slice() -> None:
    mask = np.ones(SHAPE[1:], np.uint8)
    feature = Feature("Disc", 32, {2: [(40, 50)], 3: [(40, 50)]}, {3: mask})
    without, with_pixels = cut(feature, coordinates())
    assert without is not None
    assert with_pixels is not None
    assert not without.drawn.any()
    assert with_pixels.drawn[with_pixels.inside].all()
    np.testing.assert_array_equal(without.image, with_pixels.image)
