"""Geometry: crop, resize, flip and a policy's shears, translations and rotations, as one map and one sampling.

The map goes from an output pixel back to the source: undo the policy's operations, undo the flip, then scale into the
crop. It acts as though the crop had been cut out first: beyond the crop is black, at its border the nearest pixel
holds. Coordinates are of pixel centres; boxes are (left, top, width, height) in whole source pixels.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from . import cpu
from .colour import look_up
from .policy import Op
from .random import integer, uniform
from .select import update_where

CROP_ATTEMPTS = 10
CROP_LANES = 2 * CROP_ATTEMPTS + 2


def draw_crop(
    bits_bl: Tensor, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Tensor:
    """Boxes, B x 4 int64, distributed as torchvision's `RandomResizedCrop`: the first of ten attempts that fits.

    Args:
        bits_bl: B x CROP_LANES draws.
        scale: least and greatest fraction of the image's area.
        ratio: least and greatest width / height, drawn evenly on a logarithmic scale.
    """
    area_ba = uniform(bits_bl[:, :CROP_ATTEMPTS], *scale) * (height * width)
    log_ratio = uniform(bits_bl[:, CROP_ATTEMPTS : 2 * CROP_ATTEMPTS], math.log(ratio[0]), math.log(ratio[1]))
    w_ba = (area_ba * log_ratio.exp()).sqrt().round().long()
    h_ba = (area_ba / log_ratio.exp()).sqrt().round().long()
    fits_ba = (w_ba > 0) & (w_ba <= width) & (h_ba > 0) & (h_ba <= height)
    # Where none fits: the largest central crop with a ratio in the range.
    nearest = min(max(width / height, ratio[0]), ratio[1])
    full_w, full_h = min(width, round(height * nearest)), min(height, round(width / nearest))
    some_b, first_b1 = fits_ba.any(1), fits_ba.int().argmax(1, keepdim=True)
    w_b = torch.where(some_b, w_ba.gather(1, first_b1).squeeze(1), full_w)
    h_b = torch.where(some_b, h_ba.gather(1, first_b1).squeeze(1), full_h)
    left_b = torch.where(some_b, integer(bits_bl[:, -2], width - w_b + 1), (width - full_w) // 2)
    top_b = torch.where(some_b, integer(bits_bl[:, -1], height - h_b + 1), (height - full_h) // 2)
    return torch.stack([left_b, top_b, w_b, h_b], 1)


def inside_box(box_b4: Tensor, height: int, width: int) -> Tensor:
    """B x 1 x height x width bool: the pixels in each image's box."""
    left, top, w, h = (side[:, None] for side in box_b4.unbind(1))
    x, y = torch.arange(width, device=box_b4.device), torch.arange(height, device=box_b4.device)
    in_x, in_y = (x >= left) & (x < left + w), (y >= top) & (y < top + h)
    # As bytes: a CPU has vector code for these, not for bool.
    inside = in_y.view(torch.uint8)[:, :, None] & in_x.view(torch.uint8)[:, None, :]
    return inside.view(torch.bool).unsqueeze(1)


def policy_map(operation_bn: Tensor, magnitude_bn: Tensor, image_size: int) -> Tensor:
    """Where each output pixel comes from under a chain of geometric operations; the others change nothing.

    Signs, centres and the whole-pixel translations are torchvision's: rotation is counter-clockwise about the centre,
    a shear leaves the top row (x) or the left column (y) where it is.

    Returns:
        B x 2 x 3: source = map[:, :, :2] @ output + map[:, :, 2], in pixels from the centre of the output.
    """
    angle = torch.deg2rad(torch.where(operation_bn == Op.Rotate, magnitude_bn, 0))
    cos, sin = angle.cos(), angle.sin()
    shear_x, shear_y, move_x, move_y = (
        torch.where(operation_bn == op, magnitude_bn, 0) for op in (Op.ShearX, Op.ShearY, Op.TranslateX, Op.TranslateY)
    )
    half = image_size / 2
    x = [cos, shear_x - sin, shear_x * half - move_x.trunc()]
    y = [shear_y + sin, cos, shear_y * half - move_y.trunc()]
    steps = torch.stack(x + y, 2).unflatten(2, (2, 3)).unbind(1)
    return functools.reduce(_compose, steps)


def _compose(outer_b23: Tensor, inner_b23: Tensor) -> Tensor:
    # Written out: a matrix product may be rounded to TF32 on a GPU, and a coordinate needs all its bits.
    linear = outer_b23[:, :, :1] * inner_b23[:, :1] + outer_b23[:, :, 1:2] * inner_b23[:, 1:]
    return linear + torch.nn.functional.pad(outer_b23[:, :, 2:], (2, 0))


def sample(
    images_bchw: Tensor,
    table_bcv: Tensor,
    box_b4: Tensor,
    flip_b: Tensor,
    map_b23: Tensor,
    image_size: int,
    fill: Tensor,
    interpolation: str = "bilinear",
) -> Tensor:
    """Look-up, crop, resize, flip and the policy's map in one sampling.

    There is no antialiasing: an output of less than half the crop's size skips pixels.

    Args:
        images_bchw: uint8.
        table_bcv: float32, B x 3 x 256: what each value becomes before it is sampled.
        box_b4: crops, as `draw_crop` gives them.
        flip_b: bool, mirror left and right.
        map_b23: of `policy_map`.
        fill: 3 values, what is beyond the crop.

    Returns:
        float32, B x 3 x image_size x image_size.
    """
    scale_b2, centre_b2 = _to_source(box_b4, flip_b, image_size)
    source = (images_bchw, table_bcv, box_b4, scale_b2, centre_b2)
    offset = torch.arange(image_size, device=images_bchw.device) - (image_size - 1) / 2
    sample_map = functools.partial(_sample_map, offset=offset, fill=fill, interpolation=interpolation)
    if cpu.serves(images_bchw):
        unmoved_b = (map_b23 == torch.eye(2, 3)).flatten(1).all(1)
        if unmoved_b.any():
            x = cpu.resize(*source, offset, interpolation, unmoved_b)
            return update_where(~unmoved_b, x, sample_map, *source, map_b23)
    return sample_map(*source, map_b23)


def _to_source(box_b4: Tensor, flip_b: Tensor, image_size: int) -> tuple[Tensor, Tensor]:
    """Scale and centre, each B x 2 (x, y): source = scale * (pixels from the centre of the output) + centre."""
    first_b2, count_b2 = box_b4.float().split(2, 1)
    scale_b2 = count_b2 / image_size
    scale_b2[:, 0] *= 1 - 2 * flip_b.float()
    return scale_b2, first_b2 + (count_b2 - 1) / 2


def _sample_map(
    images: Tensor,
    table: Tensor,
    box_b4: Tensor,
    scale_b2: Tensor,
    centre_b2: Tensor,
    map_b23: Tensor,
    offset: Tensor,
    fill: Tensor,
    interpolation: str,
) -> Tensor:
    along_x_b21, along_y_b21, start_b21 = (scale_b2[:, :, None] * map_b23).split(1, 2)
    columns_b2s = along_x_b21 * offset + (start_b21 + centre_b2[:, :, None])
    at_b2ss = columns_b2s[:, :, None, :] + (along_y_b21 * offset)[:, :, :, None]
    first_b211, count_b211 = box_b4[:, :, None, None].split(2, 1)
    # Not `clamp`: with tensors for bounds a CPU has no vector code for it.
    nearest_b2ss = torch.maximum(at_b2ss, first_b211).clamp_(max=first_b211 + count_b211 - 1)
    beyond_x, beyond_y = at_b2ss.sub_(nearest_b2ss).abs_().unbind(1)
    grid_x, grid_y = nearest_b2ss.unbind(1)
    for grid, pixels in ((grid_x, images.shape[3]), (grid_y, images.shape[2])):
        grid.mul_(2 / pixels).add_(1 / pixels - 1)
    grid_x.masked_fill_(torch.maximum(beyond_x, beyond_y) > 0.5, 3)  # where grid_sample finds zeros
    fill, grid_bss2 = fill.view(-1, 1, 1), nearest_b2ss.permute(0, 2, 3, 1)
    values = look_up(images, table - fill.view(-1, 1))
    return grid_sample(values, grid_bss2, mode=interpolation, align_corners=False).add_(fill)
