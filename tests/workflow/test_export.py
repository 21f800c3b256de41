"""Tomograms as OME-Zarr, of segmentations made by hand."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import zarr
from numpy.typing import DTypeLike, NDArray
from ome_zarr_models import open_ome_zarr
from ome_zarr_models.v05 import Image, ImageLabel, Labels

from pom.errors import DiskError, PomError
from pom.io.feature_library import FeatureLibrary, Preset, write_library
from pom.io.mrc import MrcReader, MrcWriter
from pom.io.volume_files import look_into_stores, open_volume, stored_at
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.volumes.binning import bin_mean
from pom.workflow.export import export
from pom.workflow.feature_library import complete_library, load_library
from pom.workflow.ome_zarr import write_store
from pom.workflow.segmented import Segmented

FULL_SHAPE, SHAPE = (20, 150, 131), (10, 75, 66)
PIXEL, VOXEL = 10.0, 20.0
ORIGIN = (30.0, -20.0, 5.0)
"""(x, y, z), Angstrom."""
TITLES = ("A", "B", "Unknown")
FULL_SCALE = {"int8": 127, "uint8": 255, "float32": 1}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path, Configuration(ontologies=("A", "_", "B"), apix=PIXEL))
    for seed, name in enumerate(("TS_1", "TS_2")):
        segment(project, name, seed)
    return project


def write(path: Path, volume: NDArray[Any], voxel: float) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (voxel,) * 3, ORIGIN) as writer:
        writer.write(volume)


def segment(project: Project, name: str, seed: int, dtype: DTypeLike = np.int8) -> None:
    """A tomogram of noise; each output is high in a part of it, and they overlap at random."""
    random = np.random.default_rng(seed)
    write(project.tomogram(name), random.normal(0, 3, FULL_SHAPE).astype(np.float32), PIXEL)
    top = FULL_SCALE[np.dtype(dtype).name]
    for place, title in enumerate(TITLES):
        shares = random.random(SHAPE)
        shares[:, 25 * place : 25 * (place + 1)] += 0.3
        write(project.output(name, title), (top * np.clip(shares, 0, 1)).astype(dtype), VOXEL)


def volume(path: Path) -> NDArray[Any]:
    with MrcReader(path) as reader:
        return reader.read(0, reader.header.shape[0])


def attributes(folder: Path) -> Any:
    return json.loads((folder / "zarr.json").read_text())["attributes"]


def array(folder: Path) -> NDArray[Any]:
    return np.asarray(zarr.open_array(folder, mode="r", zarr_format=3)[...])


def mean_rounded(block: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    return np.rint(bin_mean(block, factors)).astype(block.dtype)


def test_the_density_with_all_its_voxels(project: Project) -> None:
    assert export(project, ["TS_1"]).done == ["TS_1"]
    store, density = project.ome_zarr("TS_1"), volume(project.tomogram("TS_1"))
    np.testing.assert_array_equal(array(store / "0"), density)
    smaller = bin_mean(density, (1, 2, 2))
    np.testing.assert_array_equal(array(store / "1"), smaller)
    np.testing.assert_array_equal(array(store / "2"), bin_mean(smaller, (1, 2, 2)))
    assert sorted(path.name for path in store.iterdir()) == ["0", "1", "2", "labels", "zarr.json"]


def test_the_metadata_of_the_image_as_the_specification_wants_them(project: Project) -> None:
    export(project, ["TS_1"])
    found = attributes(project.ome_zarr("TS_1"))["ome"]
    assert found["version"] == "0.5"
    (image,) = found["multiscales"]
    assert image["name"] == "TS_1"
    assert image["axes"] == [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
    assert [dataset["path"] for dataset in image["datasets"]] == ["0", "1", "2"]
    # The centre of a bin of two lies half a voxel farther in than that of its first voxel.
    assert [dataset["coordinateTransformations"] for dataset in image["datasets"]] == [
        [{"type": "scale", "scale": [10, 10, 10]}, {"type": "translation", "translation": [5, -20, 30]}],
        [{"type": "scale", "scale": [10, 20, 20]}, {"type": "translation", "translation": [5, -15, 35]}],
        [{"type": "scale", "scale": [10, 40, 40]}, {"type": "translation", "translation": [5, -5, 45]}],
    ]
    (channel,) = found["omero"]["channels"]
    low, high = np.percentile(volume(project.tomogram("TS_1"))[10], [0.5, 99.5])
    assert channel["window"] == pytest.approx({"min": low, "max": high, "start": low, "end": high})
    for level in "012":
        assert zarr.open_array(project.ome_zarr("TS_1") / level).metadata.to_dict()["dimension_names"] == (*"zyx",)


def test_the_labels_are_the_highest_outputs(project: Project) -> None:
    export(project, ["TS_1"])
    labels = project.ome_zarr("TS_1") / "labels"
    with Segmented(project, "TS_1") as segmented:
        classes = segmented.read_all()
    found = array(labels / "segmentation" / "0")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.array([1, 2, 0], np.uint8)[classes])
    assert [array(labels / "segmentation" / level).shape for level in "12"] == [(10, 38, 33), (10, 19, 17)]
    assert attributes(labels) == {"ome": {"version": "0.5", "labels": ["segmentation"]}}


def test_another_reader_of_the_specification_finds_it_right(project: Project) -> None:
    export(project, ["TS_1"], probabilities=True)
    store = project.ome_zarr("TS_1")
    for group, kind in (
        (store, Image), (store / "labels", Labels), (store / "labels" / "segmentation", ImageLabel),
        (store / "probabilities", Image),
    ):  # fmt: skip
        assert type(open_ome_zarr(zarr.open_group(group, mode="r"))) is kind, group


def test_the_labels_bear_names_and_the_library_s_colours(project: Project) -> None:
    write_library(project.feature_library, FeatureLibrary((Preset(title="B", colour=(1.0, 0.4, 0.0)),)))
    export(project, ["TS_1"])
    found = attributes(project.ome_zarr("TS_1") / "labels" / "segmentation")["ome"]
    assert found["version"] == "0.5"
    assert found["image-label"]["properties"] == [
        {"label-value": 0, "name": "Unknown"}, {"label-value": 1, "name": "A"}, {"label-value": 2, "name": "B"},
    ]  # fmt: skip
    colours = {entry["label-value"]: entry["rgba"] for entry in found["image-label"]["colors"]}
    assert colours[2] == [255, 102, 0, 255]
    assert colours[0][3] == 0
    assert len(colours[1]) == 4
    assert found["image-label"]["source"] == {"image": "../../"}
    (image,) = found["multiscales"]
    # As many levels as the image has.
    assert [dataset["path"] for dataset in image["datasets"]] == ["0", "1", "2"]
    assert image["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [20, 20, 20]},
        {"type": "translation", "translation": [10, -15, 35]},
    ]


def test_the_outputs_come_back_as_they_were(project: Project) -> None:
    export(project, ["TS_1"], probabilities=True)
    files = {title: project.output("TS_1", title) for title in TITLES}
    before = {title: volume(path) for title, path in files.items()}
    with open_volume(files["A"]) as reader:
        header = reader.header
    for path in files.values():
        assert stored_at(path) == path
        path.unlink()
    assert look_into_stores(project.output_dir)[0] == {f"TS_1__{title}.mrc" for title in TITLES}
    for title, path in files.items():
        with open_volume(path) as reader:
            assert reader.header.dtype == np.int8
            assert (reader.header.shape, reader.header.origin) == (header.shape, header.origin) == (SHAPE, ORIGIN)
            assert reader.header.voxel_size == pytest.approx(header.voxel_size)
            np.testing.assert_array_equal(reader.read(0, 10), before[title])
            np.testing.assert_array_equal(reader.read(3, 5), before[title][3:5])
            assert reader.read(4, 4).shape == (0, *SHAPE[1:])
            with pytest.raises(ValueError, match="no slices 9 to 11 in a volume of 10"):
                reader.read(9, 11)
        assert stored_at(path) == project.ome_zarr("TS_1") / "probabilities" / "zarr.json"


def test_the_outputs_are_channels_in_their_colours(project: Project) -> None:
    export(project, ["TS_1"], probabilities=True)
    folder = project.ome_zarr("TS_1") / "probabilities"
    found = attributes(folder)["ome"]
    (image,) = found["multiscales"]
    assert image["axes"][0] == {"name": "c", "type": "channel"}
    assert image["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 20, 40, 40]},
        {"type": "translation", "translation": [0, 10, -5, 45]},
    ]
    assert [channel["label"] for channel in found["omero"]["channels"]] == list(TITLES)
    assert {len(channel["color"]) for channel in found["omero"]["channels"]} == {6}
    assert found["omero"]["channels"][0]["window"] == {"min": 0, "max": 127, "start": 0, "end": 127}
    whole = array(folder / "0")
    assert whole.shape == (3, *SHAPE)
    np.testing.assert_array_equal(array(folder / "1")[1], mean_rounded(whole[1], (1, 2, 2)))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_other_types_become_eight_bits(project: Project, dtype: str) -> None:
    segment(project, "TS_1", 0, dtype)
    export(project, ["TS_1"], probabilities=True)
    found = array(project.ome_zarr("TS_1") / "probabilities" / "0")
    assert found.dtype == np.uint8
    scale = 255 if dtype == "float32" else 1
    expected = [np.rint(volume(project.output("TS_1", title)) * scale) for title in TITLES]
    np.testing.assert_array_equal(found, np.array(expected, np.uint8))


def test_a_header_without_voxel_size(project: Project) -> None:
    for path in (project.tomogram("TS_1"), *(project.output("TS_1", title) for title in TITLES)):
        with path.open("r+b") as file:
            file.seek(40)
            file.write(bytes(12))
    export(project, ["TS_1"])
    store = project.ome_zarr("TS_1")
    for folder, size in ((store, PIXEL), (store / "labels" / "segmentation", VOXEL)):
        dataset = attributes(folder)["ome"]["multiscales"][0]["datasets"][0]
        assert dataset["coordinateTransformations"][0]["scale"] == [size] * 3


def test_thick_sections(project: Project) -> None:
    """Of 30 A, which were not binned along z."""
    with MrcWriter(project.tomogram("TS_1"), FULL_SHAPE, np.float32, (30.0, PIXEL, PIXEL), ORIGIN) as writer:
        writer.write(np.zeros(FULL_SHAPE, np.float32))
    shape = (FULL_SHAPE[0], *SHAPE[1:])
    for title in TITLES:
        with MrcWriter(project.output("TS_1", title), shape, np.int8, (30.0, VOXEL, VOXEL), ORIGIN) as writer:
            writer.write(np.zeros(shape, np.int8))
    export(project, ["TS_1"])
    dataset = attributes(project.ome_zarr("TS_1") / "labels" / "segmentation")["ome"]["multiscales"][0]["datasets"][0]
    assert dataset["coordinateTransformations"] == [
        {"type": "scale", "scale": [30, 20, 20]},
        {"type": "translation", "translation": [5, -15, 35]},
    ]


@pytest.mark.parametrize(("dtype", "stored"), [("int16", "int16"), ("int8", "int8"), ("float16", "float32")])
def test_tomograms_of_other_types(project: Project, dtype: str, stored: str) -> None:
    density = np.random.default_rng(3).normal(0, 20, (3, 70, 9)).astype(dtype)
    with mrcfile.new(project.tomogram("TS_1"), density, overwrite=True):
        pass
    export(project, ["TS_1"])
    store = project.ome_zarr("TS_1")
    found = array(store / "0")
    assert found.dtype == stored
    np.testing.assert_array_equal(found, density)
    smaller = bin_mean(density.astype(np.float32), (1, 2, 1))
    np.testing.assert_array_equal(array(store / "1"), smaller if dtype == "float16" else np.rint(smaller))


def test_what_has_not_changed_is_left(project: Project) -> None:
    assert export(project).done == ["TS_1", "TS_2"]
    before = project.ome_zarr("TS_2").stat().st_mtime_ns
    segment(project, "TS_1", 5)
    report = export(project)
    assert (report.done, report.skipped, report.failed) == (["TS_1"], ["TS_2"], {})
    assert project.ome_zarr("TS_2").stat().st_mtime_ns == before
    np.testing.assert_array_equal(array(project.ome_zarr("TS_1") / "0"), volume(project.tomogram("TS_1")))
    assert export(project, probabilities=True).done == ["TS_1", "TS_2"]
    assert export(project, probabilities=True).skipped == ["TS_1", "TS_2"]
    assert export(project, overwrite=True).done == ["TS_1", "TS_2"]
    write_library(project.feature_library, FeatureLibrary((Preset(title="B", colour=(1.0, 0.4, 0.0)),)))
    assert export(project, ["TS_2"]).done == ["TS_2"]
    assert not [path.name for path in project.output_dir.iterdir() if path.name.startswith(".")]


def test_another_voxel_size_where_headers_have_none(project: Project) -> None:
    for path in (project.tomogram("TS_1"), *(project.output("TS_1", title) for title in TITLES)):
        with path.open("r+b") as file:
            file.seek(40)
            file.write(bytes(12))
    export(project, ["TS_1"])
    assert export(project, ["TS_1"]).skipped == ["TS_1"]
    other = replace(project, configuration=project.configuration.model_copy(update={"apix": 2 * PIXEL}))
    assert export(other, ["TS_1"]).done == ["TS_1"]
    dataset = attributes(project.ome_zarr("TS_1"))["ome"]["multiscales"][0]["datasets"][0]
    assert dataset["coordinateTransformations"][0]["scale"] == [2 * PIXEL] * 3
    assert export(other, ["TS_1"]).skipped == ["TS_1"]


def test_colours_are_those_of_the_pictures(project: Project) -> None:
    write_library(project.feature_library, FeatureLibrary((Preset(title="B", colour=(1.0, 0.4, 0.0)),)))
    library = complete_library(project, load_library(project))
    export(project, ["TS_1"], probabilities=True)
    labels = attributes(project.ome_zarr("TS_1") / "labels" / "segmentation")["ome"]["image-label"]["colors"]
    channels = attributes(project.ome_zarr("TS_1") / "probabilities")["ome"]["omero"]["channels"]
    for value, title in enumerate(("Unknown", "A", "B")):
        preset = library.get(title)
        assert preset is not None
        colour = [round(255 * part) for part in preset.colour]
        assert [entry["rgba"][:3] for entry in labels if entry["label-value"] == value] == [colour]
        assert [c["color"].lower() for c in channels if c["label"] == title] == [preset.hex_colour[1:]]


def test_a_damaged_store_is_made_again(project: Project) -> None:
    export(project)
    path = project.ome_zarr("TS_1") / "zarr.json"
    path.write_text(path.read_text().replace("made_from", "made"))
    shutil.rmtree(project.ome_zarr("TS_2"))
    project.ome_zarr("TS_2").mkdir()
    assert export(project).done == ["TS_1", "TS_2"]
    assert export(project).skipped == ["TS_1", "TS_2"]


def not_zarr(store: Path) -> None:
    store.write_text("an archive")


def version_2(store: Path) -> None:
    (store / "0").mkdir(parents=True)
    (store / ".zattrs").write_text("{}")
    (store / "0" / ".zarray").write_text("{}")


def version_3(store: Path) -> None:
    zarr.create_group(store, attributes={"ome": {"version": "0.5"}})
    (store / "0").mkdir()


def odd_attributes(store: Path) -> None:
    store.mkdir()
    (store / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": null}')


def another_pom(store: Path) -> None:
    zarr.create_group(store, attributes={"pom": "of apples"})


def cut_short(store: Path) -> None:
    store.mkdir()
    (store / "zarr.json").write_text('{"zarr_format": 3, "attributes": {"pom')


def broken_link(store: Path) -> None:
    store.symlink_to(store.with_name("on a disk that is not there"))


@pytest.mark.parametrize("make", [not_zarr, version_2, version_3, odd_attributes, another_pom, cut_short, broken_link])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_program_wrote_is_never_replaced(
    project: Project, tmp_path: Path, make: Callable[[Path], None], overwrite: bool
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    store = folder / "TS_1.ome.zarr"
    make(store)
    before = {path: path.lstat().st_mtime_ns for path in (store, *store.rglob("*"))}
    report = export(project, folder=folder, overwrite=overwrite)
    fault = f"{store} is damaged, or not one that Pom wrote, so it is not replaced: move it away."
    assert (report.done, report.failed) == (["TS_2"], {"TS_1": fault})
    assert {path: path.lstat().st_mtime_ns for path in (store, *store.rglob("*"))} == before
    assert sorted(path.name for path in folder.iterdir()) == ["TS_1.ome.zarr", "TS_2.ome.zarr"]


def test_what_comes_meanwhile_is_not_replaced_either(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def written_beside(*arguments: Any) -> None:
        write_store(*arguments)
        version_3(project.ome_zarr("TS_1"))

    monkeypatch.setattr("pom.workflow.export.write_store", written_beside)
    assert list(export(project, ["TS_1"]).failed) == ["TS_1"]
    assert sorted(path.name for path in project.ome_zarr("TS_1").iterdir()) == ["0", "zarr.json"]


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(("dtype", "value"), [("uint16", 25500), ("int16", -1), ("float32", 1.2)])
def test_values_that_no_output_has_are_refused(project: Project, dtype: str, value: float, probabilities: bool) -> None:
    outputs = np.zeros(SHAPE, dtype)
    outputs[-1, 3, 4] = value
    mrcfile.write(project.output("TS_1", "A"), outputs, voxel_size=VOXEL, overwrite=True)
    report = export(project, probabilities=probabilities)
    assert report.done == ["TS_2"]
    assert f"TS_1__A.mrc has values from {min(value, 0):g} to {max(value, 0):g}, which" in report.failed["TS_1"]
    assert not project.ome_zarr("TS_1").exists()


def test_probabilities_are_checked_whatever_the_labels_are(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    mrcfile.write(project.output("TS_1", "A"), np.full(SHAPE, 25500, np.uint16), voxel_size=VOXEL, overwrite=True)
    monkeypatch.setattr(Segmented, "read", lambda _, start, stop: np.zeros((stop - start, *SHAPE[1:]), np.uint8))
    assert list(export(project, ["TS_1"], probabilities=True).failed) == ["TS_1"]


def test_to_another_folder(project: Project, tmp_path: Path) -> None:
    report = export(project, ["TS_2"], folder=tmp_path / "a" / "b")
    assert report.done == ["TS_2"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["TS_2.ome.zarr"]
    assert not project.ome_zarr("TS_2").exists()


def test_one_that_is_cut_short_fails_alone(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    path = project.output("TS_1", "B")
    path.write_bytes(path.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        report = export(project)
    assert report.done == ["TS_2"]
    assert list(report.failed) == ["TS_1"]
    assert "TS_1__B.mrc is cut short: 7 bytes are missing" in report.failed["TS_1"]
    assert caplog.messages == [f"TS_1 cannot be exported: {report.failed['TS_1']}"]
    assert sorted(path.name for path in project.output_dir.iterdir() if "zarr" in path.name) == ["TS_2.ome.zarr"]


def test_several_at_a_time(project: Project) -> None:
    segment(project, "TS_3", 2)
    path = project.output("TS_2", "B")
    path.write_bytes(path.read_bytes()[:-7])
    report = export(project, processes=2)
    assert (sorted(report.done), list(report.failed)) == (["TS_1", "TS_3"], ["TS_2"])
    assert export(project, ["TS_1", "TS_3"]).skipped == ["TS_1", "TS_3"]
    np.testing.assert_array_equal(array(project.ome_zarr("TS_3") / "0"), volume(project.tomogram("TS_3")))


def test_what_is_not_segmented_is_left_out_unless_it_was_named(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project.output("TS_1", "B").unlink()
    with caplog.at_level(logging.WARNING):
        assert export(project).done == ["TS_2"]
    assert caplog.messages == ["1 tomogram is not segmented in full, and left out: TS_1."]
    why = "TS_1 is not segmented in full (no B): run 'pom shared process' first."
    both = export(project, ["TS_1", "TS_2"])
    assert (both.failed, both.skipped) == ({"TS_1": why}, ["TS_2"])
    write(project.output("TS_1", "B"), np.full((10, 10, 10), -1, np.int8), VOXEL)  # published Pom's placeholder
    assert export(project, ["TS_1"]).failed == {"TS_1": why}
    project.output("TS_1", "B").unlink()
    with pytest.raises(PomError, match=r"There is no tomogram 'TS_3' .did you mean 'TS_2'"):
        export(project, ["TS_3"])
    project.output("TS_2", "B").unlink()
    with pytest.raises(PomError, match=r"No tomogram is segmented in full in .*output: run 'pom shared process' first"):
        export(project)


def test_a_full_disk_leaves_nothing(project: Project, disk_of: Callable[[str], Path]) -> None:
    disk = disk_of("600k")
    with pytest.raises(DiskError, match=rf"disk is full, so {disk}/TS_1.ome.zarr/\S+ was not written"):
        export(project, folder=disk)
    assert list(disk.iterdir()) == []


def test_a_full_disk_leaves_the_store_of_before(project: Project, disk_of: Callable[[str], Path]) -> None:
    disk = disk_of("2200k")
    assert export(project, ["TS_1"], folder=disk).done == ["TS_1"]
    with pytest.raises(DiskError, match="disk is full"):
        export(project, ["TS_1"], folder=disk, probabilities=True)
    assert [path.name for path in disk.iterdir()] == ["TS_1.ome.zarr"]
    assert export(project, ["TS_1"], folder=disk).skipped == ["TS_1"]


KILLED = """
import os, signal, sys
from pathlib import Path
import pom.io.ome_zarr as module
from pom.project.paths import Project
from pom.workflow.export import export

write = module._write_density
def killed(folder, contents, n_smaller):
    write(folder, contents, n_smaller)
    if contents.name == "TS_2":
        os.kill(os.getpid(), signal.SIGKILL)
module._write_density = killed
export(Project.open(Path(sys.argv[1])))
"""


AGAIN = """
import sys
from pathlib import Path
from pom.project.paths import Project
from pom.workflow.export import export

report = export(Project.open(Path(sys.argv[1])))
assert (report.done, report.skipped) == (["TS_2"], ["TS_1"]), report
"""


def test_killed_and_resumed(project: Project) -> None:
    values = project.configuration.model_dump(mode="json", by_alias=True)
    (project.folder / "project_configuration.json").write_text(json.dumps(values))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(project.folder)], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    stores = [path.name for path in project.output_dir.iterdir() if path.name.endswith("zarr")]
    assert len(stores) == 2
    assert not project.ome_zarr("TS_2").exists()
    before = project.ome_zarr("TS_1").stat().st_mtime_ns
    # A new process removes what the killed one left.
    subprocess.run([sys.executable, "-c", AGAIN, str(project.folder)], check=True)
    assert project.ome_zarr("TS_1").stat().st_mtime_ns == before
    np.testing.assert_array_equal(array(project.ome_zarr("TS_2") / "0"), volume(project.tomogram("TS_2")))
    stores = sorted(path.name for path in project.output_dir.iterdir() if path.name.endswith("zarr"))
    assert stores == ["TS_1.ome.zarr", "TS_2.ome.zarr"]


def test_outputs_that_are_only_in_the_store_are_never_replaced(project: Project, tmp_path: Path) -> None:
    export(project, probabilities=True)
    for title in TITLES:
        project.output("TS_1", title).unlink()
    report = export(project, overwrite=True)
    assert (report.done, report.outputs) == (["TS_2"], ["TS_1"])
    elsewhere = replace(project, configuration=project.configuration.model_copy(update={"output_dir": "output"}))
    assert export(elsewhere, ["TS_1"], folder=tmp_path / "new").done == ["TS_1"]
    old, new = (folder / "labels" / "segmentation" / "0" for folder in
                (project.ome_zarr("TS_1"), tmp_path / "new" / "TS_1.ome.zarr"))  # fmt: skip
    np.testing.assert_array_equal(array(old), array(new))


def test_files_are_few(project: Project) -> None:
    export(project, ["TS_1"], probabilities=True)
    files = [Path(folder) / name for folder, _, names in os.walk(project.ome_zarr("TS_1")) for name in names]
    # Of each of three levels: one of the density, one of the labels, three of the outputs.
    assert len([path for path in files if path.name != "zarr.json"]) == 3 * 5
