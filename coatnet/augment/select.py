"""Work on some images of a batch: a GPU works on all and picks, since looking at what was drawn would wait for it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from . import cpu


@cpu.replaced_by(cpu.split_by_code)
def split_by_code(codes_b: Tensor, codes: Iterable[int]) -> dict[int, Tensor]:
    """Where each code stands, for `update_where`: B bool."""
    return {code: codes_b == code for code in codes}


@cpu.replaced_by(cpu.update_where)
def update_where(where: Tensor, x: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """`x`, with `function(*arguments)` for some images; may write into `x`.

    Args:
        where: the images, B bool, or as `split_by_code` gives them.
        arguments: B x anything.
    """
    return torch.where(where.view(-1, *[1] * (x.ndim - 1)), function(*arguments), x)
