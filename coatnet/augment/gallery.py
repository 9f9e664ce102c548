"""One image under every operation: what a policy can do to it."""

import torch
from torch import Tensor

from .colour import apply_colour
from .geometry import policy_map, sample
from .policy import Op, magnitudes

_BINS = (6, 12, 18, 24, 30)  # of TrivialAugment's 31


def every_operation(image_chw: Tensor, interpolation: str = "bilinear") -> dict[Op, tuple[list[float], Tensor]]:
    """One uint8 image under each operation at five magnitudes of TrivialAugment's range, the weakest first.

    Returns:
        by operation: the magnitudes (see `policy.magnitudes`) and the images, 5 x 3 x H x H uint8, where H is the
        image's height. An operation without magnitudes has one image.
    """
    size = image_chw.shape[1]
    results = {}
    for op in Op:
        values = magnitudes(op, 31, size, wide=True)[list(_BINS)]
        values = values[: len(values) if values.any() else 1]
        results[op] = (values.tolist(), _apply(image_chw, op, values, interpolation))
    return results


def _apply(image_chw: Tensor, op: Op, values_n: Tensor, interpolation: str) -> Tensor:
    size, n = image_chw.shape[1], len(values_n)
    operation_n1, magnitude_n1 = torch.full((n, 1), int(op)), values_n[:, None]
    images, inside = image_chw.expand(n, -1, -1, -1), torch.ones(n, 1, *image_chw.shape[1:], dtype=torch.bool)
    images, table = apply_colour(images, operation_n1, magnitude_n1, inside)
    box_n4, flip_n = torch.tensor([[0, 0, image_chw.shape[2], size]]).expand(n, 4), torch.zeros(n, dtype=torch.bool)
    map_n23 = policy_map(operation_n1, magnitude_n1, size)
    return sample(images, table.float(), box_n4, flip_n, map_n23, size, torch.zeros(3), interpolation).round().byte()
