"""What each command hands to the workflow, which stands aside here."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pom.cli.main import app
from pom.errors import PomError
from pom.jobs.pool import Slot
from pom.networks.devices import Devices, choose_devices, parse_gpus
from pom.workflow.process_tomograms import Redo

run = CliRunner().invoke
DEVICES = Devices((1, 2))
SLOTS = [Slot(0, 1), Slot(1, 2)]
CARD = SimpleNamespace(validation={"Vesicle": {"dice": 0.5, "precision": 0.25, "recall": 1.0}}, calibration=None)
SAMPLED = SimpleNamespace(rows=[], unknown_titles=[], failed={})
DEMO = SimpleNamespace(dice={"Vesicle": 0.25}, picture=Path("demo.png"), seconds=90.0)
REPORT = SimpleNamespace(done=["TS_1"], skipped=[], failed={})

log = logging.getLogger("pom.workflow.pretended")


class Workflow:
    """Takes the place of the workflow's modules; keeps what each function was called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        monkeypatch.setattr("pom.networks.devices.choose_devices", self.standing_in("choose_devices", DEVICES))
        self.pretend("pom.workflow.single_initialize", "single_initialize", SAMPLED)
        self.pretend("pom.workflow.single_train", "single_train", {"Vesicle": CARD})
        self.pretend("pom.workflow.single_process", "single_process", REPORT)
        self.pretend("pom.workflow.shared_initialize", "shared_initialize", None)
        self.pretend("pom.workflow.shared_train", "shared_train", CARD)
        self.pretend("pom.workflow.shared_process", "shared_process", REPORT)
        self.pretend("pom.demo.run", "run_demo", DEMO)

    def standing_in(self, function: str, result: object) -> Callable[..., object]:
        def called(*arguments: Any, **options: Any) -> object:
            self.calls.append((function, (*arguments, *options.values())))
            if isinstance(result, BaseException):
                raise result
            if callable(result):
                return result()
            return result

        return called

    def pretend(self, module: str, function: str, result: object) -> None:
        namespace = SimpleNamespace(**{function: self.standing_in(function, result)})
        self.monkeypatch.setitem(sys.modules, module, namespace)

    def last(self) -> tuple[Any, ...]:
        """The last call: the function's name and its arguments after the project."""
        function, arguments = self.calls[-1]
        return (function, *(_in_words(argument) for argument in arguments[1:]))


def _in_words(argument: object) -> object:
    """What is to be done again, without the moment before which."""
    if not isinstance(argument, Redo):
        return argument
    return "all" if argument.before is not None else "outdated" if argument.outdated else "nothing"


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    (tmp_path / "project_configuration.json").write_text(
        json.dumps({"ontologies": ["Vesicle", "_", "Granule"], "GPUS": "1,2"})
    )
    monkeypatch.chdir(tmp_path)
    return Workflow(monkeypatch)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("single initialize", ("single_initialize",)),
        ("single train -o Vesicle", ("single_train", ["Vesicle"], DEVICES, True)),
        ("single train -ontology Vesicle -c 0", ("single_train", ["Vesicle"], DEVICES, False)),
        (
            "single train -o Granule --ontology Vesicle -o Granule",
            ("single_train", ["Granule", "Vesicle"], DEVICES, True),
        ),
        ("single train --all", ("single_train", ["Vesicle", "Granule"], DEVICES, True)),
        ("single train -all 1 --counterexamples 1", ("single_train", ["Vesicle", "Granule"], DEVICES, True)),
        ("single train --all --gpus 0", ("single_train", ["Vesicle", "Granule"], DEVICES, True)),
        ("single train --all-features 0 -o Vesicle", ("single_train", ["Vesicle"], DEVICES, True)),
        ("single test -o Vesicle", ("single_process", "Vesicle", DEVICES, True, SLOTS, "nothing")),
        ("single test -ontology Granule --overwrite", ("single_process", "Granule", DEVICES, True, SLOTS, "all")),
        ("single process -overwrite 1 -o Vesicle", ("single_process", "Vesicle", DEVICES, False, SLOTS, "all")),
        ("single process --overwrite -o Vesicle", ("single_process", "Vesicle", DEVICES, False, SLOTS, "all")),
        ("single process --overwrite=0 -o Vesicle", ("single_process", "Vesicle", DEVICES, False, SLOTS, "nothing")),
        ("shared initialize", ("shared_initialize", True, DEVICES)),
        ("shared initialize -selective 0 -gpus 0", ("shared_initialize", False, DEVICES)),
        ("shared train", ("shared_train", DEVICES, None, False)),
        ("shared train --direct -gpus 0", ("shared_train", DEVICES, None, True)),
        ("shared train -checkpoint . -direct 1", ("shared_train", DEVICES, Path(), True)),
        ("shared process", ("shared_process", DEVICES, SLOTS, "nothing")),
        ("shared process --outdated", ("shared_process", DEVICES, SLOTS, "outdated")),
        ("shared process -outdated 0", ("shared_process", DEVICES, SLOTS, "nothing")),
        ("shared process -gpus 0 --overwrite", ("shared_process", DEVICES, SLOTS, "all")),
    ],
)
def test_what_a_line_does(workflow: Workflow, line: str, call: tuple[Any, ...]) -> None:
    result = run(app, line.split())
    assert result.exit_code == 0, result.output
    assert workflow.last() == call
    project = workflow.calls[-1][1][0]
    assert project.ontologies == ("Vesicle", "Granule")


@pytest.mark.parametrize(
    ("options", "explicit"), [([], None), (["-gpus", "0"], "0"), (["--gpus", "0,3"], "0,3"), (["-gpus", "-1"], "-1")]
)
def test_devices_are_chosen_from_the_line_and_the_configuration(
    workflow: Workflow, options: list[str], explicit: str | None
) -> None:
    for command in (["single", "train", "--all"], ["single", "test", "-o", "Vesicle"], ["shared", "process"]):
        workflow.calls.clear()
        assert run(app, [*command, *options]).exit_code == 0
        assert workflow.calls[0] == ("choose_devices", (explicit, "1,2"))


@pytest.mark.parametrize("text", ["-1", " -1 ", ""])
def test_minus_one_means_the_cpu(text: str) -> None:
    assert parse_gpus(text) == ()
    assert choose_devices(text, "0,1").first == "cpu"


@pytest.mark.parametrize("text", ["-2", "0,-1", "--1"])
def test_other_negative_numbers_are_no_gpus(text: str) -> None:
    with pytest.raises(PomError, match=f"'{text}' is not a list of GPUs"):
        parse_gpus(text)


def test_the_demo_runs_where_it_is_told(workflow: Workflow) -> None:
    shown = run(app, ["demo"]).stdout.splitlines()
    assert [line.split() for line in shown if "0." in line] == [[name, "0.250"] for name in ("Vesicle", "Mean")]
    assert shown[-2:] == ["Picture: demo.png", "Took 1.5 minutes."]
    assert workflow.calls[-1] == ("run_demo", (Path("pom-demo"), 0))
    assert run(app, ["demo", "elsewhere", "--seed", "4"]).exit_code == 0
    assert workflow.calls[-1] == ("run_demo", (Path("elsewhere"), 4))


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("single test", "Give -o NAME, one of Vesicle, Granule."),
        ("single process", "Give -o NAME, one of Vesicle, Granule."),
        ("single train", "one of Vesicle, Granule, or --all."),
        ("single train -o Vesicle --all", "exclude each other"),
        ("single train -o Vesicle -o vesicel", "no ontology 'vesicel' (did you mean 'Vesicle'?)"),
        ("single test -o granule", "(did you mean 'Granule'?): the project has Vesicle, Granule."),
        ("single process -o _", "no ontology '_'"),
    ],
)
def test_an_ontology_that_is_not_there_is_answered_before_anything_starts(
    workflow: Workflow, line: str, part: str
) -> None:
    result = run(app, line.split())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert part in result.stderr
    assert workflow.calls == []


@pytest.mark.parametrize("line", ["single train --all", "single test", "single process -o ER"])
def test_a_project_without_ontologies_says_where_to_list_them(workflow: Workflow, line: str) -> None:
    Path("project_configuration.json").write_text("{}")
    result = run(app, line.split())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: project_configuration.json lists no ontologies")


def test_failed_tomograms_are_listed_and_the_status_is_1(workflow: Workflow) -> None:
    report = SimpleNamespace(done=["TS_1"], skipped=["TS_2"], failed={"TS_3": "TS_3__Membrane.mrc is missing"})
    workflow.pretend("pom.workflow.shared_process", "shared_process", report)
    result = run(app, ["shared", "process"])
    assert result.exit_code == 1
    assert "TS_3__Membrane.mrc is missing" in result.stdout


def test_annotated_tomograms_that_were_left_out_are_listed_and_the_status_is_1(workflow: Workflow) -> None:
    sampled = SimpleNamespace(rows=[], unknown_titles=[], failed={"TS_3": "TS_3.scns is truncated"})
    workflow.pretend("pom.workflow.single_initialize", "single_initialize", sampled)
    result = run(app, ["single", "initialize"])
    assert result.exit_code == 1
    assert [line.split() for line in result.stdout.splitlines() if "TS_3" in line] == [
        ["TS_3", "TS_3.scns", "is", "truncated"]
    ]


def test_training_without_validation_says_so(workflow: Workflow) -> None:
    workflow.pretend("pom.workflow.shared_train", "shared_train", SimpleNamespace(validation={}, calibration=None))
    assert run(app, ["shared", "train"]).stdout == ("No patches were held out, so there are no validation figures.\n")


def test_training_ends_with_its_figures(workflow: Workflow) -> None:
    for command in (["single", "train", "--all"], ["shared", "train"]):
        words = run(app, command).stdout.split()
        figures = words[words.index("Vesicle") :][:4]
        assert figures == ["Vesicle", "0.500", "0.250", "1.000"]


def test_an_interruption_is_status_130_and_one_line(workflow: Workflow) -> None:
    workflow.pretend("pom.workflow.shared_process", "shared_process", KeyboardInterrupt())
    result = run(app, ["shared", "process"])
    assert result.exit_code == 130
    assert result.stderr == "Interrupted: give the same command again to go on.\n"


def test_a_fault_of_the_program_keeps_its_traceback(workflow: Workflow) -> None:
    workflow.pretend("pom.workflow.shared_process", "shared_process", ZeroDivisionError("here"))
    result = run(app, ["shared", "process"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_warnings_are_said_once_and_information_plainly(workflow: Workflow) -> None:
    def work() -> object:
        for _ in range(2):
            log.warning("apix is %s.", 10)
            log.info("epoch done")
        log.debug("not shown without --debug")
        return REPORT

    workflow.pretend("pom.workflow.shared_process", "shared_process", work)
    for _ in range(2):
        result = run(app, ["shared", "process"])
        assert result.stderr == "Warning: apix is 10.\nepoch done\nepoch done\n"
        assert result.stdout == "1 tomogram segmented.\n"
    assert "not shown without --debug" in run(app, ["shared", "process", "--debug"]).stderr
