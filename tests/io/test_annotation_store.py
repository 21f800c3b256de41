import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pom.errors import DiskError, PomError
from pom.io import annotation_store, atomic
from pom.io.annotation_store import AnnotationStore, StoredFeature, write_annotation
from pom.io.palette import default_colour
from pom.io.scns import Annotation, Feature

SHAPE = (6, 20, 30)
PATCH = np.array([[True, False, True], [True, True, True]])


@pytest.fixture
def store(tmp_path: Path) -> AnnotationStore:
    """An annotation with one feature, f1."""
    made = AnnotationStore.create(tmp_path / "TS_1.annotation", shape=SHAPE, pixel_size=1.5)
    made.add_feature("Vesicle", 8, "#00FF80")
    return made


def document(store: AnnotationStore) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((store.path / "annotation.json").read_text())
    return content


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def slice_with(y: int, x: int, patch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    expected = np.zeros(SHAPE[1:], np.uint8)
    expected[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return expected


# What is kept.


def test_a_new_annotation_holds_nothing_but_its_document(tmp_path: Path) -> None:
    made = AnnotationStore.create(tmp_path / "TS_1.annotation", shape=SHAPE, pixel_size=1.5)
    assert (made.path, made.shape, made.pixel_size) == (tmp_path / "TS_1.annotation", SHAPE, 1.5)
    assert (made.revision, made.features) == (0, ())
    assert files(tmp_path) == ["TS_1.annotation/annotation.json"]
    saved = document(made).pop("saved")
    assert document(made) == {
        "format": "pom-annotation",
        "version": 1,
        "shape": [6, 20, 30],
        "pixel_size_nm": 1.5,
        "revision": 0,
        "saved": saved,
        "features": [],
    }
    assert saved.endswith("+00:00")


def test_what_is_changed_is_on_disk_at_once(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.set_boxes("f1", 2, [(7, 8), (9.5, 3)])
    store.set_boxes("f1", 5, [(1, 1)])
    second = store.add_feature("Vesicle", 16, "#123456")
    store.change_feature("f1", title="Granule", box_size=12)
    expected = StoredFeature("f1", "Granule", "#00ff80", 12, {2: [(7, 8), (9.5, 3)], 5: [(1, 1)]}, (2,))
    assert second == StoredFeature("f2", "Vesicle", "#123456", 16, {}, ())
    again = AnnotationStore.open(store.path)
    for one in (store, again):
        assert one.features == (expected, second)
        assert one.revision == 6
        np.testing.assert_array_equal(one.mask("f1", 2), slice_with(4, 5, PATCH), strict=True)
        assert not one.mask("f1", 3).any()
    assert files(store.path) == ["annotation.json", "masks/f1/c.2.0.0", "masks/f1/zarr.json"]


def test_anyone_can_read_it_without_pom(store: AnnotationStore) -> None:
    """As docs/annotation.md shows it."""
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.set_boxes("f1", 2, [(7, 8)])
    (feature,) = document(store)["features"]
    assert feature == {
        "id": "f1",
        "title": "Vesicle",
        "colour": "#00ff80",
        "box_size": 8,
        "boxes": {"2": [[7, 8]]},
        "drawn": [2],
    }
    masks = zarr.open_array(store.path / "masks" / "f1", mode="r")
    assert (masks.shape, masks.chunks, str(masks.dtype)) == (SHAPE, (1, 20, 30), "uint8")
    np.testing.assert_array_equal(masks[2], slice_with(4, 5, PATCH))
    metadata = json.loads((store.path / "masks" / "f1" / "zarr.json").read_text())
    assert (metadata["zarr_format"], [codec["name"] for codec in metadata["codecs"]]) == (3, ["bytes", "zstd"])


def test_patches_meet_in_one_slice(store: AnnotationStore) -> None:
    expected = np.zeros(SHAPE[1:], np.uint8)
    random = np.random.default_rng(0)
    for y, x in itertools.product((0, 3, 16), (0, 7, 24)):
        patch = random.random((4, 6)) > 0.5
        store.write_patch("f1", 0, y, x, patch)
        expected[y : y + 4, x : x + 6] = patch
        np.testing.assert_array_equal(store.mask("f1", 0), expected)
    store.write_patch("f1", 0, 0, 0, np.zeros(SHAPE[1:], bool))
    assert not store.mask("f1", 0).any()
    # Drawn in it was, so that its mask is there, though nothing is left.
    assert AnnotationStore.open(store.path).features[0].drawn == (0,)
    assert (store.path / "masks" / "f1" / "c.0.0.0").exists()


def test_a_mask_is_the_callers_own(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.mask("f1", 2)[:] = 1
    assert store.mask("f1", 2).sum() == PATCH.sum()


def test_what_changes_nothing_writes_nothing(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.set_boxes("f1", 2, [(7, 8)])
    before = (store.revision, (store.path / "annotation.json").stat().st_mtime_ns)
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.write_patch("f1", 3, 4, 5, np.zeros((2, 2), bool))
    store.set_boxes("f1", 2, [(7, 8)])
    store.set_boxes("f1", 4, [])
    store.change_feature("f1", title="Vesicle")
    assert (store.revision, (store.path / "annotation.json").stat().st_mtime_ns) == before
    assert store.features[0].drawn == (2,)


def test_boxes_are_replaced_slice_by_slice(store: AnnotationStore) -> None:
    store.set_boxes("f1", 2, [(7, 8), (1, 2)])
    store.set_boxes("f1", 3, [(7, 8)])
    store.set_boxes("f1", 2, [(1, 2)])
    store.set_boxes("f1", 3, [])
    assert AnnotationStore.open(store.path).features[0].boxes == {2: [(1, 2)]}


def test_a_removed_feature_is_kept_aside_and_its_id_not_given_again(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.remove_feature("f1")
    assert store.features == AnnotationStore.open(store.path).features == ()
    assert files(store.path / "removed") == ["f1.json", "f1/c.2.0.0", "f1/zarr.json"]
    assert json.loads((store.path / "removed" / "f1.json").read_text())["title"] == "Vesicle"
    assert store.add_feature("Vesicle", 8, "#000000").id == "f2"
    with pytest.raises(PomError, match="has no feature 'f1'"):
        store.mask("f1", 2)


def three_features_the_second_drawn(store: AnnotationStore) -> StoredFeature:
    second = store.add_feature("Granule", 12, "#102030").id
    store.add_feature("Void", 8, "#000000")
    store.write_patch(second, 2, 4, 5, PATCH)
    store.set_boxes(second, 2, [(7, 8), (-40.5, 900)])
    store.set_boxes(second, 3, [(1, 2)])
    return store.feature(second)


def test_a_removed_feature_comes_back_as_it_was(store: AnnotationStore) -> None:
    before = three_features_the_second_drawn(store)
    store.remove_feature("f2")
    again = AnnotationStore.open(store.path)
    assert again.removed_features() == (before,)
    assert again.restore_feature("f2") == before
    assert [feature.id for feature in again.features] == ["f1", "f2", "f3"]
    assert AnnotationStore.open(store.path).features == again.features
    np.testing.assert_array_equal(again.mask("f2", 2), slice_with(4, 5, PATCH))
    assert (again.removed_features(), files(store.path / "removed")) == ((), [])
    with pytest.raises(PomError, match=r"no feature 'f2' to put back"):
        again.restore_feature("f2")
    again.remove_feature("f2")
    assert again.restore_feature("f2") == before


def test_a_box_outside_the_tomogram_comes_back_too(store: AnnotationStore) -> None:
    """Files of Ais can have such boxes."""
    boxes: dict[int, list[tuple[float, float]]] = {99: [(1, 2)], 2: [(7, 8)]}
    feature = Feature("Vesicle", 8, boxes, {2: slice_with(4, 5, PATCH)})
    folder = store.path.with_name("TS_2.annotation")
    write_annotation(folder, Annotation("", *SHAPE, 1.5, (feature,)))
    taken = AnnotationStore.open(folder)
    before = taken.features[0]
    assert set(before.boxes) == {2, 99}
    taken.remove_feature("f1")
    assert taken.restore_feature("f1") == before
    np.testing.assert_array_equal(taken.mask("f1", 2), slice_with(4, 5, PATCH))


@pytest.mark.parametrize("failing", ["document", "masks"])
def test_a_failure_to_put_back_leaves_no_half_of_a_feature(
    store: AnnotationStore, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = three_features_the_second_drawn(store)
    store.remove_feature("f2")
    with monkeypatch.context() as patched:
        patched.setattr(annotation_store, "write_bytes", full_disk)
        if failing == "masks":
            patched.setattr(Path, "rename", full_disk)
        with pytest.raises(PomError if failing == "masks" else OSError):
            store.restore_feature("f2")
    for opened in (store, AnnotationStore.open(store.path)):
        assert [feature.id for feature in opened.features] == ["f1", "f3"]
        assert opened.removed_features() == (before,)
    assert store.restore_feature("f2") == before
    np.testing.assert_array_equal(store.mask("f2", 2), slice_with(4, 5, PATCH))


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_process_killed_while_it_removed_leaves_all_of_it(store: AnnotationStore) -> None:
    """The entry is aside and the masks are not, or the feature is there and its entry is aside, too."""
    before = three_features_the_second_drawn(store)
    store.remove_feature("f2")
    (store.path / "removed" / "f2").rename(store.path / "masks" / "f2")
    assert store.add_feature("Other", 8, "#000000").id == "f4"
    aside = (store.path / "removed" / "f2.json").read_bytes()
    assert store.restore_feature("f2") == before
    np.testing.assert_array_equal(store.mask("f2", 2), slice_with(4, 5, PATCH))
    (store.path / "removed" / "f2.json").write_bytes(aside)
    assert store.removed_features() == ()
    store.remove_feature("f2")
    assert store.removed_features() == (before,)


def test_masks_that_cannot_be_moved_do_not_hold_up_a_removal(
    store: AnnotationStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = three_features_the_second_drawn(store)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full_disk)
        store.remove_feature("f2")
    assert "The masks of 'Granule' stay where they were" in caplog.text
    assert [feature.id for feature in store.features] == ["f1", "f3"]
    assert AnnotationStore.open(store.path).restore_feature("f2") == before


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": "f2"}', b"[" * 100_000])
def test_a_removed_feature_that_is_damaged_is_told(
    store: AnnotationStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    three_features_the_second_drawn(store)
    store.remove_feature("f3")
    store.remove_feature("f2")
    (store.path / "removed" / "f2.json").write_bytes(content)
    assert [feature.id for feature in store.removed_features()] == ["f3"]
    assert "f2.json cannot be put back" in caplog.text
    with pytest.raises(PomError, match=r"no feature 'f2' to put back"):
        store.restore_feature("f2")


def test_threads_take_turns(store: AnnotationStore) -> None:
    def draw(column: int) -> None:
        for row in range(SHAPE[1]):
            store.write_patch("f1", 1, row, column, np.ones((1, 1), bool))

    threads = [threading.Thread(target=draw, args=(column,)) for column in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.mask("f1", 1).sum() == 4 * SHAPE[1]
    assert store.revision == 1 + 4 * SHAPE[1]


# The other forms.


def test_as_the_rest_of_pom_takes_it(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.set_boxes("f1", 3, [(7, 8)])
    annotation = store.annotation()
    assert (annotation.n_slices, annotation.height, annotation.width, annotation.pixel_size) == (*SHAPE, 1.5)
    assert annotation.path == str(store.path.parent / "TS_1.mrc")
    (feature,) = annotation.features
    assert (feature.title, feature.box_size, feature.colour) == ("Vesicle", 8, "#00ff80")
    assert feature.boxes == {3: [(7, 8)]}
    assert (list(feature.slices), len(feature.slices), 3 in feature.slices) == ([2], 1, False)
    np.testing.assert_array_equal(feature.slices[2], slice_with(4, 5, PATCH), strict=True)
    assert not feature.slices[2].flags.writeable
    assert feature.slices.get(3) is None


def test_masks_are_read_only_when_asked_for(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    (store.path / "masks" / "f1" / "c.2.0.0").write_bytes(b"damaged")
    (feature,) = AnnotationStore.open(store.path).annotation().features
    assert (2 in feature.slices, bool(feature.slices)) == (True, True)
    with pytest.raises(PomError, match=r"c\.2\.0\.0, the mask of 'Vesicle' in slice 2, is damaged"):
        _ = feature.slices[2]


def test_an_annotation_of_another_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drawn = slice_with(4, 5, 200 * PATCH.astype(np.uint8))
    empty = np.zeros(SHAPE[1:], np.uint8)
    features = (
        Feature("Vesicle", 8, {9: [(1, 2)], 2: [(7.5, 8)]}, {2: drawn, 3: empty, 6: drawn}, "#010203"),
        Feature("", 16, {}, {}),
    )
    write_annotation(tmp_path, Annotation("", *SHAPE, 1.5, features), revision=7)
    store = AnnotationStore.open(tmp_path)
    assert store.revision == 7
    assert store.features == (
        StoredFeature("f1", "Vesicle", "#010203", 8, {2: [(7.5, 8)], 9: [(1, 2)]}, (2, 3)),
        StoredFeature("f2", "", default_colour(1), 16, {}, ()),
    )
    np.testing.assert_array_equal(store.mask("f1", 2), slice_with(4, 5, PATCH))
    assert [record.message for record in caplog.records] == [
        "'Vesicle': 1 drawn slice lies outside the tomogram and cannot be taken over."
    ]


# What a person, a browser or another process gets wrong.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.write_patch("f1", 6, 0, 0, PATCH), "There is no slice 6 in .*it has 6, counted from 0"),
        (lambda s: s.write_patch("f1", -1, 0, 0, PATCH), "There is no slice -1"),
        (
            lambda s: s.write_patch("f1", 0, 19, 0, PATCH),
            "2 x 3 pixels at y 19, x 0 is not within the slice of 20 x 30",
        ),
        (lambda s: s.write_patch("f1", 0, 0, -1, PATCH), "is not within the slice"),
        (lambda s: s.write_patch("../f1", 0, 0, 0, PATCH), r"has no feature '\.\./f1'"),
        (lambda s: s.set_boxes("f1", 6, [(1, 1)]), "There is no slice 6"),
        (lambda s: s.set_boxes("f1", 0, [(1, float("nan"))]), "'Vesicle' cannot be kept: a box lies nowhere"),
        (lambda s: s.add_feature(" ", 8, "#000000"), "cannot be the title of a feature"),
        (lambda s: s.add_feature("A\nB", 8, "#000000"), "cannot be the title of a feature"),
        (lambda s: s.add_feature("A", 0, "#000000"), "'A' cannot be kept: box_size: .*greater than or equal to 1"),
        (lambda s: s.add_feature("A", 8, "red"), "'A' cannot be kept: colour: "),
        (lambda s: s.change_feature("f2", title="A"), "has no feature 'f2'"),
    ],
)
def test_what_cannot_be_is_refused(store: AnnotationStore, change: Callable[..., None], message: str) -> None:
    before = document(store)
    with pytest.raises(PomError, match=message):
        change(store)
    assert document(store) == before
    assert store.revision == 1


def test_a_stale_writer_is_refused(store: AnnotationStore) -> None:
    stale = AnnotationStore.open(store.path)
    store.write_patch("f1", 2, 4, 5, PATCH)
    changes: list[Callable[[], object]] = [
        lambda: stale.write_patch("f1", 2, 0, 0, np.ones((20, 30), bool)),
        lambda: stale.set_boxes("f1", 2, [(1, 1)]),
        lambda: stale.add_feature("A", 8, "#000000"),
        lambda: stale.remove_feature("f1"),
    ]
    for change in changes:
        with pytest.raises(
            PomError, match="was changed by somebody else since revision 1, so that nothing was written"
        ):
            change()
    assert (stale.revision, document(store)["revision"]) == (1, 2)
    np.testing.assert_array_equal(AnnotationStore.open(store.path).mask("f1", 2), slice_with(4, 5, PATCH))
    store.set_boxes("f1", 2, [(1, 1)])  # who is not stale goes on


def test_a_folder_that_was_put_in_its_place_is_noticed(store: AnnotationStore) -> None:
    store.path.rename(store.path.with_name("aside"))
    with pytest.raises(PomError, match=r"TS_1\.annotation is not there"):
        store.write_patch("f1", 2, 4, 5, PATCH)
    AnnotationStore.create(store.path, shape=SHAPE, pixel_size=1.5).add_feature("Other", 8, "#000000")
    with pytest.raises(PomError, match="was changed by somebody else"):
        store.write_patch("f1", 2, 4, 5, PATCH)
    assert files(store.path) == ["annotation.json"]


def test_nothing_is_made_over_what_is_there(store: AnnotationStore) -> None:
    with pytest.raises(PomError, match="is there already"):
        AnnotationStore.create(store.path, shape=SHAPE, pixel_size=1.5)
    assert len(AnnotationStore.open(store.path).features) == 1


# Foreign, newer and damaged folders.


def changed(**entries: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, **entries}


def changed_feature(**entries: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, "features": [{**content["features"][0], **entries}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(format="other"), "is no annotation of Pom"),
        (changed(version=2), r"was made by a newer Pom \(version 2 of the form\): update Pom"),
        (changed(version=0), r"is damaged \(version: "),
        (changed(shape=[6, 20]), r"is damaged \(shape"),
        (changed(shape=[6, 20, 0]), r"is damaged \(shape\.2: "),
        (changed(revision="3"), r"is damaged \(revision: "),
        (changed(brush=3), r"is damaged \(brush: Extra inputs"),
        (changed(features=[{"id": "f1"}]), r"is damaged \(features\.0\.title: Field required"),
        (changed_feature(id="../../x"), r"is damaged \(features\.0\.id: "),
        (changed_feature(drawn=[6]), "a drawn slice lies outside the tomogram"),
        (changed_feature(boxes={"1": [[1]]}), r"is damaged \(features\.0\.boxes\.1\.0"),
        (changed_feature(boxes={"one": [[1, 2]]}), r"is damaged \(features\.0\.boxes"),
        (changed_feature(boxes={"1": [[1, True]]}), r"is damaged \(features\.0\.boxes\.1\.0"),
    ],
)
def test_a_document_that_is_not_ours(
    store: AnnotationStore, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    content = json.dumps(change(document(store)))
    (store.path / "annotation.json").write_text(content)
    with pytest.raises(PomError, match=message):
        AnnotationStore.open(store.path)
    assert (store.path / "annotation.json").read_text() == content


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"\0" * 300])
def test_a_document_that_is_no_json(store: AnnotationStore, content: bytes) -> None:
    (store.path / "annotation.json").write_bytes(content)
    with pytest.raises(PomError, match=r"annotation\.json is (damaged|no annotation)"):
        AnnotationStore.open(store.path)


def test_a_folder_without_a_document(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"TS_9\.annotation is not there"):
        AnnotationStore.open(tmp_path / "TS_9.annotation")
    (tmp_path / "TS_9.annotation").mkdir()
    with pytest.raises(PomError, match=r"TS_9\.annotation has no annotation\.json"):
        AnnotationStore.open(tmp_path / "TS_9.annotation")


def test_a_mask_that_is_gone_is_not_taken_for_an_empty_one(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.write_patch("f1", 3, 4, 5, PATCH)
    (store.path / "masks" / "f1" / "c.2.0.0").unlink()
    again = AnnotationStore.open(store.path)
    for action in (lambda: again.mask("f1", 2), lambda: again.write_patch("f1", 2, 0, 0, PATCH)):
        with pytest.raises(PomError, match=r"c\.2\.0\.0, the mask of 'Vesicle' in slice 2, is gone: restore it"):
            action()
    assert again.mask("f1", 3).sum() == PATCH.sum()
    assert not (store.path / "masks" / "f1" / "c.2.0.0").exists()


@pytest.mark.parametrize("cut", [0, 7, 20])
def test_a_mask_that_is_cut_short(store: AnnotationStore, cut: int) -> None:
    store.write_patch("f1", 2, 4, 5, np.random.default_rng(0).random((10, 20)) > 0.5)
    chunk = store.path / "masks" / "f1" / "c.2.0.0"
    chunk.write_bytes(chunk.read_bytes()[:cut])
    with pytest.raises(PomError, match=r"c\.2\.0\.0.*is damaged"):
        AnnotationStore.open(store.path).mask("f1", 2)


def test_a_single_wrong_bit_in_a_mask_is_noticed(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 0, 0, np.random.default_rng(0).random(SHAPE[1:]) > 0.5)
    chunk = store.path / "masks" / "f1" / "c.2.0.0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)
    with pytest.raises(PomError, match="is damaged"):
        AnnotationStore.open(store.path).mask("f1", 2)


@pytest.mark.parametrize(
    ("shape", "chunks", "dtype"),
    [((6, 20, 31), (1, 20, 31), "uint8"), (SHAPE, (2, 20, 30), "uint8"), (SHAPE, (1, 20, 30), "int16")],
)
def test_masks_of_another_kind(
    store: AnnotationStore, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str
) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    folder = store.path / "masks" / "f1"
    zarr.create_array(folder, shape=shape, chunks=chunks, dtype=dtype, overwrite=True)
    (folder / "c.2.0.0").write_bytes(b"")
    with pytest.raises(PomError, match=r"masks/f1 holds .* not uint8 \(6, 20, 30\) in chunks of \(1, 20, 30\)"):
        AnnotationStore.open(store.path).mask("f1", 2)


def test_masks_without_their_metadata(store: AnnotationStore) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    (store.path / "masks" / "f1" / "zarr.json").write_text("{}")
    with pytest.raises(PomError, match="masks/f1 is no Zarr array of masks"):
        AnnotationStore.open(store.path).mask("f1", 2)


# Killed processes, and full disks.


def test_killed_between_mask_and_document(store: AnnotationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slice is not listed yet, but what was drawn in it is there."""
    store.write_patch("f1", 2, 4, 5, PATCH)

    def killed(path: Path, content: bytes) -> None:
        assert path.name == "annotation.json"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "_save", lambda features: killed(store.path / "annotation.json", b""))
        with pytest.raises(KeyboardInterrupt):
            store.write_patch("f1", 3, 4, 5, PATCH)
    assert document(store)["features"][0]["drawn"] == [2]
    again = AnnotationStore.open(store.path)
    assert (again.features[0].drawn, again.revision) == ((2, 3), 2)
    np.testing.assert_array_equal(again.mask("f1", 3), slice_with(4, 5, PATCH))
    again.set_boxes("f1", 3, [(1, 1)])
    assert document(store)["features"][0]["drawn"] == [2, 3]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from pom.io import atomic
from pom.io.annotation_store import AnnotationStore
store = AnnotationStore.open(Path(sys.argv[1]))
replaced = 0
real = Path.replace
def replace(self, target):
    global replaced
    replaced += 1
    if replaced == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.replace = replace
for z in range(6):
    store.write_patch("f1", z, 0, 0, np.ones((4, 5), bool))
"""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_killed_at_any_file_nothing_whole_is_lost(store: AnnotationStore, at: int) -> None:
    """The first patch writes three files (Zarr's metadata, chunk, JSON), each further one two."""
    process = subprocess.run([sys.executable, "-c", KILLED, str(store.path), str(at)], check=False)
    assert process.returncode == -signal.SIGKILL
    again = AnnotationStore.open(store.path)
    whole = {1: 0, 2: 0, 3: 1, 4: 1, 5: 2}[at]
    assert again.features[0].drawn == tuple(range(whole))
    assert [int(again.mask("f1", z).sum()) for z in range(6)] == [20] * whole + [0] * (6 - whole)
    again.write_patch("f1", 5, 0, 0, np.ones((4, 5), bool))
    assert AnnotationStore.open(store.path).mask("f1", 5).sum() == 20
    # What the killed process was writing is swept away by the next that writes there.
    assert not list((store.path / "masks" / "f1").glob(".*"))


def test_a_full_disk_loses_nothing(disk_of: Callable[[str], Path]) -> None:
    shape = (400, 128, 128)
    store = AnnotationStore.create(disk_of("256k") / "TS_1.annotation", shape=shape, pixel_size=1.5)
    store.add_feature("Vesicle", 8, "#00ff80")
    noise = np.random.default_rng(0).random((400, 128, 128)) > 0.5
    with pytest.raises(DiskError, match=r"The disk is full, so .* was not written"):
        for z in range(400):
            store.write_patch("f1", z, 0, 0, noise[z])
    again = AnnotationStore.open(store.path)
    drawn = again.features[0].drawn
    assert drawn == tuple(range(len(drawn)))
    assert len(drawn) > 20
    for z in drawn:
        np.testing.assert_array_equal(again.mask("f1", z), noise[z])
    for z in range(5):
        (store.path / "masks" / "f1" / f"c.{z}.0.0").unlink()
    # Room again: the very store that failed goes on.
    store.write_patch("f1", len(drawn) - 1, 0, 0, ~noise[len(drawn) - 1])
    np.testing.assert_array_equal(AnnotationStore.open(store.path).mask("f1", len(drawn) - 1), ~noise[len(drawn) - 1])


def test_a_document_that_cannot_be_written_keeps_the_stroke(
    store: AnnotationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk is there, the JSON fails: the next stroke must not erase the one before."""
    real = atomic.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name == "annotation.json":
            raise DiskError("The disk is full.")
        real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(annotation_store, "write_bytes", full)
        with pytest.raises(DiskError):
            store.write_patch("f1", 3, 0, 0, PATCH)
    assert store.revision == 1
    store.write_patch("f1", 3, 10, 10, PATCH)
    np.testing.assert_array_equal(
        AnnotationStore.open(store.path).mask("f1", 3), slice_with(0, 0, PATCH) + slice_with(10, 10, PATCH)
    )


def test_a_read_only_disk_can_be_read(disk_of: Callable[[str], Path], make_read_only: Callable[[Path], None]) -> None:
    disk = disk_of("256k")
    store = AnnotationStore.create(disk / "TS_1.annotation", shape=SHAPE, pixel_size=1.5)
    store.add_feature("Vesicle", 8, "#00ff80")
    store.write_patch("f1", 2, 4, 5, PATCH)
    make_read_only(disk)
    again = AnnotationStore.open(store.path)
    np.testing.assert_array_equal(again.mask("f1", 2), slice_with(4, 5, PATCH))
    with pytest.raises(PomError, match="cannot be written"):
        again.write_patch("f1", 3, 4, 5, PATCH)


def test_every_file_is_flushed_before_it_appears(store: AnnotationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zarr's own store renames without that; a power failure could then leave an empty chunk."""
    steps: list[str] = []
    sync, move = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append("sync")
        sync(descriptor)

    def moved(self: Path, target: Path) -> Path:
        steps.append(Path(target).name)
        return move(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    store.write_patch("f1", 2, 4, 5, PATCH)
    flushed = ["sync", "zarr.json", "sync", "sync", "c.2.0.0", "sync", "sync", "annotation.json", "sync"]
    assert steps == flushed


def test_the_example_of_the_guide_reads_it(
    store: AnnotationStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write_patch("f1", 2, 4, 5, PATCH)
    store.set_boxes("f1", 2, [(7, 8)])
    guide = (Path(__file__).parents[2] / "docs" / "annotation.md").read_text()
    code = guide.split("```python\n")[1].split("```")[0]
    (store.path.parent / "tomograms").mkdir()
    store.path.rename(store.path.parent / "tomograms" / "TS_001.annotation")
    monkeypatch.chdir(store.path.parent)
    exec(code, {})
    assert capsys.readouterr().out == "Vesicle slice 2: 5 pixels drawn, boxes of 8 at [[7, 8]]\n"


@pytest.fixture(autouse=True)
def _fresh_sweeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leftovers are looked for once per folder and process; here each test is a process of its own."""
    monkeypatch.setattr("pom.io.atomic._swept", set())
    yield


def test_a_stroke_taken_back_in_a_reopened_store_leaves_an_empty_slice(tmp_path: Path) -> None:
    path = tmp_path / "TS_1.annotation"
    feature = AnnotationStore.create(path, shape=(3, 4, 5), pixel_size=1.0).add_feature("Disc", 2, "#ff0000")
    AnnotationStore.open(path).write_patch(feature.id, 0, 0, 0, np.ones((1, 1), np.bool_))
    store = AnnotationStore.open(path)
    store.write_patch(feature.id, 1, 0, 0, np.ones((2, 2), np.bool_))
    store.write_patch(feature.id, 1, 0, 0, np.zeros((2, 2), np.bool_))
    assert not AnnotationStore.open(path).mask(feature.id, 1).any()
    assert not AnnotationStore.open(path).annotation().features[0].slices.get(1, np.zeros(1)).any()


def test_a_change_is_newer_than_what_was_there_whatever_the_clock_says(store: AnnotationStore) -> None:
    path = store.path / "annotation.json"
    ahead = time.time_ns() + 300 * 10**9
    os.utime(path, ns=(ahead, ahead))
    store.add_feature("Disc", 8, "#ff0000")
    assert path.stat().st_mtime_ns > ahead
