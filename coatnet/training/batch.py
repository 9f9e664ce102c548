"""What one process trains on in one step."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ..errors import UserError
from ..machine.processes import World
from ..params import TrainParams


class Batch(NamedTuple):
    epoch: int  # from 0
    step: int  # of the epoch, from 0
    only: str | None  # the one augmentation to use (`augment.passes`); None: each with its own probability
    images: Tensor  # uint8, b x 3 x h x w
    labels: Tensor  # int64, b

    def parts(self, count: int) -> Iterator["Batch"]:
        """The batch in `count` equal parts, each with a step number of its own for what is random in it."""
        pairs = zip(self.images.chunk(count), self.labels.chunk(count), strict=True)
        for i, (images, labels) in enumerate(pairs):
            yield self._replace(step=self.step * count + i, images=images, labels=labels)


def check_parts(train: TrainParams, world: World) -> None:
    """Raises `UserError` where the batch cannot be cut into equal parts for as many processes as there are."""
    try:
        train.check_parts(world.size)
    except ValueError as error:
        raise UserError(str(error)) from None
