import pytest

from pom.project.names import (
    did_you_mean,
    first_fault,
    is_segmentation,
    name_fault,
    nearest,
    readable,
    segmentation_file,
    without_empty,
)


def test_a_segmentation_is_told_by_two_underscores() -> None:
    assert segmentation_file("TS_001", "ATP synthase") == "TS_001__ATP synthase.mrc"
    assert is_segmentation("TS_001__Membrane")
    assert not is_segmentation("TS_001_Membrane")


@pytest.mark.parametrize("name", ["Mitochondrion", "Nuclear envelope", "ER_2", "α-granule", "TOM20.v2", "_Membrane"])
def test_names_that_can_stand_in_a_file_name(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a/b", "'/'"),
        ("..\\b", "'\\'"),
        ("a__b", "'__'"),
        ("a\0b", "null character"),
        ("a\nb", "control characters"),
        ("TS_\udce9", r"holds 'TS_\xe9', and a name must be UTF-8"),
        (".hidden", "begin with '.'"),
        ("..", "begin with '.'"),
        (" ER", "space"),
        ("ER ", "space"),
    ],
)
def test_names_that_cannot(name: str, part: str) -> None:
    fault = name_fault(name)
    assert fault is not None
    assert part in fault


def test_empty_slots_may_repeat_but_names_may_not() -> None:
    assert first_fault(["_", "ER", "_", "Golgi"]) is None
    assert first_fault(["ER", "_", "ER"]) == "holds 'ER' twice"
    assert first_fault(["ER", "er"]) == "holds both 'ER' and 'er'"
    assert without_empty(["_", "ER", "_"]) == ("ER",)


def test_nearest_does_not_mind_upper_and_lower_case() -> None:
    known = ["Mitochondrion", "Vesicle", "ER"]
    assert nearest("mitochondria", known) == "Mitochondrion"
    assert nearest("er", known) == "ER"
    assert nearest("Ribosome", known) is None
    assert nearest("Ribosome", []) is None


def test_a_hint_is_given_where_a_name_is_alike() -> None:
    assert did_you_mean("ts_1", ["TS_1", "TS_20"]) == " (did you mean 'TS_1'?)"
    assert did_you_mean("Ribosome", ["TS_1"]) == ""


def test_any_terminal_can_show_a_readable_name() -> None:
    assert readable("Öl 1") == "Öl 1"
    assert readable("TS_\udce9\udcff\n\ud800") == r"TS_\xe9\xff\n\ud800"
