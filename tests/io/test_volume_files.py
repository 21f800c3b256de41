"""Outputs as MRC files and in OME-Zarrs; the store is one that the export wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from pom.errors import PomError
from pom.io.mrc import MrcReader, MrcWriter
from pom.io.ome_zarr import Contents, write_ome_zarr
from pom.io.volume_files import SEPARATOR, look_into_stores, open_volume, read_segmentation, stored_at
from pom.project import names

SHAPE = (40, 8, 6)


def write(path: Path, value: int) -> Path:
    with MrcWriter(path, SHAPE, np.int8, (20.0, 20.0, 20.0), (1.0, 2.0, 3.0)) as writer:
        writer.write(np.full(SHAPE, value, np.int8))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of TS_1, with the outputs A (3 everywhere) and Unknown (5)."""
    return make_store(tmp_path, 3)


def make_store(tmp_path: Path, value: int) -> Path:
    with MrcReader(write(tmp_path / "a.mrc", value)) as a, MrcReader(write(tmp_path / "b.mrc", 5)) as unknown:
        contents = Contents(
            name="TS_1", density=a, voxel_size=(20.0,) * 3, density_bins=(1, 1, 1),
            outputs={"A": a, "Unknown": unknown}, output_voxel_size=(20.0,) * 3,
            labels=lambda start, stop: np.zeros((stop - start, *SHAPE[1:]), np.uint8), titles={0: "Unknown", 1: "A"},
            colours=dict.fromkeys(("A", "Unknown"), (0.5, 0.5, 0.5)), probabilities=True, quantised=True, made_from={},
        )  # fmt: skip
        folder = tmp_path / "output" / "TS_1.ome.zarr"
        folder.mkdir(parents=True)
        write_ome_zarr(folder, contents)
    return folder


def test_both_sides_mean_the_same_separator() -> None:
    assert SEPARATOR == names.SEPARATOR


def test_an_mrc_file_counts_before_the_store(store: Path) -> None:
    path = store.with_name("TS_1__A.mrc")
    with open_volume(path) as reader:
        assert reader.read(7, 8).tolist() == np.full((1, 8, 6), 3).tolist()
        assert reader.header.origin == (1.0, 2.0, 3.0)
    assert stored_at(path) == store / "probabilities" / "zarr.json"
    write(path, 9)
    with open_volume(path) as reader:
        assert reader.read(7, 8).max() == 9
    assert stored_at(path) == path


@pytest.mark.parametrize("name", ["TS_1__B.mrc", "TS_2__A.mrc", "TS_1.mrc"])
def test_what_is_nowhere_is_a_missing_file(store: Path, name: str) -> None:
    path = store.with_name(name)
    with pytest.raises(PomError, match=f"There is no file {path}"):
        open_volume(path)
    assert stored_at(path) == path


def test_the_names_of_what_stores_hold(store: Path, tmp_path: Path) -> None:
    folder = store.parent
    assert look_into_stores(folder)[0] == {"TS_1__A.mrc", "TS_1__Unknown.mrc"}
    (folder / "TS_2.ome.zarr").mkdir()
    store.rename(folder / ".TS_1.ome.zarr")
    assert look_into_stores(folder) == (frozenset(), {})
    assert look_into_stores(tmp_path / "nowhere") == (frozenset(), {})


def test_an_ontology_that_is_nowhere_is_not_lost(tmp_path: Path) -> None:
    with open_volume(make_store(tmp_path, 0).with_name("TS_1__A.mrc")) as reader:
        assert not reader.read(0, 40).any()


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_lost_file_is_no_ontology_that_is_nowhere(store: Path, lose: Callable[[Path], None]) -> None:
    shard = store / "probabilities" / "0" / "c" / "0" / "0" / "0" / "0"
    lose(shard)
    with open_volume(store.with_name("TS_1__Unknown.mrc")) as reader:
        assert reader.read(0, 40).min() == 5
    with (
        open_volume(store.with_name("TS_1__A.mrc")) as reader,
        pytest.raises(PomError, match=f"{shard} is gone or empty"),
    ):
        reader.read(39, 40)


@pytest.mark.parametrize("keep", [10, -1])
def test_a_file_that_is_cut_short(store: Path, keep: int) -> None:
    shard = store / "probabilities" / "0" / "c" / "0" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:keep])
    with open_volume(store.with_name("TS_1__A.mrc")) as reader, pytest.raises(PomError, match=f"{store} is damaged"):
        reader.read(0, 40)


def test_a_file_with_other_bytes(store: Path) -> None:
    shard = store / "probabilities" / "0" / "c" / "0" / "0" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[12] ^= 0xFF
    shard.write_bytes(content)
    with open_volume(store.with_name("TS_1__A.mrc")) as reader, pytest.raises(PomError, match=f"{store} is damaged"):
        reader.read(0, 40)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"zarr_format": 2}', '{"zarr_format": 3, "attributes": {}}'])
def test_damaged_metadata_are_said(store: Path, content: str) -> None:
    (store / "probabilities" / "zarr.json").write_text(content)
    assert look_into_stores(store.parent)[0] == frozenset()
    with pytest.raises(PomError, match=r"zarr\.json"):
        open_volume(store.with_name("TS_1__A.mrc"))


def test_metadata_without_the_place_of_the_voxels(store: Path) -> None:
    path = store / "probabilities" / "zarr.json"
    found = json.loads(path.read_text())
    del found["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    path.write_text(json.dumps(found))
    with pytest.raises(PomError, match=f"{store} is damaged"):
        open_volume(store.with_name("TS_1__A.mrc"))


def test_a_store_whose_list_of_outputs_is_damaged_is_told(store: Path) -> None:
    (store.with_name("TS_2.ome.zarr") / "labels").mkdir(parents=True)  # holds no outputs in the first place
    names, damaged = look_into_stores(store.parent)
    assert names == {"TS_1__A.mrc", "TS_1__Unknown.mrc"}
    assert not damaged
    (store / "probabilities" / "zarr.json").write_text('{"zarr_fo')
    names, damaged = look_into_stores(store.parent)
    assert names == frozenset()
    assert list(damaged) == ["TS_1.ome.zarr"]
    assert "zarr.json is damaged" in damaged["TS_1.ome.zarr"]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("int8", (0, 127)), ("int16", (0, 255)), ("uint16", (0, 255)), ("float32", (-0.04, 1.04))],
)
def test_what_an_output_holds_is_read_as_it_is(tmp_path: Path, dtype: str, values: tuple[float, float]) -> None:
    with MrcReader(write_values(tmp_path / "a.mrc", dtype, values)) as reader:
        assert read_segmentation(reader, 0, 1).ravel().tolist() == pytest.approx(values)
        assert read_segmentation(reader, 1, 1).shape == (0, 1, 2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("dtype", "values", "fault"),
    [
        ("int8", (-1, 127), "values from -1 to 127, which a segmentation of int8 cannot have"),
        ("int16", (-1, 2), "values from -1 to 2,"),
        ("uint16", (0, 256), "values from 0 to 256,"),
        ("float32", (0, 1.2), "values from 0 to 1.2,"),
        ("float32", (0, np.nan), "holds NaN or infinite values"),
        ("float32", (-np.inf, np.inf), "holds NaN or infinite values"),
    ],
)
def test_what_no_output_holds_is_refused(tmp_path: Path, dtype: str, values: tuple[float, float], fault: str) -> None:
    with (
        MrcReader(write_values(tmp_path / "a.mrc", dtype, values)) as reader,
        pytest.raises(PomError, match=rf"a\.mrc (has )?{fault}"),
    ):
        read_segmentation(reader, 0, 1)


def write_values(path: Path, dtype: str, values: tuple[float, float]) -> Path:
    """A volume of one slice, two voxels; what Pom itself does not write too."""
    with mrcfile.new(path) as file:
        file.set_data(np.array([[values]], dtype))
    return path
