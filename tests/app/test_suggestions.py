"""The previews of 'Where to look next'."""

import pytest

from pom.app.annotate.suggestions import first_shown


@pytest.mark.parametrize(
    ("middle", "length", "first"),
    [
        (100, 200, 75),  # the place in the middle
        (10, 200, 0),  # not beyond the first pixel
        (190, 200, 150),  # not beyond the last
        (15, 30, -10),  # a slice smaller than the preview, in its middle
    ],
)
def test_a_preview_shows_the_slice_and_nothing_beyond_it(middle: float, length: int, first: float) -> None:
    assert first_shown(middle, length, 50) == first
