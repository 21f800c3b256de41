import pytest

from pom.words import counted, listed


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 files are"), (1, "1 file is"), (2, "2 files are"), (5000, "5000 files are")]
)
def test_a_noun_with_its_verb(count: int, expected: str) -> None:
    assert counted(count, "file is", "files are") == expected


def test_a_plural_with_s() -> None:
    assert (counted(1, "tomogram"), counted(3, "tomogram")) == ("1 tomogram", "3 tomograms")


def test_many_names_are_counted() -> None:
    assert listed(["TS_1"]) == "TS_1"
    assert listed([str(number) for number in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert listed([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
