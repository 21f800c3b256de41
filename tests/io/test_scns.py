"""Genuine annotation files give what is known to be in them; others like them too; what is written is read again."""

import hashlib
import json
import os
import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.palette import default_colour
from pom.io.scns import Annotation, Feature, read_scns, write_scns

DATA = Path(__file__).parents[1] / "data" / "ais"
EXPECTED = json.loads((DATA / "expected.json").read_text())
HEIGHT, WIDTH = 6, 9


def drawn_slice() -> NDArray[np.uint8]:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[1:3, 4:9] = 1
    return drawn


@pytest.fixture
def ais(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for Ais' module, so that Python's own pickle can write and load its classes by name."""

    class SEFrame:
        def __init__(self, path: str) -> None:
            self.path = path

        def __reduce__(self) -> tuple[Any, ...]:
            return type(self), (self.path,), dict(self.__dict__)

    class Segmentation:
        pass

    for name in ("Ais", "Ais.core", "Ais.core.se_frame"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module = sys.modules["Ais.core.se_frame"]
    for cls in (SEFrame, Segmentation):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
    return module


def make_frame(ais: types.ModuleType, **fields: object) -> Any:
    """A frame as Ais has it, with one feature; ``fields`` of the frame, and ``feature_...`` of the feature, replace."""
    feature = ais.Segmentation()
    feature.title, feature.box_size = "Mitochondrion", 4
    feature.slices, feature.boxes = {2: drawn_slice(), 3: None}, {2: [[4, 3], [5, 3]], 3: []}
    frame = ais.SEFrame("/nowhere/cell 1.mrc")
    frame.title, frame.n_slices, frame.height, frame.width, frame.pixel_size = "cell 1", 8, HEIGHT, WIDTH, 1.5
    frame.features, feature.parent = [feature], frame
    for key, value in fields.items():
        if key.startswith("feature_"):
            setattr(feature, key.removeprefix("feature_"), value)
        else:
            setattr(frame, key, value)
    return frame


def read_pickled(frame: object, folder: Path, protocol: int = 4) -> Annotation:
    path = folder / "cell.scns"
    path.write_bytes(pickle.dumps(frame, protocol))
    return read_scns(path)


# Genuine files.


@pytest.mark.parametrize(("name", "box_size"), [("new_00.scns", 128), ("tomo_00.scns", 64)])
def test_genuine_file_holds_what_is_known(name: str, box_size: int) -> None:
    annotation, expected = read_scns(DATA / name), EXPECTED[name]
    assert (annotation.n_slices, annotation.height, annotation.width) == (40, 192, 192)
    assert annotation.pixel_size == expected["pixel_size_nm"]
    assert annotation.path.endswith(f"/tomograms/{Path(name).stem}.mrc")
    assert [feature.title for feature in annotation.features] == list(expected["features"])
    for feature in annotation.features:
        known = expected["features"][feature.title]
        assert feature.box_size == box_size
        assert {str(z): [list(centre) for centre in boxes] for z, boxes in feature.boxes.items()} == known["boxes"]
        assert {str(z): int((drawn > 0).sum()) for z, drawn in feature.slices.items()} == known["drawn_pixels"]
        drawn = b"".join(feature.slices[z].tobytes() for z in sorted(feature.slices))
        assert hashlib.sha256(drawn).hexdigest() == known["sha256"]
        assert all(slice_.dtype == np.uint8 and slice_.shape == (192, 192) for slice_ in feature.slices.values())
        assert not any(slice_.flags.writeable for slice_ in feature.slices.values())


def test_genuine_file_survives_being_written_again(tmp_path: Path) -> None:
    original = read_scns(DATA / "new_00.scns")
    write_scns(tmp_path / "again.scns", original)
    assert_same(read_scns(tmp_path / "again.scns"), original)


# Files like those of Ais, written by Python's own pickle.


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_protocol_gives_the_same(ais: types.ModuleType, tmp_path: Path, protocol: int) -> None:
    annotation = read_pickled(make_frame(ais), tmp_path, protocol)
    assert (annotation.path, annotation.n_slices, annotation.pixel_size) == ("/nowhere/cell 1.mrc", 8, 1.5)
    (feature,) = annotation.features
    assert (feature.title, feature.box_size) == ("Mitochondrion", 4)
    assert feature.boxes == {2: [(4, 3), (5, 3)]}
    assert list(feature.slices) == [2]
    np.testing.assert_array_equal(feature.slices[2], drawn_slice())


def test_old_tuples_and_numpy_numbers_become_plain(ais: types.ModuleType, tmp_path: Path) -> None:
    frame = make_frame(
        ais,
        n_slices=np.uint16(8),
        pixel_size=np.float32(1.5),
        feature_boxes={np.int64(2): [(np.float64(4.5), np.int32(3))]},
        feature_slices={np.int16(2): drawn_slice()},
        feature_box_size=np.float32(4.0),
    )
    annotation = read_pickled(frame, tmp_path)
    feature = annotation.features[0]
    assert feature.boxes == {2: [(4.5, 3)]}
    assert [type(number) for number in feature.boxes[2][0]] == [float, int]
    assert [type(z) for z in (*feature.boxes, *feature.slices, annotation.n_slices, feature.box_size)] == [int] * 4
    assert annotation.pixel_size == 1.5


def test_empty_features_and_fields_that_older_files_lack(ais: types.ModuleType, tmp_path: Path) -> None:
    frame = make_frame(ais)
    del frame.pixel_size, frame.features[0].slices, frame.features[0].boxes
    annotation = read_pickled(frame, tmp_path)
    assert annotation.pixel_size == 0.0
    assert (annotation.features[0].boxes, annotation.features[0].slices) == ({}, {})
    assert read_pickled(make_frame(ais, features=[]), tmp_path).features == ()


@pytest.mark.parametrize(
    "drawn",
    [
        np.asfortranarray(drawn_slice()),
        drawn_slice().astype(bool),
        drawn_slice().astype(np.float32),
        drawn_slice().astype(">u2"),
        drawn_slice().astype(np.int8).view(np.memmap),
        np.asfortranarray(drawn_slice().astype(np.float64)),
    ],
    ids=["fortran", "bool", "float", "big-endian", "memmap", "fortran float"],
)
def test_slices_of_other_order_and_type(ais: types.ModuleType, tmp_path: Path, drawn: NDArray[Any]) -> None:
    mask = read_pickled(make_frame(ais, feature_slices={2: drawn}), tmp_path).features[0].slices[2]
    assert mask.dtype == np.uint8
    assert mask.flags.c_contiguous
    np.testing.assert_array_equal(mask, drawn_slice())


def test_a_slice_given_twice_is_held_once(ais: types.ModuleType, tmp_path: Path) -> None:
    drawn = drawn_slice().astype(np.float32)
    slices = read_pickled(make_frame(ais, feature_slices={2: drawn, 5: drawn}), tmp_path).features[0].slices
    assert slices[2] is slices[5]


def test_what_a_terminal_would_obey_is_taken_out_of_titles(ais: types.ModuleType, tmp_path: Path) -> None:
    annotation = read_pickled(make_frame(ais, feature_title="Zellkern \x1b[2Jä\ud800"), tmp_path)
    assert annotation.features[0].title == "Zellkern ?[2Jä?"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"feature_slices": {7: np.zeros((WIDTH, HEIGHT), np.uint8)}},
            "feature 'Mitochondrion', slice 7: drawn on 9 x",
        ),
        ({"feature_slices": {7: [1, 2]}}, "feature 'Mitochondrion', slice 7"),
        ({"feature_slices": {"7": None}}, "whole number"),
        ({"feature_boxes": {7.5: []}}, "whole number"),
        ({"feature_boxes": {7: [[1, 2, 3]]}}, "slice 7: a box whose centre is not two numbers"),
        ({"feature_boxes": {7: [[1, float("nan")]]}}, "slice 7: a box whose centre is not two numbers"),
        ({"feature_boxes": {7: [[1, True]]}}, "slice 7: a box whose centre is not two numbers"),
        ({"feature_boxes": {7: 5}}, "slice 7: boxes that are no list"),
        ({"feature_boxes": [[1, 2]]}, "boxes has no slices"),
        ({"feature_box_size": 0}, "no sensible box_size"),
        ({"feature_box_size": None}, "no sensible box_size"),
        ({"feature_title": 5}, "no title"),
        ({"features": None}, "no list of features"),
        ({"features": ["Nucleus"]}, "without its fields"),
        ({"height": -1}, "no sensible height"),
        ({"width": 1 << 200}, "no sensible width"),
        ({"n_slices": "8"}, "no sensible n_slices"),
    ],
)
def test_wrong_fields_are_named(ais: types.ModuleType, tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(PomError, match=message) as raised:
        read_pickled(make_frame(ais, **fields), tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'cell.scns'} ")


def test_a_small_file_cannot_stand_for_endlessly_many_boxes(ais: types.ModuleType, tmp_path: Path) -> None:
    row = [[1, 2]] * 5_000
    with pytest.raises(PomError, match="repeats its entries"):
        read_pickled(make_frame(ais, feature_boxes=dict.fromkeys(range(5_000), row)), tmp_path)


@pytest.mark.parametrize("value", [None, 5, [], {"features": []}, "text"])
def test_a_pickle_of_something_else_is_no_annotation(tmp_path: Path, value: object) -> None:
    with pytest.raises(PomError, match="no annotated tomogram"):
        read_pickled(value, tmp_path)


# Files that cannot be read at all.


def test_missing_empty_and_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"cell.scns is not there"):
        read_scns(tmp_path / "cell.scns")
    (tmp_path / "empty.scns").touch()
    with pytest.raises(PomError, match=r"empty.scns is empty"):
        read_scns(tmp_path / "empty.scns")
    with pytest.raises(PomError, match="is not a file"):
        read_scns(tmp_path)
    os.mkfifo(tmp_path / "pipe.scns")
    with pytest.raises(PomError, match="is not a file"):
        read_scns(tmp_path / "pipe.scns")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cell.scns"
    path.write_bytes(b"\x80\x04N.")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # not chmod: tests may run as root
    with pytest.raises(PomError, match=r"cell.scns cannot be read \(Permission denied\)"):
        read_scns(path)


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\x00" * 50, b"MAP " * 300, b"\x00" * 1024, "Zürich\n".encode() * 9])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cell.scns"
    path.write_bytes(content)
    with pytest.raises(PomError, match=r"cell\.scns (is damaged or is no annotation|holds)"):
        read_scns(path)


# Writing.


def example() -> Annotation:
    return Annotation(
        path="/data/cell 1.mrc",
        n_slices=8,
        height=HEIGHT,
        width=WIDTH,
        pixel_size=1.568,
        features=(
            Feature(
                "Mitochondrion", 4, {2: [(4, 3), (5.5, 3)], 5: [(1, 1)]}, {2: drawn_slice(), 3: drawn_slice()[::-1]}
            ),
            Feature("Kern, groß", 128, {}, {}),
        ),
    )


def assert_same(annotation: Annotation, expected: Annotation) -> None:
    assert replace(annotation, features=()).__dict__ == replace(expected, features=()).__dict__
    assert len(annotation.features) == len(expected.features)
    for feature, other in zip(annotation.features, expected.features, strict=True):
        assert (feature.title, feature.box_size, feature.boxes) == (other.title, other.box_size, other.boxes)
        assert feature.slices.keys() == other.slices.keys()
        for z, drawn in feature.slices.items():
            np.testing.assert_array_equal(drawn, other.slices[z], strict=True)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_scns(tmp_path / "cell 1.scns", example())
    assert_same(read_scns(tmp_path / "cell 1.scns"), example())
    assert [path.name for path in tmp_path.iterdir()] == ["cell 1.scns"]
    assert "Ais" not in sys.modules


def test_numpy_numbers_are_written_plain(tmp_path: Path) -> None:
    centres = [(np.int64(4), np.float32(2.5))]
    feature = Feature("Nucleus", 4, {np.int64(2): centres}, {})  # type: ignore[dict-item]
    write_scns(tmp_path / "cell.scns", replace(example(), features=(feature,)))
    boxes = read_scns(tmp_path / "cell.scns").features[0].boxes
    assert boxes == {2: [(4, 2.5)]}


def test_python_loads_what_is_written(ais: types.ModuleType, tmp_path: Path) -> None:
    write_scns(tmp_path / "cell 1.scns", example())
    content = (tmp_path / "cell 1.scns").read_bytes()
    assert content.startswith(b"\x80\x04")
    frame = pickle.loads(content)
    assert type(frame) is ais.SEFrame
    assert (frame.path, frame.title, frame.n_slices, frame.height) == ("/data/cell 1.mrc", "cell 1", 8, HEIGHT)
    mitochondrion, nucleus = frame.features
    assert type(mitochondrion) is ais.Segmentation
    assert mitochondrion.parent is frame
    assert frame.active_feature is nucleus
    assert mitochondrion.boxes == {2: [[4, 3], [5.5, 3]], 3: [], 5: [[1, 1]]}
    assert (mitochondrion.n_boxes, mitochondrion.edited_slices, nucleus.title) == (3, [2, 3], "Kern, groß")
    assert mitochondrion.slices[5] is None
    np.testing.assert_array_equal(mitochondrion.slices[3], drawn_slice()[::-1], strict=True)


def test_the_same_annotation_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cell.scns"
    write_scns(path, example())
    first = path.read_bytes()
    write_scns(path, example())
    assert path.read_bytes() == first


def test_a_slice_that_does_not_fit_is_not_written(tmp_path: Path) -> None:
    for wrong in (drawn_slice()[1:], drawn_slice().astype(bool)):
        feature = Feature("Nucleus", 4, {}, {2: wrong})
        with pytest.raises(ValueError, match="a drawn slice is"):
            write_scns(tmp_path / "cell.scns", replace(example(), features=(feature,)))
    assert list(tmp_path.iterdir()) == []


# What Ais shows.


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((66 / 255, 214 / 255, 164 / 255), "#42d6a4"),
        ([0, np.float32(0.5), 266 / 255], "#0080ff"),
        ((0.1, 0.2), None),
        ((0.1, 0.2, "red"), None),
        (None, None),
    ],
)
def test_the_colour_of_a_feature(ais: types.ModuleType, tmp_path: Path, colour: object, expected: str | None) -> None:
    annotation = read_pickled(make_frame(ais, feature_colour=colour), tmp_path)
    assert annotation.features[0].colour == expected
    write_scns(tmp_path / "again.scns", annotation)
    assert read_scns(tmp_path / "again.scns").features[0].colour == (expected or default_colour(0))


def test_ais_is_given_what_it_shows_first(ais: types.ModuleType, tmp_path: Path) -> None:
    """Ais sends the frame's data to the screen as soon as it has loaded a file: None there is an error."""

    class Transform:
        __module__, __qualname__ = ais.__name__, "Transform"

    ais.Transform = Transform  # type: ignore[attr-defined]
    image = np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    write_scns(tmp_path / "with.scns", example(), image)
    write_scns(tmp_path / "without.scns", example())
    assert_same(read_scns(tmp_path / "with.scns"), example())
    with (tmp_path / "with.scns").open("rb") as stream:
        frame = pickle.load(stream)
    np.testing.assert_array_equal(frame.data, image, strict=True)
    low, high = frame.contrast_lims
    assert 0 < low < 1 < high < image.max()
    assert (len(frame.hist_vals), len(frame.hist_bins)) == (40, 41)
    assert (frame.hist_vals.dtype, frame.hist_bins.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(frame.transform.matrix, np.eye(4), strict=True)
    assert frame.transform.translation.tolist() == [0.0, 0.0]
    # Without an image Ais takes the slice from the tomogram, which nothing here may replace.
    with (tmp_path / "without.scns").open("rb") as stream:
        assert not hasattr(pickle.load(stream), "data")
