import pytest

from pom.words import counted


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 files are"), (1, "1 file is"), (2, "2 files are"), (5000, "5000 files are")]
)
def test_a_noun_with_its_verb(count: int, expected: str) -> None:
    assert counted(count, "file is", "files are") == expected


def test_a_plural_with_s() -> None:
    assert (counted(1, "tomogram"), counted(3, "tomogram")) == ("1 tomogram", "3 tomograms")
