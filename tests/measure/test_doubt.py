import numpy as np
import pytest
from numpy.typing import NDArray

from pom.measure.doubt import most_doubtful

SHAPE = (96, 128)


def sure(n: int = 1) -> NDArray[np.float32]:
    return np.zeros((n, *SHAPE), np.float32)


def test_a_patch_of_a_half_is_found_where_it_is() -> None:
    probabilities = sure(2)
    probabilities[0, 40:60] = 1.0
    probabilities[1, 24:56, 64:96] = 0.5
    doubt = most_doubtful(probabilities, 32)
    assert (doubt.y, doubt.x) == (40, 80)
    assert doubt.ontologies == (1,)
    assert doubt.score == pytest.approx(1.0)


@pytest.mark.parametrize(("probability", "score"), [(0.5, 1.0), (0.75, 0.5), (0.25, 0.5), (0.9, 0.2), (1.0, 0.0)])
def test_doubt_by_probability(probability: float, score: float) -> None:
    assert most_doubtful(np.full((1, *SHAPE), probability, np.float32), 32).score == pytest.approx(score, abs=1e-6)


def test_an_edge_counts_less_than_an_area() -> None:
    probabilities = sure()
    probabilities[0, :, 30:32] = 0.5
    probabilities[0, 50:70, 90:110] = 0.6
    doubt = most_doubtful(probabilities, 32)
    assert abs(doubt.y - 60) <= 6
    assert abs(doubt.x - 100) <= 6
    assert doubt.score == pytest.approx(0.8 * 400 / 1024, rel=1e-5)


def test_two_that_claim_one_place() -> None:
    probabilities = sure(3)
    probabilities[0, :48] = 1.0
    probabilities[2, 16:48, 32:64] = 0.95
    probabilities[1, 70:80, 10:20] = 0.5
    doubt = most_doubtful(probabilities, 32)
    assert doubt.ontologies == (0, 2)
    assert (doubt.y, doubt.x) == (32, 48)
    assert doubt.score == pytest.approx(0.9, rel=1e-5)


def test_classes_that_share_one_hundred_percent_do_not_contradict() -> None:
    probabilities = np.full((2, *SHAPE), 0.5, np.float32)
    assert len(most_doubtful(probabilities, 32).ontologies) == 1


@pytest.mark.parametrize("side", [1, 7, 32, 96, 500])
@pytest.mark.parametrize("corner", [(0, 0), (95, 127), (0, 127)])
def test_the_window_lies_in_the_slice(side: int, corner: tuple[int, int]) -> None:
    probabilities = sure()
    probabilities[0, corner[0], corner[1]] = 0.5
    doubt = most_doubtful(probabilities, side)
    for centre, position, size in zip((doubt.y, doubt.x), corner, SHAPE, strict=True):
        assert abs(position + 0.5 - centre) <= max(side, 8)
        if side < size:
            assert side / 2 - 4 <= centre <= size - side / 2 + 4
        else:
            assert centre == size / 2


def test_a_slice_smaller_than_a_cell() -> None:
    doubt = most_doubtful(np.full((2, 3, 5), 0.75, np.float32), 128)
    assert (doubt.y, doubt.x) == (1.5, 2.5)
    assert doubt.score == pytest.approx(0.5)
    assert doubt.ontologies == (0, 1)  # both claim it; that is said rather than that one is unsure
