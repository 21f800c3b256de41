"""What ``pom export`` writes and shows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from pom.cli.main import app
from pom.io.mrc import MrcWriter
from pom.io.volume_files import look_into_stores

run = CliRunner().invoke


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two segmented tomograms, and one that is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_configuration.json").write_text(json.dumps({"ontologies": ["Vesicle"]}))
    for name in ("TS_1", "TS_2", "TS_3"):
        write(tmp_path / "tomograms" / f"{name}.mrc", np.ones((4, 16, 16), np.float32))
    for name in ("TS_1", "TS_2"):
        for title in ("Vesicle", "Unknown"):
            write(tmp_path / "output" / f"{name}__{title}.mrc", np.full((2, 8, 8), 7, np.int8))
    return tmp_path


def write(path: Path, volume: NDArray[Any]) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (10.0, 10.0, 10.0)) as writer:
        writer.write(volume)


def test_all_that_are_segmented(project: Path) -> None:
    result = run(app, ["export", "--ome-zarr"])
    assert result.exit_code == 0, result.output
    assert "2 tomograms written to output." in result.output
    assert "1 tomogram is not segmented in full, and left out: TS_3." in result.output
    assert sorted(path.name for path in (project / "output").glob("*.zarr")) == ["TS_1.ome.zarr", "TS_2.ome.zarr"]
    assert look_into_stores(project / "output") == (frozenset(), {})
    assert "0 tomograms written to output, 2 the same already." in run(app, ["export", "-ome-zarr"]).output


@pytest.mark.parametrize("given", [["--probabilities"], ["-probabilities", "1"]])
def test_some_with_probabilities_elsewhere(project: Path, given: list[str]) -> None:
    result = run(app, ["export", "TS_2", "--ome-zarr", *given, "-o", "to"])
    assert result.exit_code == 0, result.output
    assert "1 tomogram written to to." in result.output
    assert look_into_stores(project / "to")[0] == {"TS_2__Vesicle.mrc", "TS_2__Unknown.mrc"}
    again = run(app, ["export", "TS_2", "--ome-zarr", *given, "-o", "to", "--overwrite"])
    assert "1 tomogram written to to." in again.output


@pytest.mark.parametrize("given", [["--overwrite", "TS_2", "TS_1"], ["--overwrite", "1", "TS_1", "TS_2"]])
def test_names_may_follow_a_bare_switch(project: Path, given: list[str]) -> None:
    run(app, ["export", "--ome-zarr"])
    result = run(app, ["export", "--ome-zarr", "--probabilities", *given])
    assert result.exit_code == 0, result.output
    assert "2 tomograms written to output." in result.output
    found = look_into_stores(project / "output")[0]
    assert found == {f"{name}__{title}.mrc" for name in ("TS_1", "TS_2") for title in ("Vesicle", "Unknown")}


def test_one_that_fails_is_listed(project: Path) -> None:
    (project / "output" / "TS_1__Vesicle.mrc").write_bytes(b"")
    result = run(app, ["export", "--ome-zarr", "TS_1", "TS_2"])
    assert result.exit_code == 1
    assert "1 tomogram written to output, 1 failed." in result.output
    assert "TS_1__Vesicle.mrc is empty" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "Say in which form: pom export --ome-zarr."), (["--ome-zarr", "TS_9"], "There is no tomogram 'TS_9'")],
)
def test_what_cannot_be_done(project: Path, arguments: list[str], message: str) -> None:
    result = run(app, ["export", *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert not list((project / "output").glob("*.zarr"))
