"""What differs between a CPU and a GPU: whether to look at the drawn values before working on the images."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def on_host(x: Tensor) -> bool:
    """Whether a drawn value can be read at once. A GPU would first have to finish all that is queued before it."""
    return x.device.type == "cpu"


def split_rows(codes_b: Tensor, codes: Iterable[int]) -> dict[int, Tensor]:
    """The rows of each code, for `update_rows`: their numbers on a CPU, where codes without rows are left out."""
    if not on_host(codes_b):
        return {code: codes_b == code for code in codes}
    drawn_b = codes_b.numpy()  # a tenth of torch's time for arrays this small
    rows = {code: (drawn_b == code).nonzero()[0] for code in codes}
    return {code: torch.from_numpy(numbers) for code, numbers in rows.items() if len(numbers)}


def update_rows(rows: Tensor, x: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """`x`, with `function(*arguments)` in the given rows; may write into `x`.

    A CPU works on these rows of the arguments alone; a GPU works on all rows and picks.

    Args:
        rows: which rows, B bool; or their numbers, int64, on a CPU.
    """
    if not on_host(x):
        return torch.where(rows.view(-1, *[1] * (x.ndim - 1)), function(*arguments), x)
    if rows.dtype == torch.bool:
        rows = rows.nonzero().squeeze(1)
    if len(rows):
        # NumPy copies whole rows; torch's index_copy_ takes up to ten times as long.
        x.numpy()[rows.numpy()] = function(*(a.index_select(0, rows) for a in arguments)).numpy()
    return x
