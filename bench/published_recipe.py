"""The published design's training: Adam at 2.5e-5 without a schedule, batches of 32, eight fixed copies, float32."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from held_out import HeldOut, Point
from pom.networks.orientations import N_ORIENTATIONS, orient
from pom.training.data import LabelledPatches
from published_design import STRIDE, PublishedUNet

LEARNING_RATE = 2.5e-5
BATCH_SIZE = 32
SECONDS_BETWEEN_SCORES = 120.0


def train_published(
    patches: LabelledPatches,
    steps: int,
    seconds: float,
    goal: float,
    held_out: HeldOut,
    device: str,
    now: Callable[[], float] = time.perf_counter,
) -> list[Point]:
    """Trains the published design: ``steps`` at least, then until ``goal`` is reached or ``seconds`` are over.

    ``now`` is the clock that counts them.

    Returns:
        The points at which it was scored; the first, which is not (NaN), is that after ``steps``.
    """
    torch.manual_seed(0)
    network = PublishedUNet(patches.images.shape[1], 1).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    batches = _batches(patches)
    _step(network, optimiser, next(batches), device)  # to warm up

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        network.eval()
        with torch.inference_mode():
            answers = [_padded_prediction(network, torch.from_numpy(image[None]).to(device)) for image in images]
        network.train()
        return torch.cat(answers).cpu().numpy()

    points: list[Point] = []
    clock, shown, taken, last_score = 0.0, 0, 0, 0.0
    while True:
        started = now()
        batch = next(batches)
        _step(network, optimiser, batch, device)
        clock += now() - started
        shown, taken = shown + len(batch[0]), taken + 1
        if taken < steps:
            continue
        if taken == steps:
            points.append(Point(clock, shown, float("nan")))
        is_over = clock >= seconds
        if seconds > 0 and (is_over or clock - last_score > SECONDS_BETWEEN_SCORES):
            points.append(Point(clock, shown, held_out.score(predict)))
            last_score = clock
        if is_over or points[-1].dice >= goal:
            return points


def _batches(patches: LabelledPatches) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless shuffled batches of images, target and valid from eight copies of every patch."""
    target, valid = patches.target.float(), patches.valid.float()
    copies = [torch.cat([orient(part, k) for k in range(N_ORIENTATIONS)]) for part in (patches.images, target, valid)]
    while True:
        for chosen in torch.split(torch.randperm(len(copies[0])), BATCH_SIZE):
            images, drawn, known = (part[chosen] for part in copies)
            yield images, drawn, known


def _step(
    network: PublishedUNet, optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor, Tensor], device: str
) -> None:
    images, drawn, known = (part.to(device) for part in batch)
    optimiser.zero_grad()
    loss = F.binary_cross_entropy_with_logits(network(images)[:, 0], drawn, known, reduction="sum") / known.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    loss.item()  # waits for a GPU


def _padded_prediction(network: PublishedUNet, image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect")
    return torch.sigmoid(network(padded)[:, 0, :height, :width])
