"""Measures the segmentations of one tomogram and keeps what was found, so that a run that is killed loses no more."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pom.errors import PomError
from pom.io.mrc import PLACEHOLDER_SHAPE, is_placeholder
from pom.io.stamps import FileStamp, file_stamp
from pom.io.summary_files import (
    Measurement,
    Settings,
    TomogramSummary,
    read_tomogram_summary,
    write_tomogram_summary,
)
from pom.io.volume_files import open_volume, stored_at
from pom.measure.composition import fetch_ahead, measure


@dataclass(frozen=True)
class Stored:
    """A segmentation to measure: where it is, and how it is measured."""

    path: Path
    settings: Settings
    may_be_mask: bool
    """Whether integers of only 0 and 1 mean a mask, as for a macromolecule."""


@dataclass(frozen=True)
class Task:
    """What is to be measured of a tomogram."""

    name: str
    record: Path
    """Where the result is kept, beside what is known of other features."""
    wanted: Mapping[str, Stored]


@dataclass(frozen=True)
class Measured:
    """What became of it."""

    summary: TomogramSummary
    placeholders: tuple[str, ...]
    """Features whose file only holds a place."""
    failed: Mapping[str, str]
    """By feature, why it was not measured."""


def measure_tomogram(task: Task) -> Measured:
    """Measures all that is wanted of a tomogram and writes it; what cannot be measured stops nothing else.

    Raises:
        PomError: the record cannot be written.
    """
    features: dict[str, Measurement] = {}
    placeholders: list[str] = []
    failed: dict[str, str] = {}
    following = [*list(task.wanted.values())[1:], None]
    for (feature, stored), next_one in zip(task.wanted.items(), following, strict=True):
        if next_one is not None:
            _fetch_ahead(next_one)
        try:
            found = _measure(stored)
        except PomError as error:
            failed[feature] = str(error)
            continue
        if found is None:
            placeholders.append(feature)
        else:
            features[feature] = found
    # Read only now: somebody else may have measured other features meanwhile.
    before = read_tomogram_summary(task.record)
    others = {} if before is None else {title: it for title, it in before.features.items() if title not in task.wanted}
    summary = TomogramSummary(tomogram=task.name, features=others | features)
    write_tomogram_summary(task.record, summary)
    return Measured(summary, tuple(placeholders), failed)


def is_up_to_date(known: Measurement | None, stored: Stored, stamp: FileStamp) -> bool:
    """Whether a file was measured as it is now; ``stamp``: that of ``stored_at``."""
    return known is not None and (known.modified_ns, known.bytes) == stamp[:2] and known.settings == stored.settings


def _fetch_ahead(stored: Stored) -> None:
    """Lets the disk work while the pieces of another segmentation are counted, which takes as long as reading."""
    with suppress(PomError), open_volume(stored.path) as reader:  # what is wrong with it is said when it is measured
        fetch_ahead(reader, stored.settings)


def _measure(stored: Stored) -> Measurement | None:
    """What is measured of a file; None where it only holds a place."""
    # Looked at first: what is written meanwhile then is measured again next time.
    modified, size, _ = file_stamp(stored_at(stored.path))
    with open_volume(stored.path) as reader:
        if reader.header.shape == PLACEHOLDER_SHAPE and is_placeholder(stored.path):
            return None
        figures = measure(reader, stored.settings, may_be_mask=stored.may_be_mask)
    if not math.isfinite(figures.percent):
        raise PomError(f"{stored.path} holds NaN or infinite values: segment the tomogram again.")
    return Measurement(bytes=size, modified_ns=modified, settings=stored.settings, figures=figures)
