"""Batches of images that lie on the device whole: no worker process, no copy and no host synchronisation a step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..errors import UserError
from ..seeds import derive_seed


class Batches:
    """The batches of an epoch, cut from one permutation of all images.

    What a batch holds depends on (seed, epoch, step, rank) alone. The permutation is drawn on the CPU, so it is the
    same on every device; rank r gets slice r of every global batch, so the global batch is the same for any `world`.

    Args:
        images: uint8 or float, N x ..., already on the device.
        labels: int64, N, on the same device.
        batch_size: images a step, over all processes.
        seed: with the epoch, the only source of the order.
        rank: this process, from 0.
        world: number of processes.

    Raises:
        UserError: `batch_size` exceeds the number of images, or `world` does not divide it.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, batch_size: int, seed: int, rank: int = 0, world: int = 1):
        if batch_size > len(images):
            raise UserError(f"train.batch_size={batch_size} exceeds the {len(images)} training images: make it smaller")
        if batch_size % world:
            raise UserError(f"train.batch_size={batch_size} is not divisible by the {world} processes: make it so")
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world

    def __len__(self) -> int:
        """Steps an epoch; an incomplete last batch is dropped."""
        return len(self.images) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yields (step, images, labels), `batch_size / world` images each."""
        generator = torch.Generator().manual_seed(derive_seed("order", self.seed, epoch))
        order = torch.randperm(len(self.images), generator=generator).to(self.images.device)
        here = self.batch_size // self.world
        for step in range(len(self)):
            start = step * self.batch_size + self.rank * here
            chosen = order[start : start + here]
            yield step, self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
