import logging
from itertools import combinations

import numpy as np
import pytest

from pom.sampling.holdout import hold_out_tomograms, validation_mask

Tomograms = dict[str, frozenset[str]]


def random_projects(n: int = 300) -> list[tuple[Tomograms, float]]:
    """Projects of 1 to 4 ontologies in 1 to 6 tomograms, with a share to hold out."""
    random = np.random.default_rng(7)
    projects = []
    for _ in range(n):
        names = [f"TS_{i}" for i in range(random.integers(1, 7))]
        project = {
            f"O{k}": frozenset(random.choice(names, random.integers(1, len(names) + 1), replace=False).tolist())
            for k in range(random.integers(1, 5))
        }
        projects.append((project, float(random.choice([0.0, 0.1, 0.2, 0.5]))))
    return projects


def is_allowed(project: Tomograms, held: frozenset[str]) -> bool:
    return all(names - held for names in project.values())


def test_no_ontology_loses_its_last_tomogram() -> None:
    for seed, (project, share) in enumerate(random_projects()):
        assert is_allowed(project, hold_out_tomograms(project, share, seed))


def test_every_ontology_of_two_tomograms_is_validated_unless_another_loses_its_last() -> None:
    for seed, (project, share) in enumerate(random_projects()):
        held = hold_out_tomograms(project, share, seed)
        if share == 0:
            assert not held
            continue
        for names in project.values():
            if len(names) > 1 and not names & held:
                assert not any(is_allowed(project, held | {name}) for name in names)


def test_as_many_as_the_share_where_that_is_possible() -> None:
    for seed, (project, share) in enumerate(random_projects()):
        held = hold_out_tomograms(project, share, seed)
        everything = frozenset[str]().union(*project.values())
        if len(held) < int(share * len(everything) + 0.5):
            assert not any(is_allowed(project, held | {name}) for name in everything - held)


def test_no_more_than_the_share_and_the_ontologies_ask_for() -> None:
    for seed, (project, share) in enumerate(random_projects()):
        held = hold_out_tomograms(project, share, seed)
        everything = frozenset[str]().union(*project.values())
        assert len(held) <= max(len(project), int(share * len(everything) + 0.5))


def test_the_seed_alone_decides() -> None:
    names = [f"TS_{i}" for i in range(10)]
    forwards, backwards = {"O": frozenset(names)}, {"O": frozenset(reversed(names))}
    choices = {seed: hold_out_tomograms(forwards, 0.2, seed) for seed in range(8)}
    assert choices == {seed: hold_out_tomograms(backwards, 0.2, seed) for seed in range(8)}
    assert {len(held) for held in choices.values()} == {2}
    assert len(set(choices.values())) > 1


def test_known_answers() -> None:
    # The one tomogram that both have validates both.
    both = {"A": frozenset({"1", "2"}), "B": frozenset({"2", "3"})}
    assert hold_out_tomograms(both, 0.2, 0) == {"2"}
    # B is only in 2, so A is validated by 1, whatever the seed.
    one_each = {"A": frozenset({"1", "2"}), "B": frozenset({"2"})}
    assert {hold_out_tomograms(one_each, 0.2, seed) for seed in range(5)} == {frozenset({"1"})}
    # Both tomograms are needed to train on.
    assert hold_out_tomograms({"A": frozenset("12"), "B": frozenset("1"), "C": frozenset("2")}, 0.5, 0) == set()
    assert hold_out_tomograms({"A": frozenset("1")}, 0.5, 0) == set()
    assert hold_out_tomograms({}, 0.2, 0) == set()
    # A share of a third of six: two of them.
    assert len(hold_out_tomograms({"A": frozenset("123456")}, 1 / 3, 0)) == 2


def test_patches_of_held_out_tomograms_validate(caplog: pytest.LogCaptureFixture) -> None:
    mask = validation_mask(["A", "A", "B", "B"], ["1", "2", "2", "1"], {"2"}, 0.2, 0)
    assert mask.tolist() == [False, True, True, False]
    assert not caplog.records


def test_without_a_held_out_tomogram_boxes_validate_and_a_warning_says_so(caplog: pytest.LogCaptureFixture) -> None:
    ontologies, tomograms = ["A"] * 4 + ["B"] * 10, ["1", "2"] * 2 + ["3"] * 10
    with caplog.at_level(logging.WARNING):
        mask = validation_mask(ontologies, tomograms, {"2"}, 0.2, 0)
    assert mask[:4].tolist() == [False, True, False, True]
    assert mask[4:].sum() == 2
    assert [record.message for record in caplog.records] == [
        "B is annotated in too few tomograms to hold a whole one out: its validation figures come from 2 of its 10 "
        "boxes and flatter the network."
    ]
    np.testing.assert_array_equal(mask, validation_mask(ontologies, tomograms, {"2"}, 0.2, 0))
    others = [tuple(validation_mask(ontologies, tomograms, {"2"}, 0.2, seed)) for seed in range(5)]
    assert len(set(others)) > 1


@pytest.mark.parametrize(("boxes", "share", "expected"), [(2, 0.1, 1), (2, 0.5, 1), (3, 0.5, 2), (20, 0.1, 2)])
def test_boxes_are_left_to_train_on(boxes: int, share: float, expected: int) -> None:
    assert validation_mask(["A"] * boxes, ["1"] * boxes, frozenset(), share, 0).sum() == expected


def test_a_single_box_is_trained_on_and_a_warning_says_what_that_means(caplog: pytest.LogCaptureFixture) -> None:
    assert not validation_mask(["A"], ["1"], frozenset(), 0.5, 0).any()
    assert [record.message for record in caplog.records] == [
        "A has a single box, which is trained on: there will be no validation figures."
    ]


def test_a_share_of_0_validates_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert not validation_mask(["A"] * 3, ["1"] * 3, frozenset(), 0.0, 0).any()
    assert not caplog.records


def test_fewer_tomograms_than_the_best_choice_are_rarely_enough() -> None:
    """The choice is greedy: it validates all ontologies that any choice could, in nearly all projects."""
    worse = 0
    projects = [(project, share) for project, share in random_projects() if share > 0]
    for seed, (project, share) in enumerate(projects):
        held = hold_out_tomograms(project, share, seed)
        everything = sorted(frozenset[str]().union(*project.values()))
        choices = [frozenset(c) for n in range(len(everything) + 1) for c in combinations(everything, n)]
        best = max(sum(bool(names & c) for names in project.values()) for c in choices if is_allowed(project, c))
        worse += sum(bool(names & held) for names in project.values()) < best
    assert worse <= 0.05 * len(projects)
