"""What an evaluation found, and how it is written down."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pom
from pom.io.checkpoints import ModelCard, timestamp
from pom.measure.confusion import Confusion, total
from pom.measure.surface import SurfaceDistances, together

PERCENTILE = 95

REPORT_FILE = "evaluation.json"


@dataclass(frozen=True, eq=False)
class Judged:
    """The counts of one tomogram, or of all together.

    ``surfaces``: by ontology, distances in nm; without those that have no surface in truth or prediction.
    """

    confusion: Confusion
    surfaces: Mapping[str, SurfaceDistances]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good the segmentations are.

    Attributes:
        classes: the ontologies, then Unknown: the rows and columns of the confusion tables.
        truth: the folder of label volumes or masks; None where annotation is the judge.
        network: the card of the joint network, None where there is none any more.
        tomograms: what was counted in each.
        learnt_from: those among them that the network learnt from.
        outdated: those among them that another network than the present one segmented.
        left_out: those that could have been judged, and why they were not.
        failed: those that were to be judged but could not be, and why.
        folder: where it was written.
    """

    classes: tuple[str, ...]
    truth: Path | None
    network: ModelCard | None
    tomograms: Mapping[str, Judged]
    learnt_from: Sequence[str]
    outdated: Sequence[str]
    left_out: Mapping[str, str]
    failed: Mapping[str, str]
    folder: Path

    @property
    def ontologies(self) -> tuple[str, ...]:
        """The classes without Unknown."""
        return self.classes[:-1]

    @property
    def report(self) -> Path:
        """The JSON file."""
        return self.folder / REPORT_FILE

    @property
    def picture(self) -> Path:
        """The PNG."""
        return self.folder / "evaluation.png"

    def together(self) -> Judged:
        """All tomograms as one: counts are added, so that a tomogram weighs by what is in it."""
        parts = list(self.tomograms.values())
        spreads = {name: [part.surfaces[name] for part in parts if name in part.surfaces] for name in self.ontologies}
        surfaces = {name: together(found) for name, found in spreads.items()}
        return Judged(
            total([part.confusion for part in parts]),
            {name: distances for name, distances in surfaces.items() if distances is not None},
        )


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that are there."""
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """Everything, as it is written to the JSON file; what has no value is null."""
    card = evaluation.network
    network = card and {
        "created": card.created,
        "weights_sha256": card.weights_sha256,
        "learnt_from": list(card.training.tomograms),
        "validation_tomograms": list(card.training.validation_tomograms),
        "held_out": card.training.held_out,
    }
    tomograms = {
        name: {
            "learnt_from": name in evaluation.learnt_from,
            "outdated": name in evaluation.outdated,
            **_figures(judged, evaluation),
        }
        for name, judged in evaluation.tomograms.items()
    }
    return {
        "pom": pom.__version__,
        "created": timestamp(),
        "judged_by": "annotation" if evaluation.truth is None else "truth",
        "truth": None if evaluation.truth is None else str(evaluation.truth.absolute()),
        "counted": "pixels in boxes" if evaluation.truth is None else "voxels",
        "network": network,
        "classes": list(evaluation.classes),
        "together": _figures(evaluation.together(), evaluation),
        "tomograms": tomograms,
        "left_out": dict(evaluation.left_out),
        "failed": dict(evaluation.failed),
    }


def _figures(judged: Judged, evaluation: Evaluation) -> dict[str, object]:
    scores = {name: judged.confusion.score(label) for label, name in enumerate(evaluation.classes)}
    figures = {
        name: {
            "dice": score.dice,
            "precision": score.precision,
            "recall": score.recall,
            "right": score.right,
            "extra": score.extra,
            "missed": score.missed,
            "surface_distance_nm": _distances(judged.surfaces.get(name)),
        }
        for name, score in scores.items()
    }
    mean = mean_of([scores[name].dice for name in evaluation.ontologies])
    return {"mean_dice": mean, "figures": figures, "confusion": judged.confusion.table.tolist()}


def _distances(surface: SurfaceDistances | None) -> dict[str, float] | None:
    return (
        None if surface is None else {"mean": surface.mean, f"percentile_{PERCENTILE}": surface.percentile(PERCENTILE)}
    )
