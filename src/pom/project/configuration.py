"""The project configuration: every key, its default, and what it may hold."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pom.errors import PomError
from pom.project.json_file import read_json_object
from pom.project.names import DENSITY, nearest, without_empty
from pom.project.slurm_settings import Slurm, SlurmSettings
from pom.project.values import (
    Binning,
    Count,
    Expected,
    Flag,
    Folder,
    Gpus,
    InputChannels,
    Number,
    OutputClasses,
    Runs,
    Share,
    TextList,
)

log = logging.getLogger(__name__)

OUTPUT_THRESHOLD = "shared_model_unknown_output_threshold"
OUTPUT_THRESHOLD_IN_THE_WILD = "shared_model_unknown_output_thresold"

PAST_KEYS = (
    "single_model_overlap",
    "single_model_box_size",
    "shared_model_overlap",
    "shared_model_box_size",
    "tf_distribute_mirrored",
)
"""Keys of the published Pom that mean nothing here."""


class Configuration(BaseModel):
    """A project's settings; immutable. A wrong value raises pydantic's ValidationError.

    ``read_configuration`` turns that into one sentence that names the file and the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Folders: root is relative to the project folder, the others are relative to root; all may be absolute.
    root: Folder = ""
    tomogram_dir: Folder = "tomograms"
    macromolecule_dir: Folder = "macromolecules"
    output_dir: Folder = "output"
    test_dir: Folder = "test"
    image_dir: Folder = "images"

    ontology_annotation_box_size: Count = 128  # side of a training patch, pixels of the tomogram before binning
    apix: Annotated[float, Field(gt=0), Expected("a number above 0, the voxel size in Angstrom")] = 15.68
    macromolecules: InputChannels = (DENSITY,)  # input channels, in order
    ontologies: OutputClasses = ()  # output classes, in order
    z_sum: Annotated[int, Field(ge=0), Expected("a whole number, 0 or more")] = 4  # a slab is 2 * z_sum + 1 slices

    single_model_epochs: Count = 100
    single_model_batch_size: Count = 32
    single_model_overlap: Any = 0.0
    single_model_box_size: Any = 256

    shared_model_epochs: Count = 200
    shared_model_batch_size: Count = 64
    shared_model_overlap: Any = 0.0
    shared_model_box_size: Any = 256
    shared_model_unknown_class_threshold: Annotated[
        Annotated[float, Field(ge=0, le=1)] | None, Expected("a number from 0 to 1, or null")
    ] = None  # null: chosen on the validation patches
    # Written in the spelling that existing files bear; read in either.
    shared_model_unknown_output_threshold: Annotated[Share, Field(serialization_alias=OUTPUT_THRESHOLD_IN_THE_WILD)] = (
        0.5
    )
    tf_distribute_mirrored: Any = True
    shared_model_runs_per_volume: Runs = 4

    GPUS: Gpus = "0,1,2,3,4,5,6,7"

    image_size: Count = 1024  # pixels
    soft_ignore_in_summary: TextList = ()
    gallery_categories: TextList = ("Macromolecules", "Top3", "density")
    raytraced_ontologies: Flag = False
    camera_pitch: Number = -30.0  # degrees
    camera_yaw: Number = 180.0  # degrees
    z_margin_summary: Annotated[
        float,
        Field(ge=0, lt=0.5),
        Expected("a number from 0 to below 0.5, the share of the slices that is left out above, and below"),
    ] = 0.3
    silhouette_alpha: Share = 0.5
    silhouette_threshold: Share = 0.01

    # Keys that the published Pom does not have.
    binning: Binning = (2, 2, 2)  # z, y, x
    output_dtype: Annotated[
        Literal["int8", "uint8", "float32"], Expected('"int8" (0..127 for 0..1), "uint8" or "float32"')
    ] = "int8"
    output_format: Annotated[Literal["mrc", "ome-zarr"], Expected('"mrc" or "ome-zarr"')] = "mrc"
    seed: Annotated[int, Field(ge=0, lt=2**32), Expected("a whole number from 0 to 4294967295")] = 0
    precision: Annotated[Literal["auto", "bf16", "float32"], Expected('"auto", "bf16" or "float32"')] = "auto"
    validation_share: Annotated[float, Field(ge=0, le=0.5), Expected("a number from 0 to 0.5")] = 0.2
    learning_rate: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None, Expected("a number above 0 and at most 1, or null")
    ] = None  # null: the program's own choice
    slurm: Slurm = SlurmSettings()  # what jobs ask for that --slurm submits

    @model_validator(mode="before")
    @classmethod
    def _either_spelling(cls, data: Any) -> Any:
        """Takes the output threshold in the spelling of existing files, and in the right one."""
        if not isinstance(data, Mapping) or OUTPUT_THRESHOLD_IN_THE_WILD not in data:
            return data
        renamed = dict(data)
        value = renamed.pop(OUTPUT_THRESHOLD_IN_THE_WILD)
        if renamed.setdefault(OUTPUT_THRESHOLD, value) != value:
            raise ValueError(
                f"{OUTPUT_THRESHOLD!r} and {OUTPUT_THRESHOLD_IN_THE_WILD!r} are one setting but differ; keep one"
            )
        return renamed

    @model_validator(mode="after")
    def _outputs_beside_macromolecules(self) -> Self:
        """An ontology's output must never take the place of a macromolecule's volume."""
        shared = set(without_empty(self.ontologies)) & set(self.macromolecules)
        for key in ("output_dir", "test_dir"):
            folder = getattr(self, key)
            if shared and Path(folder) == Path(self.macromolecule_dir):
                name = sorted(shared)[0]
                raise ValueError(
                    f"{name!r} is in both 'macromolecules' and 'ontologies' while {key!r} and 'macromolecule_dir' are"
                    " one folder, so that its output would replace its input; give them two folders"
                )
        return self


def read_configuration(path: Path) -> Configuration:
    """Reads and checks a project configuration.

    Raises:
        PomError: one sentence that names the file, the key, what it holds and what it should hold.
    """
    return check_configuration(path, read_json_object(path))


def check_configuration(path: Path, values: Mapping[str, Any]) -> Configuration:
    """Checks what a project configuration holds, or is to hold; ``path`` is only named in the error.

    Raises:
        PomError: as ``read_configuration``.
    """
    _refuse_unknown_keys(path, values)
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        raise PomError(f"{path}: {_sentence(error, values)}.") from error
    _name_past_keys(path, configuration)
    return configuration


def default_configuration_text() -> str:
    """The text of a configuration file with every key at its default."""
    return json.dumps(Configuration().model_dump(mode="json", by_alias=True), indent=2) + "\n"


def write_default_configuration(path: Path) -> None:
    """Writes a new configuration with every key at its default; never replaces a file.

    Raises:
        PomError: there is such a file, or it cannot be written.
    """
    text = default_configuration_text()
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise PomError(f"{path} exists already and is left as it is.") from error
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        with file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> PomError:
    return PomError(f"{path} cannot be written: {error.strerror or error}; make a project where you may write.")


def _refuse_unknown_keys(path: Path, values: Mapping[str, Any]) -> None:
    known = [*Configuration.model_fields, OUTPUT_THRESHOLD_IN_THE_WILD]
    for key in values:
        if key not in known:
            closest = nearest(key, known, cutoff=0.0)
            raise PomError(f"{path} holds the unknown key {key!r}: remove it, or write {closest!r}, the nearest known.")


def _sentence(error: ValidationError, values: Mapping[str, Any]) -> str:
    """All that is wrong, one clause a key, in the order of the model."""
    clauses: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        key = str(fault["loc"][0]) if fault["loc"] else ""
        clauses.setdefault(key, _clause(key, fault.get("ctx", {}).get("error"), values))
    return "; ".join(clauses.values())


def _clause(key: str, reason: object, values: Mapping[str, Any]) -> str:
    if not key:
        return str(reason)
    shown = OUTPUT_THRESHOLD_IN_THE_WILD if key == OUTPUT_THRESHOLD and key not in values else key
    if isinstance(reason, ValueError):
        return f"{shown!r} {reason}"
    expected = next(item.text for item in Configuration.model_fields[key].metadata if isinstance(item, Expected))
    held = json.dumps(values[shown])
    return f"{shown!r} is {held if len(held) <= 60 else held[:57] + '...'}, but must be {expected}"


def _name_past_keys(path: Path, configuration: Configuration) -> None:
    changed = [key for key in PAST_KEYS if getattr(configuration, key) != Configuration.model_fields[key].default]
    if changed:
        verb = "means" if len(changed) == 1 else "mean"
        log.info("%s: %s %s nothing to this program; it goes on without.", path, ", ".join(changed), verb)
