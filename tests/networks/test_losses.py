import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pom.networks.losses import dice_loss, joint_loss, partial_loss, single_loss

N, CLASSES, SIDE = 3, 4, 8
Loss = Callable[[Tensor], Tensor]


def random_problem() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (n, class, y, x), labels and valid (n, y, x)."""
    random = torch.Generator().manual_seed(5)
    logits = torch.randn(N, CLASSES, SIDE, SIDE, generator=random)
    labels = torch.randint(CLASSES, (N, SIDE, SIDE), generator=random)
    return logits, labels, torch.rand(N, SIDE, SIDE, generator=random) < 0.6


def single(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    return single_loss(logits[:, :1], labels == 0, valid, drawn_weight=3.0)


def joint(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    return joint_loss(logits, labels, valid, torch.tensor([1.0, 2.0, 0.5, 3.0]))


def partial(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """In the right half it is only known what a pixel is not: the class after its label."""
    allowed = torch.nn.functional.one_hot(labels, CLASSES).bool()
    allowed[:, :, SIDE // 2 :] = ~allowed[:, :, SIDE // 2 :].roll(1, dims=3)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    return partial_loss(logits, allowed.permute(0, 3, 1, 2), valid, weights, torch.tensor([True] * CLASSES))


@pytest.mark.parametrize("loss", [single, joint, partial])
def test_invalid_pixels_do_not_count_at_all(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Other logits and labels there give the very same loss, and no gradient arrives there."""
    logits, labels, valid = random_problem()
    logits.requires_grad_()
    value = loss(logits, labels, valid)
    torch.autograd.backward(value)
    assert logits.grad is not None
    assert (logits.grad[~valid[:, None].expand_as(logits)] == 0).all()
    assert (logits.grad[:, 0][valid] != 0).all()
    other = torch.where(valid[:, None], logits, 100.0 * torch.randn(logits.shape))
    assert torch.equal(loss(other, torch.where(valid, labels, CLASSES - 1 - labels), valid), value)


@pytest.mark.parametrize("loss", [single, joint, partial])
def test_a_batch_without_a_valid_pixel_is_harmless(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    logits, labels, valid = random_problem()
    logits.requires_grad_()
    value = loss(logits, labels, torch.zeros_like(valid))
    torch.autograd.backward(value)
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", [single, joint])
def test_being_sure_and_right_costs_nothing(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    _, labels, valid = random_problem()
    right = 40.0 * torch.nn.functional.one_hot(labels, CLASSES).permute(0, 3, 1, 2) - 20.0
    assert loss(right, labels, valid).item() < 1e-5
    assert loss(-right, labels, valid).item() > 10


@pytest.mark.parametrize("loss", [single, joint, partial])
def test_half_precision_logits_are_summed_in_float32(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    logits, labels, valid = random_problem()
    half = logits.bfloat16()
    assert loss(half, labels, valid).dtype == torch.float32
    assert torch.equal(loss(half, labels, valid), loss(half.float(), labels, valid))


def test_single_loss_by_hand() -> None:
    """Four pixels: drawn and 3/4 sure, not drawn and 1/4 sure twice, and one that does not count."""
    logits = torch.tensor([math.log(3), -math.log(3), -math.log(3), 9.0]).reshape(1, 1, 2, 2)
    drawn = torch.tensor([True, False, False, True]).reshape(1, 2, 2)
    valid = torch.tensor([True, True, True, False]).reshape(1, 2, 2)
    entropy = -math.log(0.75)  # alike for all three, so that the weights do not matter
    dice = 1 - (2 * 0.75 + 1) / (0.75 + 0.25 + 0.25 + 1 + 1)
    assert single_loss(logits, drawn, valid, 1.0).item() == pytest.approx(entropy + dice)
    assert single_loss(logits, drawn, valid, 7.0).item() == pytest.approx(entropy + dice)


def test_drawn_pixels_weigh_more_in_the_single_loss() -> None:
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 1, 2)
    drawn, valid = torch.tensor([[[True, False]]]), torch.tensor([[[True, True]]])
    missed, extra = math.log(2), math.log(4)
    dice = 1 - (2 * 0.5 + 1) / (0.5 + 0.75 + 1 + 1)
    for weight in (1.0, 3.0):
        expected = (weight * missed + extra) / (weight + 1) + dice
        assert single_loss(logits, drawn, valid, weight).item() == pytest.approx(expected)


def test_without_a_drawn_pixel_the_cross_entropy_alone_counts() -> None:
    nothing, everything = torch.zeros(1, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2, dtype=torch.bool)
    assert single_loss(torch.zeros(1, 1, 2, 2), nothing, everything, 5.0).item() == pytest.approx(math.log(2))


def test_joint_loss_by_hand() -> None:
    """Two pixels of classes 0 and 1, of three; probabilities 1/2, 1/4, 1/4 and 1/3 each; class 2 does not occur."""
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])).T.reshape(1, 3, 1, 2)
    labels, valid = torch.tensor([[[0, 1]]]), torch.tensor([[[True, True]]])
    entropy = (1.0 * math.log(2) + 3.0 * math.log(3)) / (1.0 + 3.0)
    dice_0 = 1 - (2 * 0.5 + 1) / (0.5 + 1 / 3 + 1 + 1)
    dice_1 = 1 - (2 / 3 + 1) / (0.25 + 1 / 3 + 1 + 1)
    weights = torch.tensor([1.0, 3.0, 100.0])
    assert joint_loss(logits, labels, valid, weights).item() == pytest.approx(entropy + (dice_0 + dice_1) / 2)


def test_dice_loss_by_hand() -> None:
    probabilities = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.2, 0.2, 0.2, 1.0]]).reshape(1, 2, 2, 2)
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]).reshape(1, 2, 2, 2)
    known = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    # Class 0: overlap 1.5 of 1.5 + 2. Class 1 has its only target where nothing is known.
    assert dice_loss(probabilities, target, known).tolist() == pytest.approx([1 - 4 / 4.5, 0.0])


def test_partial_loss_by_hand() -> None:
    """Two classes and Unknown. Pixels: drawn as the first, not the first, not the second."""
    logits = torch.log(torch.tensor([4.0, 2.0, 1.0])).reshape(1, 3, 1, 1).expand(1, 3, 1, 3)
    allowed = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 1, 1]], dtype=torch.bool).reshape(1, 3, 1, 3)
    valid = torch.ones(1, 1, 3, dtype=torch.bool)
    weights, possible = torch.tensor([2.0, 9.0, 9.0]), torch.tensor([True] * 3)
    # Against Unknown the first class has 4/5, the second 2/3. Of the second it is known twice that it is not there.
    first = -(2.0 * math.log(4 / 5) + math.log(1 / 5)) / 3.0
    second = -math.log(1 / 3)
    # The first class alone occurs: it is known of the first two pixels whether they are of it.
    dice = 1 - (2 * 4 / 7 + 1) / (2 * 4 / 7 + 1 + 1)
    loss = partial_loss(logits, allowed, valid, weights, possible)
    assert loss.item() == pytest.approx((first + second) / 2 + dice)
    # Where nothing can be the second class, no pixel is; but the first, the only one, counts in full.
    possible = torch.tensor([True, False, True])
    loss = partial_loss(logits, allowed, valid, weights, possible)
    assert loss.item() == pytest.approx(first + second + dice)


def test_what_is_excluded_everywhere_ends_as_unknown() -> None:
    """By descent on the logits of a pixel that lies in a box of each class, undrawn."""
    logits = torch.zeros(1, 3, 1, 1, requires_grad=True)
    allowed = torch.tensor([False, False, True]).reshape(1, 3, 1, 1)
    for _ in range(50):
        loss = partial_loss(logits, allowed, torch.ones(1, 1, 1), torch.ones(3), torch.tensor([True] * 3))
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert torch.softmax(logits, dim=1)[0, :, 0, 0].argmax() == 2
