"""Random erasing, mixup and cutmix, each image its own draw.

Zhong et al. 2017, "Random erasing"; Zhang et al. 2017, "mixup"; Yun et al. 2019, "CutMix". Boxes are drawn as
torchvision's `RandomErasing` and `CutMix` draw them. Boxes are (left, top, width, height) in pixels, B x 4 int64.
"""

import math

import torch
from torch import Tensor

from ..params import EraseParams
from . import cpu
from .geometry import inside_box
from .random import beta, integer, uniform

ERASE_ATTEMPTS = 10
ERASE_LANES = 2 * ERASE_ATTEMPTS + 3
MIX_LANES = 5


def draw_erase(bits_bl: Tensor, params: EraseParams, probability: float, size: int) -> Tensor:
    """Boxes to erase, empty where the image keeps all its pixels: the first of ten attempts that fits.

    Args:
        bits_bl: B x ERASE_LANES draws.
    """
    area_ba = uniform(bits_bl[:, :ERASE_ATTEMPTS], *params.area) * size**2
    low, high = map(math.log, params.ratio)
    ratio_ba = uniform(bits_bl[:, ERASE_ATTEMPTS : 2 * ERASE_ATTEMPTS], low, high).exp()
    h_ba, w_ba = (area_ba * ratio_ba).sqrt().round().long(), (area_ba / ratio_ba).sqrt().round().long()
    fits_ba = (h_ba < size) & (w_ba < size)
    first_b1 = fits_ba.int().argmax(1, keepdim=True)
    w_b, h_b = w_ba.gather(1, first_b1).squeeze(1), h_ba.gather(1, first_b1).squeeze(1)
    left_b, top_b = integer(bits_bl[:, -3], size - w_b + 1), integer(bits_bl[:, -2], size - h_b + 1)
    erased_b = (uniform(bits_bl[:, -1]) < probability) & fits_ba.any(1)
    return torch.stack([left_b, top_b, w_b, h_b], 1) * erased_b[:, None]


def draw_mix(
    bits_b5: Tensor, mixup: tuple[float, float], cutmix: tuple[float, float], size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixup, cutmix or neither for each image.

    Args:
        bits_b5: B x MIX_LANES draws.
        mixup, cutmix: probability and alpha.

    Returns:
        the partner's weight in mixup (0 without), cutmix's box (empty without), and the partner's weight in the label:
        mixup's own, or the fraction of the pixels that lie in the box once it is clipped to the image.
    """
    kind_b = uniform(bits_b5[:, 0])
    is_mixup_b, is_cutmix_b = kind_b < mixup[0], (kind_b >= mixup[0]) & (kind_b < mixup[0] + cutmix[0])
    lambda_b = beta(bits_b5[:, 1:3], torch.where(is_mixup_b, mixup[1], cutmix[1]))
    weight_b = lambda_b * is_mixup_b
    half_b1 = (0.5 * size * lambda_b.sqrt()).long()[:, None]
    centre_b2 = integer(bits_b5[:, 3:5], size)
    low_b2 = (centre_b2 - half_b1).clamp(min=0)
    sides_b2 = (centre_b2 + half_b1).clamp(max=size) - low_b2
    box_b4 = torch.cat([low_b2, sides_b2], 1) * is_cutmix_b[:, None]
    return weight_b, box_b4, weight_b + box_b4[:, 2:].prod(1) / size**2


@cpu.replaced_by(cpu.erase)
def erase(x_bchw: Tensor, box_b4: Tensor) -> Tensor:
    """Zeros in the boxes; writes into `x_bchw`."""
    return x_bchw.masked_fill_(inside_box(box_b4, *x_bchw.shape[2:]), 0)


@cpu.replaced_by(cpu.mix)
def mix(x_bchw: Tensor, weight_b: Tensor, box_b4: Tensor) -> Tensor:
    """Blends each image with its partner, the one before it in the batch, and pastes the partner's box into it.

    May write into `x_bchw`.
    """
    inside = inside_box(box_b4, *x_bchw.shape[2:])
    return torch.lerp(x_bchw, x_bchw.roll(1, 0), torch.where(inside, 1.0, weight_b.view(-1, 1, 1, 1)))
