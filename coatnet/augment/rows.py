"""One operation for some rows of a batch, the way that is quick on each device."""

from collections.abc import Callable

import torch
from torch import Tensor


def update_rows(rows_b: Tensor, function: Callable[..., Tensor], x: Tensor, *arguments: Tensor) -> Tensor:
    """`x`, with `function(x, *arguments)` in the rows where `rows_b` is true; may write into `x`.

    A CPU works on these rows alone. A GPU works on all rows and picks, since to learn how many there are it would
    have to wait for everything that is queued before.
    """
    if x.device.type != "cpu":
        return torch.where(rows_b.view(-1, *[1] * (x.ndim - 1)), function(x, *arguments), x)
    index = rows_b.nonzero().squeeze(1)
    if len(index):
        x.index_copy_(0, index, function(x[index], *(a[index] for a in arguments)))
    return x
