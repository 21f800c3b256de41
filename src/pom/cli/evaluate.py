"""How good the segmentations are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pom.cli.console import open_project
from pom.words import counted, listed

if TYPE_CHECKING:
    from pom.workflow.evaluation import Evaluation, Judged

Truth = Annotated[
    Path | None,
    typer.Option(
        "-truth",
        "--truth",
        metavar="FOLDER",
        show_default=False,
        help="Judge by volumes in FOLDER: NAME__labels.mrc (0 for Unknown, 1 for the first ontology of the"
        " configuration and so on, 255 or below 0 where nothing is judged), or masks NAME__Ontology.mrc; as large as"
        " the tomogram or as its segmentations. Without it, annotation is the judge.",
    ),
]


def evaluate(truth: Truth = None) -> None:
    """Tell how good the segmentations are.

    Judges what 'pom shared process' wrote by the annotation of tomograms that the joint network did not learn from,
    or by label volumes (--truth): Dice, precision, recall, surface distance, and what was taken for what. Writes
    evaluation/evaluation.json and evaluation/evaluation.png. If a tomogram cannot be judged, the others are; it is
    listed, and the exit status is 1.
    """
    project = open_project()
    from pom.workflow.evaluate import evaluate as judge

    report_evaluation(judge(project, truth))


def report_evaluation(evaluation: "Evaluation") -> None:
    """Shows the figures of all tomograms together, those of each, and what was taken for what.

    Raises:
        typer.Exit: with status 1, if a tomogram could not be judged.
    """
    from pom.cli.reports import report_failed, show, show_table

    for line in _introduction(evaluation):
        show(line)
    together = evaluation.together()
    headings = ("Ontology", "Dice", "Precision", "Recall")
    far = ("Mean nm", "95 % nm") if evaluation.truth is not None else ()
    show_table((*headings, *far), _rows(evaluation, together))
    if far:
        show("nm: how far the surfaces lie apart, on average and for 95 % of them.")
    if len(evaluation.tomograms) > 1:
        _report_tomograms(evaluation)
    _report_confusion(evaluation, together)
    show(f"Written: {evaluation.report} and {evaluation.picture.name}")
    report_failed("Not judged", evaluation.failed)


def _introduction(evaluation: "Evaluation") -> list[str]:
    if evaluation.truth is not None:
        judge = f"the volumes in {evaluation.truth}"
    elif evaluation.learnt_from:
        judge = "annotation that the network learnt from"
    else:
        judge = "annotation that the network did not learn from"
    names = listed(list(evaluation.tomograms))
    lines = [f"Judged by {judge}, {counted(len(evaluation.tomograms), 'tomogram')}: {names}."]
    card = evaluation.network
    if card is not None:
        lines.append(f"Joint network of {card.created}, weights {card.weights_sha256[:12]}.")
    return lines


def _rows(evaluation: "Evaluation", judged: "Judged") -> list[tuple[str, ...]]:
    """A row per ontology, and one of the means."""
    from pom.cli.reports import NONE, figure
    from pom.workflow.evaluation import PERCENTILE, mean_of

    scores = [judged.confusion.score(label) for label in range(len(evaluation.ontologies))]
    columns = [[score.dice for score in scores], [score.precision for score in scores], [s.recall for s in scores]]
    rows = []
    for name, *values in zip(evaluation.ontologies, *columns, strict=True):
        distances = judged.surfaces.get(name)
        far = (f"{distances.mean:.1f}", f"{distances.percentile(PERCENTILE):.1f}") if distances else (NONE, NONE)
        rows.append((name, *(figure(value) for value in values), *far))
    rows.append(("Mean", *(figure(mean_of(column)) for column in columns), NONE, NONE))
    return rows if evaluation.truth is not None else [row[:-2] for row in rows]


def _report_tomograms(evaluation: "Evaluation") -> None:
    """Dice of each tomogram; its rows are the ontologies, of which there are more than fit side by side."""
    from pom.cli.reports import figure, show_table
    from pom.workflow.evaluation import mean_of

    rows = []
    for name, judged in evaluation.tomograms.items():
        dices = [judged.confusion.score(label).dice for label in range(len(evaluation.ontologies))]
        rows.append((name, dices))
    if _fits((*evaluation.ontologies, "Mean"), [name for name, _ in rows]):
        show_table(
            ("Dice", *evaluation.ontologies, "Mean"),
            [(name, *(figure(dice) for dice in dices), figure(mean_of(dices))) for name, dices in rows],
        )
        return
    show_table(
        ("Dice", "Mean", "Lowest"),
        [(name, figure(mean_of(dices)), _lowest(evaluation.ontologies, dices)) for name, dices in rows],
        texts=(0, 2),
    )


def _lowest(ontologies: Sequence[str], dices: Sequence[float | None], most: int = 2) -> str:
    """The ontologies of lowest Dice, such as ``Vesicle 0.41, Nucleus 0.73``."""
    found = sorted((dice, name) for dice, name in zip(dices, ontologies, strict=True) if dice is not None)
    return ", ".join(f"{name} {dice:.3f}" for dice, name in found[:most])


def _report_confusion(evaluation: "Evaluation", judged: "Judged") -> None:
    """What was named where each class is, in percent; where the classes do not fit side by side, the most frequent."""
    from pom.cli.reports import NONE, show_table

    heading = "Is" if evaluation.truth is not None else "Drawn"
    classes = evaluation.classes
    counts = judged.confusion.table.sum(axis=1)
    percent = {
        name: 100 * row for name, row, count in zip(classes, judged.confusion.shares(), counts, strict=True) if count
    }
    if _fits(classes, list(percent)):
        rows = [(name, *(f"{share:.1f}" for share in row)) for name, row in percent.items()]
        show_table((f"{heading}, named %", *classes), rows)
        return
    lines = []
    for name, row in percent.items():
        others = sorted(((share, other) for share, other in zip(row, classes, strict=True) if other != name))[::-1]
        wrong = ", ".join(f"{other} {share:.1f}" for share, other in others[:3] if share >= 0.05)
        lines.append((name, f"{row[classes.index(name)]:.1f}", wrong or NONE))
    show_table((heading, "Right %", "Taken for, %"), lines, texts=(0, 2))


def _fits(columns: Sequence[str], rows: Sequence[str]) -> bool:
    """Whether a table of figures stays within the line, none of its headings folded."""
    from rich.console import Console

    width = max((len(row) for row in (*rows, "Drawn, named %")), default=0)
    return width + sum(2 + max(len(column), 5) for column in columns) <= Console().width
