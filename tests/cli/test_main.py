import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pom import __version__
from pom.cli.main import app

COMMANDS = [
    (),
    ("annotate",),
    ("pretrain",),
    ("single",),
    ("single", "initialize"),
    ("single", "train"),
    ("single", "test"),
    ("single", "process"),
    ("annotations",),
    ("annotations", "export"),
    ("annotations", "import"),
    ("shared",),
    ("status",),
    ("retry",),
    ("shared", "initialize"),
    ("shared", "train"),
    ("shared", "process"),
    ("evaluate",),
    ("summarize",),
    ("demo",),
]

run = CliRunner().invoke


def pom(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a person gives it: a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pom", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there_fits_80_columns_and_writes_nothing(here: Path, command: tuple[str, ...]) -> None:
    for option in ("-h", "--help"):
        result = run(app, [*command, option])
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage:")
        assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert list(here.iterdir()) == []


def test_help_shows_the_commands_in_the_order_of_the_work() -> None:
    listed = run(app, ["--help"]).stdout.split("Commands:")[1]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == [
        "annotate", "pretrain", "annotations", "single", "shared",
        "evaluate", "summarize", "projections", "render", "browse", "export", "status", "retry", "demo",
    ]  # fmt: skip
    listed = run(app, ["single", "--help"]).stdout.split("Commands:")[1]
    assert listed.index("initialize") < listed.index("train") < listed.index("test") < listed.index("process")


def test_help_shows_the_steps_a_line_each() -> None:
    shown = run(app, ["--help"]).stdout.splitlines()
    begin = shown.index("  pom annotate              draw and place boxes, in the browser")
    assert shown[begin - 1] == ""
    end = shown.index("", begin)
    assert [line[:28].strip() for line in shown[begin:end]] == [
        "pom annotate",
        "pom single initialize",
        "pom shared train --direct",
        "pom shared process",
        "pom evaluate",
        "pom summarize",
        "pom projections",
        "pom render",
        "pom browse",
        "pom export --ome-zarr",
    ]
    assert "'pom status' shows how far" in " ".join(shown[end : shown.index("Commands:")])
    assert all(line.startswith("  pom ") for line in shown[begin:end])
    for command in ([], ["single"], ["shared"]):
        assert "\b" not in run(app, [*command, "--help"]).stdout
        assert "\\b" not in run(app, [*command, "--help"]).stdout


def test_help_of_browse_tells_of_every_page() -> None:
    text = " ".join(run(app, ["browse", "--help"]).stdout.split())
    assert "an overview, the table of 'pom summarize', and a gallery" in text
    assert "a page of each tomogram, with its slices and surfaces; subsets of the tomograms; and the settings" in text


@pytest.mark.parametrize(
    ("command", "told"),
    [("pretrain", "which train together"), ("single train", "which train together"),
     ("shared train", "which train together"), ("shared initialize", "of which the first is used"),
     ("single test", "each with a worker of its own"),
     ("single process", "each with a worker of its own"), ("shared process", "each with a worker of its own")],
)  # fmt: skip
def test_help_tells_which_gpus_are_used(command: str, told: str) -> None:
    text = " ".join(run(app, [*command.split(), "--help"]).stdout.split())
    assert f"{told}; -1: the CPU." in text


def test_help_names_options_in_both_styles_with_their_defaults() -> None:
    text = run(app, ["single", "train", "--help"]).stdout
    for part in ("-o, -ontology, --ontology", "-all, --all, --all-features", "-gpus, --gpus", "-c, -counterexamples"):
        assert part in text
    assert "[default: 1]" in text
    text = " ".join(run(app, ["shared", "process", "--help"]).stdout.split())
    assert "-overwrite, --overwrite 0|1" in text
    assert "0: skip them; --overwrite alone means 1. [default: 0]" in text
    text = " ".join(run(app, ["shared", "train", "--help"]).stdout.split())
    assert "the folder of a trained network, such as models/joint of another project, or a .safetensors file." in text


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    def seconds() -> float:
        begin = time.perf_counter()
        assert pom(tmp_path, "--help").returncode == 0
        return time.perf_counter() - begin

    assert min(seconds() for _ in range(3)) < 0.5
    code = (
        "import sys\nfrom pom.cli.main import app\napp(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'rich', 'scipy', 'lightning', 'matplotlib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_version() -> None:
    result = run(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"pom {__version__}\n")


def test_a_folder_without_a_project_gets_a_configuration(here: Path) -> None:
    result = run(app, [])
    assert result.exit_code == 0
    assert [path.name for path in here.iterdir()] == ["project_configuration.json"]
    written = json.loads((here / "project_configuration.json").read_text())
    assert written["apix"] == 15.68
    assert written["GPUS"] == "0,1,2,3,4,5,6,7"
    for key in ("apix", "macromolecules", "ontologies"):
        assert key in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_a_project_shows_where_it_stands_and_is_left_alone(here: Path) -> None:
    assert run(app, []).exit_code == 0
    configuration = here / "project_configuration.json"
    configuration.write_text(json.dumps({"ontologies": ["Vesicle", "Nuclear envelope"]}))
    (here / "tomograms").mkdir()
    (here / "tomograms" / "TS_1.mrc").touch()
    before = sorted(here.rglob("*"))
    result = run(app, [])
    assert result.exit_code == 0
    assert "Nuclear envelope" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Next: annotate Vesicle, Nuclear envelope: draw")
    assert sorted(here.rglob("*")) == before


def test_a_faulty_configuration_is_one_sentence_and_status_1(here: Path) -> None:
    (here / "project_configuration.json").write_text('{"single_model_epochs": -3}')
    for command in ([], ["single", "initialize"], ["shared", "process"]):
        result = run(app, command)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == (
            "Error: project_configuration.json: 'single_model_epochs' is -3, but must be a whole number, 1 or more.\n"
        )


@pytest.mark.parametrize("command", [command for command in COMMANDS if len(command) == 2], ids=" ".join)
def test_a_step_outside_a_project_says_so(here: Path, command: tuple[str, ...]) -> None:
    result = run(app, [*command])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: There is no project_configuration.json in {here}")
    assert list(here.iterdir()) == []


def test_debug_adds_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    for arguments in (("--debug", "single", "initialize"), ("single", "initialize", "--debug")):
        result = pom(tmp_path, *arguments)
        assert result.returncode == 1
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: There is no project_configuration.json")
    assert "Traceback" in pom(tmp_path, "single", "initialize", POM_DEBUG="1").stderr
    assert "Traceback" not in pom(tmp_path, "single", "initialize").stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["singl"], "No such command 'singl'"),
        (["single", "trian"], "No such command 'trian'"),
        (["single", "train", "--all", "2"], "'2' is not one of '0', '1'"),
        (["single", "train", "-c", "yes"], "'yes' is not one of '0', '1'"),
        (["single", "process", "-gpus"], "requires an argument"),
        (["shared", "initialize", "-selective", "maybe"], "is not one of"),
        (["shared", "train", "-checkpoint", "nowhere"], "does not exist"),
        (["shared", "process", "TS_1"], "unexpected extra argument"),
        (["single", "test", "--colour"], "No such option"),
    ],
)
def test_a_mistyped_command_is_status_2(here: Path, arguments: list[str], part: str) -> None:
    result = run(app, arguments)
    assert result.exit_code == 2
    assert part in result.stderr
    assert list(here.iterdir()) == []
