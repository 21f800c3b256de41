from pathlib import Path

import mrcfile
import numpy as np
import pytest
from typer.testing import CliRunner

from pom.cli.main import app
from pom.project.configuration import default_configuration_text


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = default_configuration_text().replace('"ontologies": []', '"ontologies": ["ER"]')
    Path("project_configuration.json").write_text(text.replace('"Density"', '"Density", "Membrane"'))
    for folder, feature, value in (("output", "ER", 127), ("output", "Unknown", 0), ("macromolecules", "Membrane", 32)):
        Path(folder).mkdir(exist_ok=True)
        with mrcfile.new(f"{folder}/a__{feature}.mrc", np.full((5, 8, 8), value, np.int8)) as file:
            file.voxel_size = 20
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["summarize", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_table_is_shown_and_written(project: Path) -> None:
    status, output = run()
    assert status == 0
    assert "1 tomogram: 3 segmentations measured; 30% of the slices left out above and below." in output
    rows = [line.split() for line in output.splitlines()]
    assert ["ER", "100.00", "100.00", "100.00", "1"] in rows
    assert ["Unknown", "0.00", "0.00", "0.00", "0"] in rows
    assert ["Membrane", "25.20", "25.20", "25.20", "0"] in rows
    assert f"Written: {'summary.xlsx'}, summary.csv and summary.parquet" in output
    assert "0 segmentations measured, 3 known from before" in run()[1]


@pytest.mark.parametrize(
    ("arguments", "measured"),
    [
        (["-overwrite", "1"], 3),
        (["--overwrite"], 3),
        (["-overwrite", "0"], 0),
        (["-overwrite", "1", "-skip", "1"], 2),
        (["--overwrite", "--skip-macromolecules"], 2),
        (["-overwrite", "1", "-skip", "0"], 3),
        (["-overwrite", "1", "-feature", "ER"], 1),
        (["--overwrite", "--target-feature", "Membrane", "-p", "2"], 1),
        (["-p", "2", "-overwrite", "1"], 3),
    ],
)
def test_the_options_of_the_published_program(project: Path, arguments: list[str], measured: int) -> None:
    run()
    status, output = run(*arguments)
    assert status == 0
    assert f"{measured} segmentation{'' if measured == 1 else 's'} measured" in output


def test_what_was_not_measured_is_listed(project: Path) -> None:
    Path("output/a__ER.mrc").write_bytes(b"no volume")
    status, output = run()
    assert status == 1
    assert "a__ER" in output
    assert "2 segmentations measured" in output
    assert Path("summary.csv").read_text().startswith("Tomogram,Unknown,")


def test_an_unknown_feature_is_refused_in_one_sentence(project: Path) -> None:
    status, output = run("-feature", "er")
    assert status == 1
    assert "There is no feature 'er' (did you mean 'ER'?)" in output


@pytest.mark.parametrize("skip", [["-skip", "1"], ["--skip-macromolecules"]])
def test_a_macromolecule_that_is_to_be_skipped_is_refused(project: Path, skip: list[str]) -> None:
    status, output = run("-feature", "Membrane", *skip)
    assert status == 1
    assert "Membrane is a macromolecule, which -skip leaves out: give -feature Membrane or -skip, not both." in output
    assert not Path("summary.csv").exists()
    assert "1 segmentation measured" in run("-feature", "ER", *skip)[1]
