import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.project.render_configuration import (
    Composition,
    configuration_text,
    default_compositions,
    misspelt,
    read_compositions,
)

PUBLISHED = """{
  "Macromolecules": ["Ribosome", "Membrane", "Density", "ATP synthase", "RuBisCo"],
  "Top3": ["rank1", "rank2", "rank3", "!Unknown"]
}"""
"""As the published Pom writes it."""
ABUNDANCE = ("Cytoplasm", "Unknown", "Nucleus", "Vesicle")


def ranked(without: Collection[str]) -> Sequence[str]:
    return [name for name in ABUNDANCE if name not in without]


def written(folder: Path, content: object) -> Path:
    path = folder / "render_configuration.json"
    path.write_text(json.dumps(content))
    return path


def test_published_configuration(tmp_path: Path) -> None:
    path = tmp_path / "render_configuration.json"
    path.write_text(PUBLISHED)
    macromolecules, top = read_compositions(path)
    assert macromolecules.features(ranked) == ("Ribosome", "Membrane", "ATP synthase", "RuBisCo")  # without Density
    assert top.features(ranked) == ("Cytoplasm", "Nucleus", "Vesicle")
    assert (macromolecules.has_ranks, top.has_ranks) == (False, True)


def test_ranks_names_and_what_is_left_out() -> None:
    def features(*entries: str) -> tuple[str, ...]:
        return Composition("A", entries).features(ranked)

    assert features("rank1", "rank2") == ("Cytoplasm", "Unknown")
    assert features("rank2", "!Cytoplasm", "!Unknown") == ("Vesicle",)
    assert features("rank3", "Vesicle", "rank9", "rank1", "Vesicle") == ("Nucleus", "Vesicle", "Cytoplasm")
    assert features("Unknown", "!Unknown") == ("Unknown",)  # no rank, but named
    assert features("ranking") == ("ranking",)


def test_entries_that_name_nothing_are_told() -> None:
    compositions = (Composition("A", ("nucleus", "rank1", "Density", "_", "Vesicle")), Composition("B", ("!unknown",)))
    said = "which is no ontology or macromolecule of this project: correct it, or take it out."
    assert misspelt(compositions, ABUNDANCE) == [
        f"'A' holds 'nucleus' (did you mean 'Nucleus'?), {said}",
        f"'B' holds '!unknown' (did you mean 'Unknown'?), {said}",
    ]
    assert misspelt((Composition("C", ("RuBisCo",)),), ABUNDANCE) == [f"'C' holds 'RuBisCo', {said}"]


def test_usual_compositions() -> None:
    with_macromolecules = default_compositions(("Density", "Membrane", "_", "Ribosome"))
    assert {c.name: c.entries for c in with_macromolecules} == {
        "Macromolecules": ("Membrane", "Ribosome"),
        "Top3": ("rank1", "rank2", "rank3", "!Unknown"),
    }
    assert [c.name for c in default_compositions(("Density",))] == ["Top3"]


def test_written_is_read_again(tmp_path: Path) -> None:
    compositions = (Composition("B", ("rank1",)), Composition("A c", ()))
    path = tmp_path / "render_configuration.json"
    path.write_text(configuration_text(path, compositions))
    assert read_compositions(path) == compositions
    with pytest.raises(PomError, match="two compositions bear one name"):
        configuration_text(path, (Composition("A", ()), Composition("A", ("rank1",))))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"A": "rank1"}, "'A' must be a list of features"),
        ({"A": ["rank1", 2]}, "'A' must be a list of features"),
        ({"A": ["rank0"]}, "ranks begin with rank1"),
        ({"A": ["!"]}, "a name follows '!'"),
        ({"../A": []}, "must not contain '/'"),
        ({"Density": []}, "cannot be called 'Density'"),
        ({"Nucleus_projection": []}, "cannot be called"),
        (["A"], "must hold a JSON object"),
    ],
)
def test_faults(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(PomError, match=re.escape(said)):
        read_compositions(written(tmp_path, content))
