"""What a command shows at its end: tables on standard output, right at 80 columns without a terminal too."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pom.cli.console import EXIT_ERROR
from pom.project.names import did_you_mean
from pom.words import counted

if TYPE_CHECKING:
    from pom.demo.run import DemoResult
    from pom.io.checkpoints import ModelCard
    from pom.sampling.patches import SamplingSummary
    from pom.workflow.overview import Overview
    from pom.workflow.pretrain import Pretrained
    from pom.workflow.process_tomograms import ProcessReport

NONE = "-"
"""Stands where there is no figure."""

MEASURES = ("dice", "precision", "recall")


def report_sampling(summary: "SamplingSummary") -> None:
    """Shows per ontology what was sampled and what was not.

    Raises:
        typer.Exit: with status 1, if an annotated tomogram was left out.
    """
    rows = [
        (
            row.ontology,
            row.tomograms,
            row.boxes,
            row.with_pixels,
            row.without_pixels,
            "\n".join(f"{count} {reason}" for reason, count in row.dropped.items()) or NONE,
        )
        for row in summary.rows
    ]
    show_table(("Ontology", "Tomograms", "Boxes", "With pixels", "Without", "Dropped"), rows, texts=(0, 5))
    for title, boxes in summary.unknown_titles:
        hint = did_you_mean(title, [row.ontology for row in summary.rows])
        show(f"{counted(boxes, 'box', 'boxes')} titled '{title}': no ontology bears that name{hint}.")
    report_failed("Left out", summary.failed)


def report_training(cards: "Mapping[str, ModelCard]") -> None:
    """Shows the validation figures of trained networks, a row per ontology that has some."""
    rows = [
        (ontology, *(figure(measures.get(measure)) for measure in MEASURES))
        for card in cards.values()
        for ontology, measures in card.validation.items()
    ]
    if not rows:
        show("No patches were held out, so there are no validation figures.")
        return
    show_table(("Validation", "Dice", "Precision", "Recall"), rows)
    for name, card in cards.items():
        if card.calibration is None:
            show(f"{name}: not calibrated, as too little was held out.")
        else:
            found = card.calibration
            show(
                f"{name}: calibration error {found.ece:.3f} at temperature {found.temperature:.2f}, "
                f"{found.ece_before:.3f} without."
            )


def report_pretraining(folder: Path, made: "Pretrained") -> None:
    """Shows what pretraining made, or that it was done before.

    Raises:
        typer.Exit: with status 1, if it was made now and a tomogram was left out.
    """
    card = made.card
    learnt = f"{counted(len(card.tomograms), 'tomogram')}, {counted(card.steps, 'step')}"
    if not made.is_new:
        show(f"There is a pretrained network in {folder} ({learnt}); 'pom pretrain --overwrite' makes it again.")
        return
    held_out = "" if card.validation_loss is None else f", {card.validation_loss:.3f} on held-out tomograms"
    show(f"Learnt from {learnt}: mean error of what was hidden {card.loss:.3f}{held_out}.")
    show(f"Every later training begins with {folder}; remove or rename it to train without it.")
    report_failed("Left out", card.left_out)


def report_processing(report: "ProcessReport") -> None:
    """Shows what became of the tomograms.

    Raises:
        typer.Exit: with status 1, if any failed.
    """
    skipped = f", {len(report.skipped)} skipped because their outputs are there" if report.skipped else ""
    failed = f", {len(report.failed)} failed" if report.failed else ""
    show(f"{counted(len(report.done), 'tomogram')} segmented{skipped}{failed}.")
    if report.failed:
        show("What failed is tried again once its files have changed, or after 'pom retry'.")
    report_failed("Failed", report.failed)


def report_demo(result: "DemoResult") -> None:
    """Shows how good the demo's segmentations are, and where the picture is."""
    mean = sum(result.dice.values()) / len(result.dice)
    rows = [(ontology, figure(dice)) for ontology, dice in {**result.dice, "Mean": mean}.items()]
    show_table(("Unseen tomograms", "Dice"), rows)
    show(f"Picture: {result.picture}")
    show(f"Took {result.seconds / 60:.1f} minutes.")


def report_overview(folder: Path, state: "Overview") -> None:
    """Shows where a project stands and what comes next."""
    show(f"Project {folder}")
    facts = [
        ("Tomograms", f"{state.tomograms}, annotated {state.annotated}, for testing {state.test_tomograms}"),
        ("Joint network", _joint(state)),
        ("Processed", f"{state.processed} of {state.tomograms}"),
    ]
    if state.pretrained is not None:
        facts.insert(1, ("Pretrained", f"on {counted(state.pretrained, 'tomogram')}; every training begins with it"))
    facts += [(f"Without {channel}", str(count)) for channel, count in state.missing_macromolecules.items()]
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        show(f"  {name:<{width}}  {value}")
    if state.ontologies:
        rows = [
            (
                o.ontology,
                o.tomograms,
                o.boxes,
                "yes" if o.sampled else "no",
                figure(o.single_dice, "trained") if o.trained else NONE,
                figure(o.joint_dice),
                o.outputs,
            )
            for o in state.ontologies
        ]
        headings = ("Ontology", "Annotated", "Boxes", "Patches", "Single Dice", "Joint Dice", "Outputs")
        show_table(headings, rows)
    for note in state.notes:
        show(f"Note: {note}")
    show(f"Next: {state.next_command}")


def report_fields(title: str, summary: object) -> None:
    """Shows a summary's fields, a row each; a mapping field has a row per item."""
    if not dataclasses.is_dataclass(summary) or isinstance(summary, type):
        return
    rows: list[tuple[object, ...]] = []
    for field in dataclasses.fields(summary):
        value = getattr(summary, field.name)
        name = field.name.replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(f"{name}: {key}", _value(item)) for key, item in value.items()]
        else:
            rows.append((name, _value(value)))
    show_table((title, ""), rows)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]], texts: Sequence[int] = (0,)) -> None:
    """Shows a table; the columns in ``texts`` hold words, the others figures, which stand at the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for position, heading in enumerate(headings):
        # Folded and never shortened: a name with an ellipsis in it cannot be copied into the next command.
        justify = "left" if position in texts else "right"
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    # Made anew each time: it takes the standard output and the width of the moment. Names are no markup.
    console = Console(markup=False, highlight=False, emoji=False)
    console.print()
    console.print(table)
    console.print()


def show(line: str) -> None:
    """Shows a line as it is, neither wrapped nor shortened, so that paths and commands can be copied."""
    typer.echo(line)


def figure(value: float | None, without: str = NONE) -> str:
    """A share 0..1 with three decimals, or ``without`` where there is none."""
    return without if value is None or math.isnan(value) else f"{value:.3f}"


def report_failed(heading: str, failed: Mapping[str, str]) -> None:
    """Shows which tomograms failed and why; if any did, the command ends with status 1."""
    if failed:
        show_table((heading, "Why"), list(failed.items()), texts=(0, 1))
        raise typer.Exit(EXIT_ERROR)


def _joint(state: "Overview") -> str:
    if not state.joint_trained:
        return "not trained, patches ready" if state.joint_sampled else "not trained"
    figures = [o.joint_dice for o in state.ontologies if o.joint_dice is not None and not math.isnan(o.joint_dice)]
    return f"trained, mean Dice {sum(figures) / len(figures):.3f}" if figures else "trained"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or NONE
    return str(value)
