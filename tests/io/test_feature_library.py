import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pom.errors import PomError
from pom.io.feature_library import (
    LARGEST_FILE,
    FeatureLibrary,
    Preset,
    ais_library_text,
    entry_of,
    parse_ais_library,
    preset_from,
    read_library,
    write_library,
)
from pom.io.palette import PALETTE

AIS_FIELDS = {
    "title", "colour", "box_size", "brush_size", "alpha", "use", "dust", "level", "render_alpha", "hide",
}  # fmt: skip
"""Ais reads no feature that lacks one of these."""


def ais_feature(title: str = "Membrane", **changes: Any) -> dict[str, Any]:
    """As Ais writes one."""
    return {
        "title": title,
        "colour": [0.25882352941176473, 0.8392156862745098, 0.6431372549019608],
        "box_size": 64,
        "brush_size": 12.5,
        "alpha": 0.75,
        "use": False,
        "dust": 250.5,
        "level": 99,
        "render_alpha": 0.5,
        "hide": True,
        **changes,
    }


def ais_library(value: object) -> FeatureLibrary:
    return parse_ais_library(json.dumps(value, indent=2).encode(), "lib.txt")


def test_what_ais_says_of_a_feature() -> None:
    (preset,) = ais_library([ais_feature()]).presets
    assert preset == Preset(
        title="Membrane", colour=(0.25882352941176473, 0.8392156862745098, 0.6431372549019608), box_size=64,
        brush_size=12.5, alpha=0.75, level=99, dust=250.5, render_alpha=0.5, hide=True, others={"use": False},
    )  # fmt: skip
    assert preset.hex_colour == "#42d6a4"


def test_a_file_of_ais_survives_the_round_trip_with_what_nobody_knows() -> None:
    features = [ais_feature(), ais_feature("Ribosome \u00b5", made_by={"who": ["\ud800", 1.5, None]}, others=3)]
    text = ais_library_text(ais_library(features))
    assert json.loads(text) == features and text.isascii()


def test_the_project_file_keeps_everything_too(tmp_path: Path) -> None:
    library = ais_library([ais_feature(more=[1, "\ud800"]), ais_feature("ER")])
    path = tmp_path / "feature_library.json"
    write_library(path, library)
    assert read_library(path) == library
    held = json.loads(path.read_text())
    assert (held["format"], held["version"]) == ("pom-feature-library", 1)
    assert held["presets"][0] == ais_feature(more=[1, "\ud800"])


def test_of_several_libraries_the_active_one_is_read() -> None:
    libraries = {"Big": [ais_feature("A"), ais_feature("B")], "Small": [ais_feature("C")], "None": []}
    assert ais_library({"active": "Small", "libraries": libraries, "later": 1}).titles == ("C",)


@pytest.mark.parametrize(("active", "titles"), [("Gone", ("A",)), (None, ("A",)), (["A"], ("A",)), ("Two", ())])
def test_where_the_active_library_is_none_the_first_is(active: object, titles: tuple[str, ...]) -> None:
    assert ais_library({"active": active, "libraries": {"One": [ais_feature("A")], "Two": []}}).titles == titles


@pytest.mark.parametrize("content", [b"[\n\n]", b'\xef\xbb\xbf{"libraries": {}}', b'{"active": "A", "libraries": {}}'])
def test_empty_libraries(content: bytes) -> None:
    assert parse_ais_library(content, "x") == FeatureLibrary()


def test_ais_gets_all_the_fields_it_needs() -> None:
    library = FeatureLibrary((Preset(title="Membrane", colour=(0, 0.5, 1)),))
    (feature,) = json.loads(ais_library_text(library))
    assert feature.keys() == AIS_FIELDS
    assert feature["colour"] == [0.0, 0.5, 1.0]
    assert feature["use"] is True
    assert [type(feature[key]) for key in ("box_size", "level")] == [int, int]


def test_only_the_title_must_be_there() -> None:
    (preset,) = parse_ais_library(b'[{"title": "ER"}]', "x").presets
    assert preset.model_dump(exclude={"title", "colour"}) == {
        "box_size": 128, "brush_size": 10.0, "alpha": 0.45, "level": 128, "dust": 1.0, "render_alpha": 1.0,
        "hide": False, "others": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("held", "colour"),
    [
        ([0, 136 / 255, 266 / 255], (0.0, 136 / 255, 1.0)),  # one of Ais' own
        ([0.1, 0.2, 0.3, 0.9], (0.1, 0.2, 0.3)),
        ("#ff8000", (1.0, 128 / 255, 0.0)),
    ],
)
def test_colours(held: object, colour: tuple[float, float, float]) -> None:
    assert preset_from({"title": "ER", "colour": held}, "x").colour == colour


def test_sliders_leave_fractions() -> None:
    preset = preset_from({"title": "ER", "level": 127.6, "box_size": 64.0}, "x")
    assert (preset.level, preset.box_size) == (128, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "  "}, r"'title' is \"  \", but must be a name"),
        ({"title": "a\nb"}, "'title' is"),
        ({"title": "x" * 201}, r"'title' is \"x+\.\.\., but"),
        ({"title": 3}, "'title' is 3"),
        ({"title": None}, "'title' is null"),
        ({"colour": [66, 214, 164]}, r"'colour' is \[66, 214, 164\], but must be three numbers from 0 to 1"),
        ({"colour": [0.1, 0.2]}, "'colour' is"),
        ({"colour": [0.1, True, 0.2]}, "'colour' is"),
        ({"colour": [-0.1, 0, 0]}, "'colour' is"),
        ({"colour": "#gggggg"}, "'colour' is"),
        ({"colour": "#\u0661\u0661\u0661\u0661\u0661\u0661"}, "'colour' is"),
        ({"box_size": 0}, "'box_size' is 0, but must be a whole number above 0, in pixels"),
        ({"box_size": 10**6}, "'box_size' is 1000000"),
        ({"box_size": "64"}, "'box_size' is"),
        ({"brush_size": 0}, "'brush_size' is 0, but must be a number above 0, in nm"),
        ({"alpha": 1.5}, "'alpha' is 1.5"),
        ({"level": 300}, "'level' is 300"),
        ({"dust": -1}, "'dust' is -1"),
        ({"render_alpha": None}, "'render_alpha' is null"),
        ({"hide": 1}, "'hide' is 1, but must be true or false"),
    ],
)
def test_values_that_are_none(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PomError, match=rf"(?s)lib\.txt: feature 2.* has a fault: {message}"):
        ais_library([ais_feature("first"), ais_feature(**change)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b'[{"title": "ER"', "is not valid JSON: .* at line 1, column 16"),
        (b"\xff\xfe[]", "is not UTF-8"),
        (b'{"title": "ER"}', "is no feature library of Ais"),
        (b'{"libraries": []}', "is no feature library of Ais"),
        (b'{"libraries": {"A": {"title": "ER"}}}', "is no feature library of Ais"),
        (b'"ER"', "is no feature library of Ais"),
        (b"[3]", "feature 1 is not an object"),
        (b"[{}]", "feature 1 has a fault: 'title' is missing"),
        (b'[{"title": "ER", "x": NaN}]', "a number in it is none"),
        (b'[{"title": "ER", "x": 1e999}]', "a number in it is none"),
        (b'[{"title": "ER", "x": ' + b"9" * 5000 + b"}]", "a number in it is none"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'[{"title": "ER", "x": ' + b"[" * 40 + b"]" * 40 + b"}]", "it is nested too deeply"),
        (b"[" + b" " * LARGEST_FILE + b"]", "is larger than 4 MiB"),
        (b"\x80\x04\x95cos\nsystem\n", "is not UTF-8"),
    ],
)
def test_files_that_are_no_library(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lib.txt"
    path.write_bytes(content)
    with pytest.raises(PomError, match=rf"lib\.txt:? {message}|lib\.txt cannot be used: {message}"):
        parse_ais_library(content, "lib.txt")
    with pytest.raises(PomError, match=r"lib\.txt"):
        read_library(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="is not there: check the path"):
        read_library(tmp_path / "gone.json")
    with pytest.raises(PomError, match="is not a file"):
        read_library(tmp_path)


def test_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "lib.json"
    path.write_text(json.dumps({"format": "pom-feature-library", "version": 2, "presets": []}))
    with pytest.raises(PomError, match="is of version 2: update Pom"):
        read_library(path)


def test_of_two_features_with_one_title_the_last_counts(caplog: pytest.LogCaptureFixture) -> None:
    features = [ais_feature("A", box_size=8), ais_feature("B"), ais_feature("A", box_size=16)]
    with caplog.at_level(logging.WARNING):
        library = ais_library(features)
    assert library.titles == ("A", "B")
    assert [preset.box_size for preset in library.presets] == [16, 64]
    assert caplog.messages == ["lib.txt holds the title 'A' more than once; the last of them counts."]


def library_of(*titles: str) -> FeatureLibrary:
    return FeatureLibrary(tuple(Preset(title=title, colour=(0, 0, 0)) for title in titles))


def red(title: str) -> Preset:
    return Preset(title=title, colour=(1, 0, 0))


def test_presets_keep_their_places() -> None:
    library = library_of("A", "B", "C")
    assert library.with_preset(red("B")).titles == ("A", "B", "C")
    assert library.with_preset(red("b")).titles == ("A", "B", "C", "b")
    assert library.without("B").titles == ("A", "C")
    assert library.without("gone") == library
    merged = library.merged_with(FeatureLibrary((red("D"), red("A"))))
    assert merged.titles == ("A", "B", "C", "D")
    assert [preset.colour[0] for preset in merged.presets] == [1, 0, 0, 1]
    assert library.get("B") == library.presets[1]
    assert library.get("b") is None
    with pytest.raises(ValueError, match="one title"):
        library_of("A", "A")
    with pytest.raises(ValidationError):
        library.presets[0].title = "E"


def test_no_preset_takes_the_title_of_another() -> None:
    library = library_of("A", "B", "C")
    assert library.with_edited(red("D"), "A").titles == ("D", "B", "C")
    assert library.with_edited(red("A"), "A").presets == (red("A"), *library.presets[1:])
    assert library.with_edited(red("D"), "gone").titles == ("A", "B", "C", "D")
    assert library.with_edited(red("D"), None).titles == ("A", "B", "C", "D")
    for instead_of in ("A", "gone", None):
        with pytest.raises(PomError, match=r"The library has a preset 'C' already: choose another title, or"):
            library.with_edited(red("C"), instead_of)


def test_new_presets_take_colours_in_turn() -> None:
    library = FeatureLibrary()
    for k in range(len(PALETTE) + 2):
        library = library.with_preset(library.new_preset(f"Feature {k}", 96))
    colours = [preset.hex_colour for preset in library.presets]
    assert colours == [*PALETTE, *PALETTE[:2]]
    assert len(set(PALETTE)) == len(PALETTE)
    assert library.presets[3].box_size == 96
    assert preset_from(entry_of(library.presets[3]), "x") == library.presets[3]
    with pytest.raises(PomError, match="The new preset has a fault: 'title'"):
        library.new_preset("", 96)


def test_new_presets_take_no_colour_like_another() -> None:
    library = FeatureLibrary((Preset(title="Vesicle", colour=(1, 1, 0)), Preset(title="ER", colour=(0.9, 0.65, 0.02))))
    for k in range(len(PALETTE)):
        library = library.with_preset(library.new_preset(f"Feature {k}", 96))
    colours = [preset.hex_colour for preset in library.presets[2:]]
    # Orange and yellow are taken; then all are, and their turn begins anew.
    assert colours == [*PALETTE[1:3], *PALETTE[4:], *PALETTE[:2]]
