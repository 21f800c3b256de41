import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pom.errors import PomError
from pom.project.configuration import (
    Configuration,
    default_configuration_text,
    read_configuration,
    write_default_configuration,
)

PUBLISHED_DEFAULTS = {
    "root": "",
    "tomogram_dir": "tomograms",
    "macromolecule_dir": "macromolecules",
    "output_dir": "output",
    "test_dir": "test",
    "image_dir": "images",
    "ontology_annotation_box_size": 128,
    "apix": 15.68,
    "macromolecules": ["Density"],
    "ontologies": [],
    "z_sum": 4,
    "single_model_epochs": 100,
    "single_model_batch_size": 32,
    "single_model_overlap": 0.0,
    "single_model_box_size": 256,
    "shared_model_epochs": 200,
    "shared_model_batch_size": 64,
    "shared_model_overlap": 0.0,
    "shared_model_box_size": 256,
    "shared_model_unknown_class_threshold": None,
    "shared_model_unknown_output_thresold": 0.5,
    "tf_distribute_mirrored": True,
    "shared_model_runs_per_volume": 4,
    "GPUS": "0,1,2,3,4,5,6,7",
    "image_size": 1024,
    "soft_ignore_in_summary": [],
    "gallery_categories": ["Macromolecules", "Top3", "density"],
    "raytraced_ontologies": False,
    "camera_pitch": -30.0,
    "camera_yaw": 180.0,
    "z_margin_summary": 0.3,
    "silhouette_alpha": 0.5,
    "silhouette_threshold": 0.01,
}
NEW_DEFAULTS = {
    "binning": [2, 2, 2],
    "output_dtype": "int8",
    "output_format": "mrc",
    "seed": 0,
    "precision": "auto",
    "validation_share": 0.2,
    "learning_rate": None,
    "slurm": {
        "partition": None,
        "account": None,
        "gpus_per_node": None,
        "cpus_per_task": None,
        "mem": None,
        "time": None,
        "array_size": 8,
        "nodes": 1,
        "extra": [],
        "setup": [],
    },
}


def read(folder: Path, text: str | bytes) -> Configuration:
    path = folder / "project_configuration.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_configuration(path)


def fault(folder: Path, text: str | bytes) -> str:
    with pytest.raises(PomError) as caught:
        read(folder, text)
    sentence = str(caught.value)
    assert "project_configuration.json" in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_the_file_that_is_written_holds_every_key_at_its_default(tmp_path: Path) -> None:
    path = tmp_path / "project_configuration.json"
    write_default_configuration(path)
    written = json.loads(path.read_text())
    assert written == PUBLISHED_DEFAULTS | NEW_DEFAULTS
    assert list(written) == [*PUBLISHED_DEFAULTS, *NEW_DEFAULTS]
    assert read_configuration(path) == Configuration()
    assert path.read_text() == default_configuration_text()


def test_an_existing_configuration_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "project_configuration.json"
    path.write_text("mine")
    with pytest.raises(PomError, match="exists already"):
        write_default_configuration(path)
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="cannot be written"):
        write_default_configuration(tmp_path / "absent" / "project_configuration.json")


def test_a_disk_that_fills_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "project_configuration.json"
    real_open = Path.open

    def open_on_a_full_disk(self: Path, *args: Any, **kwargs: Any) -> Any:
        real_open(self, *args, **kwargs).close()
        return real_open(full, "w", encoding="utf-8")

    monkeypatch.setattr(Path, "open", open_on_a_full_disk)
    with pytest.raises(PomError, match="No space left"):
        write_default_configuration(path)
    assert not path.exists()


def test_a_published_file_is_read_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = PUBLISHED_DEFAULTS | {"ontologies": ["Vesicle", "_"], "macromolecules": ["Density", "_", "Membrane"]}
    with caplog.at_level(logging.INFO):
        configuration = read(tmp_path, json.dumps(values))
    assert caplog.records == []
    assert configuration.ontologies == ("Vesicle", "_")
    assert configuration.macromolecules == ("Density", "_", "Membrane")
    assert configuration.binning == (2, 2, 2)
    assert configuration.shared_model_unknown_output_threshold == 0.5


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Configuration().seed = 1


def test_keys_of_the_past_are_named_once_where_they_were_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        read(tmp_path, '{"single_model_overlap": 0.5, "tf_distribute_mirrored": false, "shared_model_box_size": 256}')
    (record,) = caplog.records
    assert "single_model_overlap, tf_distribute_mirrored mean nothing" in record.getMessage()
    assert "shared_model_box_size" not in record.getMessage()


@pytest.mark.parametrize(
    ("key", "given", "held"),
    [
        ("binning", 2, (2, 2, 2)),
        ("binning", [1, 2, 2], (1, 2, 2)),
        ("apix", 10, 10.0),
        ("camera_pitch", -30, -30.0),
        ("GPUS", 3, "3"),
        ("GPUS", [0, 2], "0,2"),
        ("GPUS", [], ""),
        ("GPUS", " 0, 01 ", "0,1"),
        ("GPUS", "", ""),
        ("GPUS", "-1", ""),
        ("GPUS", -1, ""),
        ("learning_rate", None, None),
        ("learning_rate", 0.001, 0.001),
        ("shared_model_runs_per_volume", 8, 8),
        ("z_sum", 0, 0),
        ("validation_share", 0, 0.0),
        ("ontologies", ["_", "Nuclear envelope", "_"], ("_", "Nuclear envelope", "_")),
    ],
)
def test_values_that_are_taken(tmp_path: Path, key: str, given: object, held: object) -> None:
    assert getattr(read(tmp_path, json.dumps({key: given})), key) == held


@pytest.mark.parametrize(
    ("key", "given", "part"),
    [
        ("single_model_epochs", -5, "'single_model_epochs' is -5, but must be a whole number, 1 or more"),
        ("shared_model_epochs", 0, "must be a whole number, 1 or more"),
        ("single_model_batch_size", -1, "must be a whole number, 1 or more"),
        ("shared_model_batch_size", 2.5, "is 2.5, but must be a whole number"),
        ("single_model_epochs", "100", 'is "100", but must be a whole number'),
        ("single_model_epochs", True, "is true, but must be a whole number"),
        ("ontology_annotation_box_size", None, "is null, but must be a whole number"),
        ("z_sum", -1, "must be a whole number, 0 or more"),
        ("apix", 0, "must be a number above 0, the voxel size in Angstrom"),
        ("apix", "15.68", "must be a number above 0"),
        ("shared_model_unknown_class_threshold", 1.01, "must be a number from 0 to 1, or null"),
        ("shared_model_unknown_output_thresold", -0.1, "'shared_model_unknown_output_thresold' is -0.1"),
        ("shared_model_unknown_output_threshold", 2, "'shared_model_unknown_output_threshold' is 2"),
        ("z_margin_summary", 0.5, "is 0.5, but must be a number from 0 to below 0.5, the share of the slices that is"),
        ("silhouette_alpha", "x", "must be a number from 0 to 1"),
        ("camera_yaw", [], "must be a number"),
        ("validation_share", 0.6, "must be a number from 0 to 0.5"),
        ("raytraced_ontologies", 0, "must be true or false"),
        ("shared_model_runs_per_volume", 5, "is 5, but must be 1, 2, 4 or 8 flips and rotations; the nearest is 4"),
        ("shared_model_runs_per_volume", "4", "must be 1, 2, 4 or 8"),
        ("GPUS", "0;1", 'is "0;1", but must be GPU numbers'),
        ("GPUS", "0,,1", "must be GPU numbers"),
        ("GPUS", "0,-1", "must be GPU numbers"),
        ("GPUS", "1,1", "names a GPU twice"),
        ("GPUS", True, "is true, but must be GPU numbers"),
        ("tomogram_dir", 3, "must be the path of a folder"),
        ("root", "a\0b", "null character"),
        ("binning", 0, "must be a whole number from 1 to 32, or three of them, [z, y, x]"),
        ("binning", [2, 2], "three of them"),
        ("binning", [2, 2, 2.0], "three of them"),
        ("output_dtype", "int16", 'must be "int8" (0..127 for 0..1), "uint8" or "float32"'),
        ("output_format", "tiff", 'must be "mrc" or "ome-zarr"'),
        ("precision", "fp16", 'must be "auto", "bf16" or "float32"'),
        ("seed", -1, "must be a whole number from 0"),
        ("learning_rate", 0, "must be a number above 0 and at most 1, or null"),
        ("ontologies", "Vesicle", "must be a list of names"),
        ("ontologies", ["Vesicle", 1], "must be a list of names"),
        ("ontologies", ["a/b"], "'ontologies' holds 'a/b'"),
        ("ontologies", ["ER", "ER"], "holds 'ER' twice"),
        ("ontologies", [""], "empty name"),
        ("ontologies", ["unknown"], "'unknown', which is reserved"),
        ("ontologies", ["Density"], "'Density', which is reserved"),
        ("macromolecules", ["Density", "a__b"], "'macromolecules' holds 'a__b'"),
        ("macromolecules", ["density"], "write 'Density' for the tomogram itself"),
        ("macromolecules", [], "names no channel"),
        ("macromolecules", ["_"], "names no channel"),
    ],
)
def test_values_that_are_refused_name_file_key_and_remedy(tmp_path: Path, key: str, given: object, part: str) -> None:
    assert part in fault(tmp_path, json.dumps({key: given}))


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    sentence = fault(tmp_path, '{"apix": -1, "seed": "x"}')
    assert "'apix' is -1" in sentence
    assert "'seed' is \"x\"" in sentence


@pytest.mark.parametrize(
    ("key", "closest"),
    [("ontology", "ontologies"), ("gpus", "GPUS"), ("z_summ", "z_sum"), ("shared_model_epoch", "shared_model_epochs")],
)
def test_an_unknown_key_is_answered_with_the_nearest_known(tmp_path: Path, key: str, closest: str) -> None:
    sentence = fault(tmp_path, json.dumps({key: 1}))
    assert f"unknown key '{key}'" in sentence
    assert f"'{closest}'" in sentence


def test_the_output_threshold_is_read_in_both_spellings(tmp_path: Path) -> None:
    wild, right = "shared_model_unknown_output_thresold", "shared_model_unknown_output_threshold"
    assert read(tmp_path, f'{{"{wild}": 0.25}}').shared_model_unknown_output_threshold == 0.25
    assert read(tmp_path, f'{{"{right}": 0.25}}').shared_model_unknown_output_threshold == 0.25
    assert read(tmp_path, f'{{"{right}": 0.25, "{wild}": 0.25}}').shared_model_unknown_output_threshold == 0.25
    sentence = fault(tmp_path, f'{{"{right}": 0.25, "{wild}": 0.5}}')
    assert wild in sentence
    assert right in sentence
    assert "keep one" in sentence


def test_an_output_must_not_replace_a_macromolecule(tmp_path: Path) -> None:
    values: dict[str, object] = {"macromolecules": ["Density", "Membrane"], "ontologies": ["Membrane"]}
    assert read(tmp_path, json.dumps(values)).ontologies == ("Membrane",)
    for key in ("output_dir", "test_dir"):
        assert "'Membrane' is in both" in fault(tmp_path, json.dumps(values | {key: "macromolecules/"}))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is not valid JSON: Expecting value at line 1, column 1"),
        ('{"apix": 1,\n "seed" 2}', "at line 2, column 9"),
        ("{'apix': 1}", "at line 1, column 2"),
        ("[1]", "must hold a JSON object, {...}, and not a list"),
        ('"x"', "and not a text"),
        ("null", "and not the single value null"),
        ('{"apix": 1, "apix": 2}', "the key 'apix' twice"),
        ('{"apix": NaN}', "it holds NaN"),
        ('{"camera_yaw": -Infinity}', "it holds -Infinity"),
        ('{"camera_yaw": 1e999}', "must be a number"),
        ('{"seed": ' + "9" * 5000 + "}", "cannot be used"),
        ("[" * 100_000, "nested too deeply"),
        ('{"root": "caf\u00e9"}'.encode("latin-1"), "is not UTF-8 text"),
        ("{}".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_json_object_is_said_to_be_so(tmp_path: Path, text: str | bytes, part: str) -> None:
    assert part in fault(tmp_path, text)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbf{"seed": 7}').seed == 7


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(PomError, match=r"project_configuration\.json cannot be read"):
        read_configuration(tmp_path / "project_configuration.json")
    with pytest.raises(PomError, match="cannot be read"):
        read_configuration(tmp_path)
