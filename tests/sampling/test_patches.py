from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pom.errors import PomError
from pom.sampling.patches import JointPatchSet, PatchSet

N, SIDE = 5, 4


def patch_set(ontology: str = "Disc", side: int = SIDE, preprocessing: str = "{}") -> PatchSet:
    random = np.random.default_rng(3)
    drawn, boxed, inside = random.random((3, N, side, side)) < 0.5
    drawn[1] = False
    drawn[2] = ~boxed[2]
    return PatchSet(
        images=random.normal(size=(N, 2, side, side)).astype(np.float32),
        drawn=drawn,
        boxed=boxed,
        inside=inside,
        ontologies=np.array([ontology] * N),
        tomograms=np.array(["TS_1", "TS_1", "TS_2", "a long name with spaces", "TS_é"]),
        centres=random.integers(0, 100, (N, 3)),
        corners=random.integers(-20, 50, (N, 3)),
        validation=np.array([True, False, False, True, False]),
        preprocessing=preprocessing,
        pixel_size=15.68,
    )


def joint_set() -> JointPatchSet:
    labels = np.arange(N * SIDE * SIDE, dtype=np.uint8).reshape(N, SIDE, SIDE) % 3
    return JointPatchSet(
        **vars(patch_set()), labels=labels, outputs=np.array(["Disc", "_", "Unknown"]), unknown_threshold=0.4
    )


def assert_equal(left: PatchSet, right: PatchSet) -> None:
    for field in fields(left):
        before, after = getattr(left, field.name), getattr(right, field.name)
        np.testing.assert_array_equal(before, after, err_msg=field.name)
        assert type(before) is type(after)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype


@pytest.mark.parametrize("patches", [patch_set(), joint_set()], ids=["single", "joint"])
def test_saved_and_loaded(tmp_path: Path, patches: PatchSet) -> None:
    path = tmp_path / "new folder" / "Disc.npz"
    patches.save(path)
    assert_equal(type(patches).load(path, "pom single initialize"), patches)
    assert [file.name for file in path.parent.iterdir()] == ["Disc.npz"]


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"Disc\.npz is not there; run 'pom single initialize' first"):
        PatchSet.load(tmp_path / "Disc.npz", "pom single initialize")


@pytest.mark.parametrize("damage", ["empty", "text", "cut short", "byte changed"])
def test_a_damaged_file_names_the_command(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "Disc.npz"
    patch_set().save(path)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    content = {"empty": b"", "text": b"hello", "cut short": bytes(data[:-100]), "byte changed": bytes(data)}[damage]
    path.write_bytes(content)
    with pytest.raises(PomError, match=r"Disc\.npz is damaged \(.*\); run 'pom single initialize' again"):
        PatchSet.load(path, "pom single initialize")


def test_a_file_of_another_kind_names_the_command(tmp_path: Path) -> None:
    """Single patches have no labels."""
    patch_set().save(tmp_path / "joint.npz")
    with pytest.raises(PomError, match=r"damaged .*; run 'pom shared initialize' again"):
        JointPatchSet.load(tmp_path / "joint.npz", "pom shared initialize")


def test_nothing_in_a_file_is_unpickled(tmp_path: Path) -> None:
    values = {**vars(patch_set()), "tomograms": np.array([Path("a")] * N, object)}
    np.savez(tmp_path / "Disc.npz", **values)
    with pytest.raises(PomError, match="damaged"):
        PatchSet.load(tmp_path / "Disc.npz", "pom single initialize")


def test_an_older_file_survives_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "Disc.npz"
    patch_set().save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        replace(patch_set(), images=Unwritable()).save(path)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["Disc.npz"]


class Unwritable:
    def __array__(self, *_: object, **__: object) -> None:
        raise TypeError


def test_select_by_mask_and_by_index() -> None:
    patches = patch_set()
    assert patches.select(patches.validation).tomograms.tolist() == ["TS_1", "a long name with spaces"]
    chosen = patches.select(np.array([4, 0]))
    assert chosen.tomograms.tolist() == ["TS_é", "TS_1"]
    np.testing.assert_array_equal(chosen.images, patches.images[[4, 0]])
    assert (len(patches), len(chosen), chosen.pixel_size) == (N, 2, 15.68)


def test_joint_patches_are_selected_with_their_labels() -> None:
    joint = joint_set()
    chosen = joint.select(np.array([3]))
    np.testing.assert_array_equal(chosen.labels, joint.labels[3:4])
    assert chosen.outputs.tolist() == ["Disc", "_", "Unknown"]


def test_drawn_pixels_count_within_the_box_only() -> None:
    """Patch 1 has none, patch 2 has some but outside its box."""
    assert patch_set().with_drawn_pixels().tomograms.tolist() == ["TS_1", "a long name with spaces", "TS_é"]


def test_concatenated() -> None:
    both = PatchSet.concatenate([patch_set("Disc"), patch_set("A longer name")])
    assert both.ontologies.tolist() == ["Disc"] * N + ["A longer name"] * N
    np.testing.assert_array_equal(both.images[N:], patch_set().images)


@pytest.mark.parametrize("other", [patch_set(preprocessing='{"z_sum": 1}'), patch_set(side=6)])
def test_patches_of_different_settings_are_not_mixed(other: PatchSet) -> None:
    with pytest.raises(PomError, match="different settings; run 'pom single initialize' again"):
        PatchSet.concatenate([patch_set(), other])
