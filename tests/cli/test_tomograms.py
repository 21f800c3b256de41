"""Commands over real files, where some tomogram gives trouble; the networks are random."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pom.cli.main import app
from pom.io.checkpoints import save_network
from pom.io.scns import Feature, read_scns, write_scns
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.sampling.patches import OntologyCount
from pom.workflow.single_initialize import single_initialize

MakeProject = Callable[..., Project]
SEGMENT = ["single", "process", "-o", "Disc", "-gpus", "-1"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def project(make_project: MakeProject, random_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Project:
    """In the working folder, with its configuration's file and a network of Disc."""
    made = make_project()
    (made.folder / CONFIGURATION_FILE).write_text(made.configuration.model_dump_json(by_alias=True))
    monkeypatch.chdir(made.folder)
    save_network(made.single_network("Disc"), *random_network("single", ("Disc",)))
    return Project.open(Path())


def set_features(project: Project, name: str, *features: Feature) -> None:
    path = project.annotation(name)
    write_scns(path, replace(read_scns(path), features=features))


def rows(result: Result, name: str) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines() if line.startswith(name)]


def test_a_tomogram_that_fails_is_status_1(project: Project) -> None:
    path = project.tomogram("TS_2")
    path.write_bytes(path.read_bytes()[:-1000])
    for _ in range(2):
        result = run(*SEGMENT)
        assert result.exit_code == 1
        assert "1 failed" in result.stdout
        assert rows(result, "TS_2")[0].startswith("TS_2 tomograms/TS_2.mrc is cut short")
        assert "Traceback" not in result.stderr
        assert segmented(project) == ["TS_1__Disc.mrc", "TS_3__Disc.mrc"]
    # The log of the worker has all three tries, with their tracebacks.
    (tries,) = [project.folder / "jobs" / "single" / "Disc" / "failures" / "TS_2.json"]
    noted = json.loads(tries.read_text())["tries"]
    assert len(noted) == 3
    assert "Traceback" in noted[0]["traceback"]
    assert "TS_2 failed, try 1 of 3" in Path(noted[0]["log"]).read_text()


def test_debug_shows_where_a_tomogram_failed(project: Project) -> None:
    path = project.tomogram("TS_2")
    path.write_bytes(path.read_bytes()[:-1000])
    lines = run(*SEGMENT, "--debug").stderr.splitlines()
    begin = lines.index("Traceback of TS_2:")
    assert lines[begin + 1] == "Traceback (most recent call last):"
    assert any("TS_2.mrc is cut short" in line for line in lines[begin + 2 :])


def test_two_workers_share_the_tomograms(project: Project) -> None:
    result = run(*SEGMENT, "--workers", "2")
    assert result.exit_code == 0
    assert "3 tomograms segmented." in result.stdout
    assert segmented(project) == ["TS_1__Disc.mrc", "TS_2__Disc.mrc", "TS_3__Disc.mrc"]


def segmented(project: Project) -> list[str]:
    return sorted(path.name for path in project.output_dir.glob("*.mrc"))


def test_outputs_of_an_older_network_are_told_and_redone(project: Project, random_network: Callable[..., Any]) -> None:
    assert run(*SEGMENT).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in project.output_dir.glob("*.mrc")}
    weights, card = random_network("single", ("Disc",))
    weights = {name: 2 * value if value.is_floating_point() else value for name, value in weights.items()}
    save_network(project.single_network("Disc"), weights, card)
    told = run(*SEGMENT)
    assert told.exit_code == 0
    assert "3 tomograms were segmented by an older network; --outdated makes such outputs again." in told.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    result = run(*SEGMENT, "--outdated")
    assert "3 tomograms segmented." in result.stdout
    assert all(path.stat().st_mtime_ns > time for path, time in before.items())


def test_an_annotated_tomogram_that_cannot_be_used_is_status_1(project: Project) -> None:
    project.macromolecule("TS_2", "Membrane").unlink()
    project.tomogram("TS_3").unlink()
    result = run("single", "initialize")
    assert result.exit_code == 1
    assert rows(result, "Disc") == ["Disc 1 4 2 2 -"]
    assert rows(result, "Left out") == ["Left out Why"]
    assert rows(result, "TS_2")[0].startswith("TS_2 macromolecules/TS_2__Membrane.mrc is missing")
    assert "segment Membrane in this tomogram, or take it out of 'macromolecules'.\n" in result.stderr
    assert rows(result, "TS_3")[0].startswith("TS_3 tomograms/TS_3.mrc is not there")


def test_boxes_are_counted_as_they_were_placed(project: Project) -> None:
    """Larger than a patch (one box, four patches), at odd places smaller than a binned pixel, and far outside."""
    disc, square = read_scns(project.annotation("TS_1")).features
    for name in ("TS_2", "TS_3"):
        project.annotation(name).unlink()
    large = replace(disc, box_size=48, boxes={3: [(36, 30), (300, 300)]})
    set_features(project, "TS_1", large, replace(square, box_size=2, boxes={4: [(52, 44), (51, 43), (1, -9)]}))
    of_disc, of_square = single_initialize(project).rows
    assert of_disc == OntologyCount("Disc", 1, 2, 1, 0, {"outside the tomogram": 1})
    dropped = {"outside the tomogram": 1, "smaller than one binned pixel": 1}
    assert of_square == OntologyCount("Square", 1, 3, 1, 0, dropped)


def test_boxes_of_another_size_than_configured_are_told_per_ontology(project: Project) -> None:
    for name, side in (("TS_1", 16), ("TS_2", 24)):
        disc, square = read_scns(project.annotation(name)).features
        set_features(project, name, replace(disc, box_size=side), square)
    told = "boxes of 16 and 24 pixels, the configuration says 32; what lies outside a box is seen but not learnt from."
    assert [line for line in run("single", "initialize").stderr.splitlines() if "boxes of" in line] == [f"Disc: {told}"]
    for name in project.annotated_names():
        disc, square = read_scns(project.annotation(name)).features
        set_features(project, name, replace(disc, box_size=32), replace(square, box_size=64))
    told = "boxes of 64 pixels, the configuration says 32; each is cut into several patches."
    assert [line for line in run("single", "initialize").stderr.splitlines() if "boxes of" in line] == [
        f"Square: {told}"
    ]
