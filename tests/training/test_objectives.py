import numpy as np
import pytest
import torch

from pom.sampling.patches import JointPatchSet, PatchSet
from pom.training import objectives
from pom.training.objectives import (
    direct_objective,
    direct_patches,
    joint_patches,
    single_objective,
    single_patches,
)


def patch_set(ontologies: list[str], validation: list[bool]) -> PatchSet:
    """Patches of 4 x 4 pixels, the upper half of each drawn."""
    n = len(ontologies)
    drawn = np.zeros((n, 4, 4), np.bool_)
    drawn[:, :2] = True
    everywhere = np.ones_like(drawn)
    return PatchSet(
        images=np.zeros((n, 1, 4, 4), np.float32),
        drawn=drawn,
        boxed=everywhere,
        inside=everywhere,
        ontologies=np.array(ontologies),
        tomograms=np.array(["TS_1"] * n),
        centres=np.zeros((n, 3), np.int64),
        corners=np.array([(i, 0, 0) for i in range(n)]),
        validation=np.array(validation),
        preprocessing="{}",
        pixel_size=15.68,
    )


def joint_patch_set(ontologies: list[str], validation: list[bool]) -> JointPatchSet:
    patches = patch_set(ontologies, validation)
    labels = patches.drawn.astype(np.uint8)
    return JointPatchSet(**vars(patches), labels=labels, outputs=np.array(["A", "B", "Unknown"]), unknown_threshold=0.3)


def test_half_of_an_epoch_are_own_patches_and_it_is_no_longer_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "FEWEST_SHOWN", 1)
    labelled = single_patches(patch_set(["A", "A", "A", *"BBBBBB", "C", "C"], [False, False, True, *[False] * 8]), "A")
    training = labelled.at(np.array([0, 1, *range(3, 11)]))
    assert training.frequency[:2].tolist() == pytest.approx([2.5, 2.5])
    assert training.frequency[2:].tolist() == pytest.approx([0.625] * 8)
    assert float(training.frequency.sum()) == pytest.approx(len(training))
    assert labelled.frequency[2] == 1


@pytest.mark.parametrize("ontologies", ["AAAB", "AB", "AAA", "BBB"])
def test_where_most_patches_are_own_each_is_shown_once_an_epoch(
    ontologies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "FEWEST_SHOWN", 1)
    labelled = single_patches(patch_set([*ontologies], [False] * len(ontologies)), "A")
    assert labelled.frequency.tolist() == [1.0] * len(ontologies)


def test_few_patches_are_shown_more_often_so_that_an_epoch_has_enough_steps() -> None:
    validation = [*[False] * 10, True]
    single = single_patches(patch_set([*"AABBBBBBBB", "A"], validation), "A")
    assert single.frequency.tolist() == pytest.approx([8, 8, *[2] * 8, 1])
    joint = joint_patches(joint_patch_set([*"AABBBBBBBB", "A"], validation))
    assert joint.frequency.tolist() == pytest.approx([*[3.2] * 10, 1])
    many = joint_patches(joint_patch_set([*"AB" * 20], [False] * 40))
    assert many.frequency.tolist() == [1] * 40


def test_a_single_patch_of_an_ontology_is_not_shown_the_more_often() -> None:
    single = single_patches(patch_set([*"ABBB"], [False] * 4), "A")
    assert single.frequency.tolist() == pytest.approx([2, *[2 / 3] * 3])
    joint = joint_patches(joint_patch_set([*"ABBB"], [False] * 4))
    assert joint.frequency.tolist() == [1] * 4


def test_a_drawn_pixel_weighs_as_much_more_as_drawn_pixels_are_shown_less() -> None:
    """Counted as often as they are shown: 4 patches of own, half drawn, and 4 of others with 8 pixels each."""
    training = single_patches(patch_set(["A", *"BBBBBBB"], [False] * 8), "A")
    drawn, others = 4 * 8, 4 * 8 + 4 * 8
    logits, valid = torch.full((1, 1, 1, 2), -3.0), torch.ones(1, 1, 2, dtype=torch.bool)
    loss = single_objective("A", training).loss(logits, torch.tensor([[[1, 0]]]), valid)
    weight = (others / drawn) ** 0.5
    p = torch.sigmoid(torch.tensor(-3.0))
    entropy = (-weight * torch.log(p) - torch.log(1 - p)) / (weight + 1)
    dice = 1 - (2 * p + 1) / (2 * p + 1 + 1)
    assert loss.item() == pytest.approx((entropy + dice).item(), rel=1e-5)


OUTPUTS = ("A", "_", "B", "Unknown")


def test_a_box_says_what_is_its_ontology_and_what_is_not() -> None:
    patches = patch_set(["B", "A"], [False, False])
    patches.boxed[:, :, 0] = False
    labelled, sets = direct_patches(patches, OUTPUTS)
    allowed = sets[labelled.target]
    for patch, own in enumerate((2, 0)):
        only, others = torch.arange(4) == own, torch.arange(4) != own
        assert torch.equal(allowed[patch, :, 1], torch.stack([only, only, others, others]))
        assert allowed[patch, :, 0].all()
    assert torch.equal(labelled.valid, torch.from_numpy(patches.boxed))
    assert labelled.own.tolist() == [2, 0]
    assert not labelled.drawn[:, :, 0].any()


def test_all_ontologies_are_shown_alike_and_mostly_where_they_are() -> None:
    patches = patch_set([*"AAAAAAAAA", "B"], [False] * 10)
    patches.drawn[3:9] = False
    frequency = direct_patches(patches, OUTPUTS)[0].frequency
    assert frequency[:3].tolist() == pytest.approx([0.8 * 64 / 3] * 3)
    assert frequency[3:9].tolist() == pytest.approx([0.2 * 64 / 6] * 6)
    assert frequency[9] == pytest.approx(64)
    assert frequency.sum() == pytest.approx(128)


def test_an_epoch_of_many_patches_shows_as_many() -> None:
    frequency = direct_patches(patch_set([*"AB"] * 100, [*[False] * 198, True, True]), OUTPUTS)[0].frequency
    assert frequency[:198].tolist() == pytest.approx([1.0] * 198)


def test_nothing_is_taken_for_what_nobody_annotated() -> None:
    """The outputs of an empty place, or of an ontology without boxes, are pushed below Unknown."""
    training, sets = direct_patches(patch_set(["A", "A"], [False, False]), OUTPUTS)
    logits = torch.zeros(1, 4, 1, 1, requires_grad=True)
    not_a = training.target[:1, 3:, :1]
    loss = direct_objective(OUTPUTS, sets, training).loss(logits, not_a, torch.tensor([[[True]]]))
    torch.autograd.backward(loss)
    assert logits.grad is not None
    gradient = logits.grad[0, :, 0, 0]
    assert (gradient[:3] > 0).all()
    assert gradient[3] < 0
    # Alike for A, for the empty place and for B, and A alone is annotated.
    assert loss.item() == pytest.approx(3 * np.log(2))


def test_drawn_pixels_weigh_more_where_they_are_shown_less() -> None:
    """Of A half of the boxes is drawn, of B a quarter of them; each is what the other is not."""
    patches = patch_set(["A", "B"], [False, False])
    patches.drawn[1, 1] = False
    training, sets = direct_patches(patches, OUTPUTS)
    logits = torch.zeros(1, 4, 1, 1)
    logits[:, 3] = 1.0
    loss = direct_objective(OUTPUTS, sets, training).loss
    times = float(training.frequency[0])
    others = times * (8 + 4)  # not drawn in its own box, and drawn as the other
    weight = (others / (times * 8)) ** 0.5
    drawn_a = loss(logits, training.target[:1, :1, :1], torch.ones(1, 1, 1))
    both = loss(
        logits.expand(1, 4, 1, 2), torch.cat([training.target[:1, :1, :1], training.target[:1, 3:, :1]], dim=2),
        torch.ones(1, 1, 2),
    )  # fmt: skip
    is_a, is_not = np.log(1 + np.e), np.log(1 + 1 / np.e)
    p = float(torch.softmax(logits, dim=1)[0, 0, 0, 0])
    # B is known once not to be there; the empty place and the one without boxes likewise wherever anything is known.
    expected = ((weight * is_a + is_not) / (weight + 1) + 2 * is_not) / 2 + 1 - (2 * p + 1) / (2 * p + 2)
    assert both.item() == pytest.approx(expected, rel=1e-5)
    assert drawn_a.item() > both.item()
