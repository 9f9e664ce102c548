"""What differs between a CPU and a GPU: whether to look at the drawn values before working on the images."""

from collections.abc import Callable

import torch
from torch import Tensor


def on_host(x: Tensor) -> bool:
    """Whether a drawn value can be read at once. A GPU would first have to finish all that is queued before it."""
    return x.device.type == "cpu"


def update_rows(rows_b: Tensor, function: Callable[..., Tensor], x: Tensor, *arguments: Tensor) -> Tensor:
    """`x`, with `function(x, *arguments)` in the rows where `rows_b` is true; may write into `x`.

    A CPU works on these rows alone; a GPU works on all rows and picks.
    """
    if not on_host(x):
        return torch.where(rows_b.view(-1, *[1] * (x.ndim - 1)), function(x, *arguments), x)
    index = rows_b.nonzero().squeeze(1)
    if len(index):
        x.index_copy_(0, index, function(*(a.index_select(0, index) for a in (x, *arguments))))
    return x
