import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.io.feature_library import FeatureLibrary
from pom.io.palette import PALETTE
from pom.jobs.claims import Claims
from pom.project.configuration import default_configuration_text
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.feature_library import add_ontology, change_library, load_library

MakeProject = Callable[..., Project]


def open_with(folder: Path, text: str) -> Project:
    (folder / CONFIGURATION_FILE).write_bytes(text.encode())
    return Project.open(folder)


def text_of(project: Project) -> str:
    return (project.folder / CONFIGURATION_FILE).read_bytes().decode()


def test_a_new_project_has_a_preset_for_each_ontology(make_project: MakeProject) -> None:
    project = make_project(ontologies=("Disc", "_", "Square"), tomograms=(), ontology_annotation_box_size=48)
    library = load_library(project)
    assert library.titles == ("Disc", "Square")
    assert [preset.box_size for preset in library.presets] == [48, 48]
    assert [preset.hex_colour for preset in library.presets] == list(PALETTE[:2])
    assert not project.feature_library.exists()


def test_what_is_saved_is_loaded(make_project: MakeProject) -> None:
    project = make_project(tomograms=())
    library = change_library(project, lambda library: library.without("Disc"))
    assert library.titles == ("Square",)
    assert load_library(project) == library
    project.feature_library.write_text("[]")
    for act in (load_library, lambda project: change_library(project, lambda library: library)):
        with pytest.raises(PomError, match=r"feature_library\.json is no feature library"):
            act(project)
    assert project.feature_library.read_text() == "[]"


def add_preset(project: Project, title: str) -> None:
    change_library(project, lambda library: library.with_preset(library.new_preset(title, 32)))


ADDING = """
import sys
from pathlib import Path
from pom.project.paths import Project
from pom.workflow.feature_library import change_library
project = Project.open(Path(sys.argv[1]))
for k in range(5):
    title = f"{sys.argv[2]} {k}"
    change_library(project, lambda library: library.with_preset(library.new_preset(title, 32)))
"""


def test_pages_and_servers_that_change_the_library_at_once_lose_nothing(tmp_path: Path) -> None:
    project = open_with(tmp_path, "{}")
    line = [sys.executable, "-c", ADDING, str(tmp_path)]
    servers = [subprocess.Popen([*line, f"Server {k}"]) for k in range(2)]
    titles = [f"Page {k}" for k in range(10)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda title: add_preset(project, title), titles))
    assert [server.wait(60) for server in servers] == [0, 0]
    titles += [f"Server {server} {k}" for server in range(2) for k in range(5)]
    assert sorted(load_library(project).titles) == sorted(titles)
    assert list(project.changing_claims.iterdir()) == []


def test_a_change_that_fails_lets_the_next_one_pass(tmp_path: Path) -> None:
    project = open_with(tmp_path, "{}")
    add_preset(project, "ER")
    before = project.feature_library.read_bytes()

    def refuse(library: FeatureLibrary) -> FeatureLibrary:
        raise PomError("No.")

    with pytest.raises(PomError, match="No"):
        change_library(project, refuse)
    assert project.feature_library.read_bytes() == before
    add_preset(project, "Golgi")
    assert load_library(project).titles == ("ER", "Golgi")


KILLED = """
import os, sys
from pathlib import Path
from pom.jobs.claims import Claims
assert Claims(Path(sys.argv[1])).take("library")
os._exit(3)
"""


def test_nobody_waits_for_a_server_that_was_killed(tmp_path: Path) -> None:
    project = open_with(tmp_path, "{}")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(project.changing_claims)], check=False)
    assert killed.returncode == 3 and list(project.changing_claims.iterdir())
    add_preset(project, "ER")
    assert load_library(project).titles == ("ER",)


def test_who_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_with(tmp_path, '{"ontologies": []}')
    monkeypatch.setattr("pom.workflow.alone.SECONDS_TO_WAIT", 0.1)
    claims = Claims(project.changing_claims)
    for name, act in (("library", add_preset), ("configuration", add_ontology)):
        claim = claims.take(name)
        assert claim is not None
        with pytest.raises(PomError, match=f"Somebody else is changing the {name} just now: try again"):
            act(project, "ER")
        claim.release()
    claims.close()
    assert not project.feature_library.exists()
    assert text_of(project) == '{"ontologies": []}'
    add_preset(project, "ER")
    assert load_library(project).titles == ("ER",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"ontologies": []}', '{"ontologies": ["ER"]}'),
        ('{"ontologies": ["A"]}', '{"ontologies": ["A", "ER"]}'),
        ('{"ontologies": ["A","B"], "z_sum":3}', '{"ontologies": ["A","B","ER"], "z_sum":3}'),
        ('{"ontologies": [ "A", "B, ]" ] }', '{"ontologies": [ "A", "B, ]", "ER" ] }'),
        (
            '{\n  "z_sum": 3,\n  "ontologies": [\n    "A",\n    "_"\n  ],\n  "apix": 12.50\n}\n',
            '{\n  "z_sum": 3,\n  "ontologies": [\n    "A",\n    "_",\n    "ER"\n  ],\n  "apix": 12.50\n}\n',
        ),
        (
            '{\r\n\t"apix": 1e1,\r\n\t"ontologies": [\r\n\t\t"A"\r\n\t]\r\n}',
            '{\r\n\t"apix": 1e1,\r\n\t"ontologies": [\r\n\t\t"A",\r\n\t\t"ER"\r\n\t]\r\n}',
        ),
        ("{}", '{\n  "ontologies": ["ER"]\n}'),
        (
            '{\n    "z_sum": 3,\n    "binning": 2\n}\n',
            '{\n    "z_sum": 3,\n    "binning": 2,\n    "ontologies": ["ER"]\n}\n',
        ),
        ('{"z_sum": 3}', '{"z_sum": 3,"ontologies": ["ER"]}'),
        ('{"ontolog\\u0069es": ["\\u00c4", "\\""]}', '{"ontolog\\u0069es": ["\\u00c4", "\\"", "ER"]}'),
    ],
)
def test_all_else_in_the_file_stays_to_the_letter(tmp_path: Path, before: str, after: str) -> None:
    project = open_with(tmp_path, before)
    changed = add_ontology(project, "ER")
    assert text_of(project) == after
    assert changed.folder == project.folder
    assert changed.configuration.ontologies == (*project.configuration.ontologies, "ER")
    assert Project.open(tmp_path) == changed


def test_keys_of_the_published_program_stay(tmp_path: Path) -> None:
    values = json.loads(default_configuration_text())
    values.update(tf_distribute_mirrored=False, single_model_overlap=0.25, ontologies=["A"])
    assert "shared_model_unknown_output_thresold" in values
    project = open_with(tmp_path, json.dumps(values, indent=4))
    add_ontology(add_ontology(project, "Lipid droplet"), "Zellkern \u00e4")
    assert json.loads(text_of(project)) == {**values, "ontologies": ["A", "Lipid droplet", "Zellkern \u00e4"]}
    assert list(json.loads(text_of(project))) == list(values)


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("", "holds an empty name"),
        ("a/b", "must not contain '/'"),
        ("a__b", "must not contain '__'"),
        ("../x", "must not contain '/'"),
        (".x", "must not begin with"),
        (" x", "must not begin or end with a space"),
        ("a\nb", "control characters"),
        ("\ud800", "must be UTF-8"),
        ("Unknown", "reserved"),
        ("density", "reserved"),
        ("_", "it stands for a place left empty"),
        ("Disc", "there is such an ontology already"),
        ("disc", "holds both 'Disc' and 'disc'"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, title: str, reason: str) -> None:
    text = '{"ontologies": ["Disc"]}'
    project = open_with(tmp_path, text)
    with pytest.raises(PomError, match=rf"cannot be added to the ontologies: .*{reason}") as caught:
        add_ontology(project, title)
    assert str(caught.value).count(CONFIGURATION_FILE) == 0
    assert text_of(project) == text


def test_a_macromolecule_that_shares_the_folder_of_the_outputs(tmp_path: Path) -> None:
    text = '{"macromolecules": ["Density", "Membrane"], "output_dir": "x", "macromolecule_dir": "x"}'
    project = open_with(tmp_path, text)
    with pytest.raises(PomError, match="'Membrane' cannot be added to the ontologies: 'Membrane' is in both"):
        add_ontology(project, "Membrane")
    assert text_of(project) == text


def test_the_file_counts_and_not_what_was_read_of_it(tmp_path: Path) -> None:
    project = open_with(tmp_path, '{"ontologies": ["A"]}')
    (tmp_path / CONFIGURATION_FILE).write_text('{"ontologies": ["A", "B"], "z_sum": 7}')
    assert add_ontology(project, "C").configuration.ontologies == ("A", "B", "C")
    assert Project.open(tmp_path).configuration.z_sum == 7


@pytest.mark.parametrize("text", ['{"ontologies": ["A"', '{"ontologies": "A"}', '{"ontologys": []}', "[]"])
def test_a_file_with_a_fault_is_left_alone(tmp_path: Path, text: str) -> None:
    project = open_with(tmp_path, "{}")
    (tmp_path / CONFIGURATION_FILE).write_text(text)
    with pytest.raises(PomError, match=CONFIGURATION_FILE):
        add_ontology(project, "ER")
    assert text_of(project) == text


def test_many_at_a_time_lose_nothing(tmp_path: Path) -> None:
    project = open_with(tmp_path, "{}")
    titles = [f"Feature {k}" for k in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda title: add_ontology(project, title), titles))
    assert sorted(Project.open(tmp_path).configuration.ontologies) == sorted(titles)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "project").mkdir()
    link = tmp_path / "project" / CONFIGURATION_FILE
    link.symlink_to(tmp_path / "real.json")
    add_ontology(Project.open(tmp_path / "project"), "ER")
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == {"ontologies": ["ER"]}


def test_a_disk_that_is_read_only(disk_of: Callable[[str], Path], make_read_only: Callable[[Path], None]) -> None:
    project = open_with(disk_of("64k"), "{}")
    make_read_only(project.folder)
    with pytest.raises(PomError, match="read-only"):
        add_ontology(project, "ER")
    assert text_of(project) == "{}"
