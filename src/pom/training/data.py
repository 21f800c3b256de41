"""Training data as tensors, and the order in which an epoch shows them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class LabelledPatches(Dataset[dict[str, Tensor]]):
    """Patches with what the loss and the validation figures ask for."""

    images: Tensor
    """(n, channel, y, x) float32."""
    target: Tensor
    """(n, y, x) uint8: the class that the loss wants (single network: 1 where drawn)."""
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
        training: patches to learn from.
        validation: patches to judge by, may be none.
        batch_size: patches per batch and process.
        seed: of the order.
    """

    def __init__(self, training: LabelledPatches, validation: LabelledPatches, batch_size: int, seed: int) -> None:
        super().__init__()
        self._training = training
        self._validation = validation
        self._batch_size = batch_size
        self._seed = seed

    def batches_per_epoch(self, processes: int) -> int:
        """Batches that each of ``processes`` gets in an epoch."""
        return len(EpochBatches(self._training.strata, self._batch_size, self._seed, 0, processes))

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """The training batches of this process."""
        return self._loader(self._training)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]] | list[object]:
        """The validation batches of this process."""
        return self._loader(self._validation) if len(self._validation) else []

    def _loader(self, patches: LabelledPatches) -> DataLoader[dict[str, Tensor]]:
        assert self.trainer is not None
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        batches = EpochBatches(patches.strata, self._batch_size, self._seed, rank, processes)
        return DataLoader(patches, sampler=batches, batch_size=None)


class EpochBatches(Sampler[list[int]]):
    """Batches of indices that show every patch once an epoch, with the outputs spread evenly over the batches.

    Lightning tells the epoch through ``set_epoch``, so that an epoch is the same whether training was interrupted
    before it or not.

    Args:
        strata: (n,) int64; patches of one stratum are spread over the epoch.
        batch_size: patches per batch and process.
        seed: of the order.
        rank: this process, of ``processes``; each takes its own batches, as many as the others.
        processes: how many processes train together.
    """

    def __init__(self, strata: Tensor, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self._strata = strata
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
        random = seeded(self._seed, self._epoch)
        place = torch.empty(len(self._strata))
        for stratum in torch.unique(self._strata):
            members = torch.nonzero(self._strata == stratum)[:, 0]
            shuffled = members[torch.randperm(len(members), generator=random)]
            place[shuffled] = (torch.arange(len(members)) + torch.rand(1, generator=random)) / len(members)
        batches = [batch.tolist() for batch in place.argsort().tensor_split(self._n_batches())]
        # The last round is filled up from the front: every process must take as many steps as the others.
        batches += batches[: len(self) * self._processes - len(batches)]
        yield from batches[self._rank :: self._processes]

    def _n_batches(self) -> int:
        return math.ceil(len(self._strata) / self._batch_size)


def seeded(*numbers: int) -> Generator:
    """A generator on the CPU that depends on all of the numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number + 1) % 2**63
    return Generator().manual_seed(mixed)
