"""Training data as tensors, and the order in which an epoch shows them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Examples(Protocol):
    """What a network learns from: a frozen dataclass of tensors, which gives batches for lists of indices."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def strata(self) -> Tensor:
        """(n,) int64: examples of one stratum are spread evenly over an epoch."""

    @property
    def frequency(self) -> Tensor:
        """(n,) float64: how often an epoch shows an example, on average; 1 is once, 0.5 every other epoch."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class LabelledPatches(Dataset[dict[str, Tensor]]):
    """Patches with what the loss and the validation figures ask for."""

    images: Tensor
    """(n, channel, y, x) float32."""
    target: Tensor
    """(n, y, x), whole numbers that the loss understands: the class that it wants (single network: 1 where drawn), or
    the set of classes that are allowed."""
    valid: Tensor
    """(n, y, x) bool: where the loss counts."""
    own: Tensor
    """(n,) int64: the output whose validation figures a patch contributes to."""
    drawn: Tensor
    """(n, y, x) bool: where that output is right."""
    known: Tensor
    """(n, y, x) bool: where a person said whether it is."""
    strata: Tensor
    """(n,) int64: patches of one stratum are spread evenly over an epoch."""
    frequency: Tensor
    """(n,) float64: how often an epoch shows a patch, on average; 1 is once an epoch, 0.5 every other epoch."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        """A batch: the patches at a list of indices."""
        return {name: getattr(self, name)[indices] for name in self.__dataclass_fields__}

    def at(self, indices: NDArray[np.intp]) -> "LabelledPatches":
        """The patches at an array of indices, as a set of their own."""
        return LabelledPatches(**self[indices.tolist()])


class PatchData(pl.LightningDataModule):
    """The batches of a training, for however many processes there are.

    Args:
        training: what to learn from.
        validation: what to judge by, may be none.
        batch_size: examples per batch and process.
        seed: of the order.
    """

    def __init__(self, training: Examples, validation: Examples, batch_size: int, seed: int) -> None:
        super().__init__()
        self._training = training
        self._validation = validation
        self._batch_size = batch_size
        self._seed = seed

    def batches_per_epoch(self, processes: int) -> int:
        """Batches that each of ``processes`` gets in an epoch."""
        return len(self._order(self._training, 0, processes))

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """The training batches of this process."""
        return self._loader(self._training)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]] | list[object]:
        """The validation batches of this process."""
        return self._loader(self._validation) if len(self._validation) else []

    def _loader(self, examples: Examples) -> DataLoader[dict[str, Tensor]]:
        assert self.trainer is not None
        batches = self._order(examples, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(examples, sampler=batches, batch_size=None)  # type: ignore[arg-type]

    def _order(self, examples: Examples, rank: int, processes: int) -> "EpochBatches":
        return EpochBatches(examples.strata, examples.frequency, self._batch_size, self._seed, rank, processes)


class EpochBatches(Sampler[list[int]]):
    """Batches of indices that show every patch as often as it should be, with the strata spread over the batches.

    Lightning tells the epoch through ``set_epoch``, so that an epoch is the same whether training was interrupted
    before it or not.

    Args:
        strata: (n,) int64; patches of one stratum are spread over the epoch.
        frequency: (n,) float64; how often an epoch shows each patch. A patch of 0.5 is shown every other epoch, one
            of 2.5 twice and three times in turn.
        batch_size: patches per batch and process.
        seed: of the order.
        rank: this process, of ``processes``; each takes its own batches, as many as the others.
        processes: how many processes train together.
    """

    def __init__(
        self, strata: Tensor, frequency: Tensor, batch_size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self._strata = strata
        self._frequency = frequency
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._n_batches() / self._processes)

    def __iter__(self) -> Iterator[list[int]]:
        shown = self._shown()
        random = seeded(self._seed, self._epoch)
        place = _spread(self._strata[shown], random)
        batches = [batch.tolist() for batch in shown[place.argsort()].tensor_split(self._n_batches())]
        # The last round is filled up from the front: every process must take as many steps as the others.
        batches += batches[: len(self) * self._processes - len(batches)]
        yield from batches[self._rank :: self._processes]

    def _shown(self) -> Tensor:
        """The patches of this epoch; those shown twice are there twice."""
        # Each patch counts on from its own start, so that an epoch of every stratum is about as long as any other.
        start = _spread(self._strata, seeded(self._seed))
        before, after = (torch.floor(self._frequency * epoch + start) for epoch in (self._epoch, self._epoch + 1))
        return torch.arange(len(self._strata)).repeat_interleave((after - before).long())

    def _n_batches(self) -> int:
        return math.ceil(round(float(self._frequency.sum())) / self._batch_size)


def _spread(strata: Tensor, random: Generator) -> Tensor:
    """Places in 0..1, at random; those of one stratum lie at even distances."""
    place = torch.empty(len(strata), dtype=torch.float64)
    for stratum in torch.unique(strata):
        members = torch.nonzero(strata == stratum)[:, 0]
        shuffled = members[torch.randperm(len(members), generator=random)]
        place[shuffled] = (torch.arange(len(members)) + torch.rand(1, generator=random).double()) / len(members)
    return place


def seeded(*numbers: int) -> Generator:
    """A generator on the CPU that depends on all of the numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % 2**63
    return Generator().manual_seed(mixed)
