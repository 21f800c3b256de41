from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from pom.cli import reports
from pom.workflow.freshness import Outdated
from pom.workflow.overview import OntologyState, Overview
from pom.workflow.pretrain import Pretrained

LONG = "Rough endoplasmic reticulum membrane"


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was shown on standard output, without empty lines; none is wider than a terminal."""
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    shown = [line.rstrip() for line in captured.out.splitlines() if line.strip()]
    assert max(len(line) for line in shown) <= 80
    return shown


def count(ontology: str, **dropped: int) -> Any:
    reasons = {reason.replace("_", " "): number for reason, number in dropped.items()}
    return SimpleNamespace(ontology=ontology, tomograms=3, boxes=45, with_pixels=30, without_pixels=15, dropped=reasons)


def state(**changes: Any) -> Overview:
    values: dict[str, Any] = {
        "tomograms": 5000,
        "annotated": 3,
        "test_tomograms": 2,
        "ontologies": (
            OntologyState("Vesicle", 3, 45, True, True, 0.81234, 0.9, 12),
            OntologyState(LONG, 0, 0, False, False, None, None, 0),
            OntologyState("[red]", 1, 2, True, True, None, float("nan"), 0),
        ),
        "outdated": Outdated(),
        "joint_sampled": True,
        "joint_trained": True,
        "direct": False,
        "processed": 12,
        "waiting": 1,
        "missing_macromolecules": {"Membrane": 4},
        "notes": ("Something is odd.",),
        "next_command": "pom shared process",
    }
    return Overview(**(values | changes))


def test_the_sampling_table(capsys: pytest.CaptureFixture[str]) -> None:
    summary: Any = SimpleNamespace(
        rows=[count("Vesicle"), count(LONG, outside_the_tomogram=2, no_macromolecule=10)],
        unknown_titles=[("Vesicel", 4), ("X", 1)],
        failed={},
    )
    reports.report_sampling(summary)
    shown = lines(capsys)
    assert shown[0].split() == ["Ontology", "Tomograms", "Boxes", "With", "pixels", "Without", "Dropped"]
    assert shown[2].split() == ["Vesicle", "3", "45", "30", "15", "-"]
    column = shown[0].index("Dropped")
    assert " ".join(line[column:].strip() for line in shown[3:-2]).split() == (
        ["2", "outside", "the", "tomogram", "10", "no", "macromolecule"]
    )
    assert shown[-2] == "4 boxes titled 'Vesicel': no ontology bears that name (did you mean 'Vesicle'?)."
    assert shown[-1] == "1 box titled 'X': no ontology bears that name."


def test_annotated_tomograms_left_out_stand_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    summary: Any = SimpleNamespace(
        rows=[count("Vesicle")], unknown_titles=[], failed={"TS 2": "TS 2.mrc is empty: copy it again."}
    )
    with pytest.raises(typer.Exit) as exit_status:
        reports.report_sampling(summary)
    assert exit_status.value.exit_code == 1
    shown = lines(capsys)
    assert shown[-3].split() == ["Left", "out", "Why"]
    assert shown[-1] == "TS 2      TS 2.mrc is empty: copy it again."


def test_training_without_held_out_patches(capsys: pytest.CaptureFixture[str]) -> None:
    cards: Any = {"a": SimpleNamespace(validation={}), "b": SimpleNamespace(validation={})}
    reports.report_training(cards)
    assert lines(capsys) == ["No patches were held out, so there are no validation figures."]
    cards = {"c": SimpleNamespace(validation={"Vesicle": {"dice": 0.5}}, calibration=None)}
    reports.report_training(cards)
    shown = lines(capsys)
    assert shown[2].split() == ["Vesicle", "0.500", "-", "-"]
    assert shown[3:] == ["c: not calibrated, as too little was held out."]


def test_the_validation_table(capsys: pytest.CaptureFixture[str]) -> None:
    found = SimpleNamespace(ece=0.0123, ece_before=0.0456, temperature=1.378)
    cards: Any = {
        "a": SimpleNamespace(validation={"Vesicle": {"dice": 0.51249, "precision": 1.0}}, calibration=found),
        "b": SimpleNamespace(validation={LONG: {"dice": float("nan"), "recall": 0.0}}, calibration=None),
    }
    reports.report_training(cards)
    shown = lines(capsys)
    assert shown[0].split() == ["Validation", "Dice", "Precision", "Recall"]
    assert shown[2].split() == ["Vesicle", "0.512", "1.000", "-"]
    assert shown[3].split() == [*LONG.split(), "-", "-", "0.000"]
    assert shown[4] == "a: calibration error 0.012 at temperature 1.38, 0.046 without."


def test_the_processing_report(capsys: pytest.CaptureFixture[str]) -> None:
    report: Any = SimpleNamespace(done=["a", "b"], skipped=["c"], failed={})
    reports.report_processing(report)
    assert lines(capsys) == ["2 tomograms segmented, 1 skipped because their outputs are there."]


def test_failures_are_whole_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "/data/" + "x" * 100 + "/TS_1.mrc is empty: copy or write it again."
    report: Any = SimpleNamespace(done=[], skipped=[], failed={"TS_1": reason, "TS 2": "no Membrane"})
    with pytest.raises(typer.Exit) as exit_status:
        reports.report_processing(report)
    assert exit_status.value.exit_code == 1
    shown = lines(capsys)
    assert shown[0] == "0 tomograms segmented, 2 failed."
    assert "x" * 100 in "".join("".join(line.removeprefix("TS_1").split()) for line in shown)
    assert shown[-1].split() == ["TS", "2", "no", "Membrane"]


def test_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    reports.report_overview(Path("/data/cells"), state())
    shown = lines(capsys)
    assert shown[:5] == [
        "Project /data/cells",
        "  Tomograms         5000, annotated 3, for testing 2",
        "  Joint network     trained, mean Dice 0.900",
        "  Processed         12 of 5000",
        "  Without Membrane  4",
    ]
    assert shown[5].split() == [
        "Ontology",
        "Annotated",
        "Boxes",
        "Patches",
        "Single",
        "Dice",
        "Joint",
        "Dice",
        "Outputs",
    ]
    assert shown[7].split() == ["Vesicle", "3", "45", "yes", "0.812", "0.900", "12"]
    assert shown[-3].split() == ["[red]", "1", "2", "yes", "trained", "-", "0"]
    assert shown[-2:] == ["Note: Something is odd.", "Next: pom shared process"]
    # The long name is folded within its column, whole.
    assert "".join("".join(line[:18].split()) for line in shown[8:-3]) == LONG.replace(" ", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joint_trained": False}, "not trained, patches ready"),
        ({"joint_trained": False, "joint_sampled": False}, "not trained"),
        ({"ontologies": ()}, "trained"),
    ],
)
def test_the_joint_network_in_words(capsys: pytest.CaptureFixture[str], changes: dict[str, Any], expected: str) -> None:
    reports.report_overview(Path("/data"), state(**changes))
    assert lines(capsys)[2].split(maxsplit=2) == ["Joint", "network", expected]


def test_a_pretrained_network_is_shown_only_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    reports.report_overview(Path("/data"), state())
    assert not any("Pretrained" in line for line in lines(capsys))
    reports.report_overview(Path("/data"), state(pretrained=64))
    assert "  Pretrained        on 64 tomograms; every training begins with it" in lines(capsys)


def test_what_pretraining_made(capsys: pytest.CaptureFixture[str], pretrained_card: Callable[..., Any]) -> None:
    folder = Path("models/pretrained")
    made = Pretrained(pretrained_card(validation_loss=0.5678), is_new=True)
    reports.report_pretraining(folder, made)
    assert capsys.readouterr().out.splitlines() == [
        "Learnt from 2 tomograms, 50 steps: mean error of what was hidden 0.500, 0.568 on held-out tomograms.",
        "Every later training begins with models/pretrained; remove or rename it to train without it.",
    ]
    reports.report_pretraining(folder, replace(made, is_new=False))
    assert capsys.readouterr().out == (
        "There is a pretrained network in models/pretrained (2 tomograms, 50 steps); "
        "'pom pretrain --overwrite' makes it again.\n"
    )
    with pytest.raises(typer.Exit) as end:
        reports.report_pretraining(folder, Pretrained(pretrained_card(left_out={"TS_3": "No file."}), is_new=True))
    assert end.value.exit_code == 1
    assert capsys.readouterr().out.rstrip().splitlines()[-1].split() == ["TS_3", "No", "file."]
