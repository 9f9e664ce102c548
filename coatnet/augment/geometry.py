"""Geometry: crop, resize, flip and a policy's shears, translations and rotations, as one map and one sampling.

The map goes from an output pixel back to the source: undo the policy's operations, undo the flip, then scale into the
crop. It acts as though the crop had been cut out first: beyond the crop is black, at its border the nearest pixel
holds. Coordinates are of pixel centres; boxes are (left, top, width, height) in whole source pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from .policy import Op
from .random import integer, uniform
from .rows import update_rows

CROP_ATTEMPTS = 10
CROP_LANES = 2 * CROP_ATTEMPTS + 2


def draw_crop(
    bits_bl: Tensor, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> Tensor:
    """Boxes, B x 4 int64, distributed as torchvision's `RandomResizedCrop`: the first of ten attempts that fits.

    Args:
        bits_bl: B x CROP_LANES draws.
        scale: least and greatest share of the image's area.
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
    return (in_y[:, :, None] & in_x[:, None, :]).unsqueeze(1)


def policy_map(operation_bn: Tensor, magnitude_bn: Tensor, image_size: int) -> Tensor:
    """Where each output pixel comes from under a chain of geometric operations; the others change nothing.

    Signs, centres and the whole-pixel translations are torchvision's: rotation is counter-clockwise about the centre,
    a shear leaves the top row (x) or the left column (y) where it is.

    Returns:
        B x 2 x 3: source = map[:, :, :2] @ output + map[:, :, 2], in pixels from the centre of the output.
    """
    composed = None
    for op, magnitude in zip(operation_bn.unbind(1), magnitude_bn.unbind(1), strict=True):
        angle = torch.deg2rad(torch.where(op == Op.Rotate, magnitude, 0))
        cos, sin = angle.cos(), angle.sin()
        shear_x, shear_y = torch.where(op == Op.ShearX, magnitude, 0), torch.where(op == Op.ShearY, magnitude, 0)
        move_x = torch.where(op == Op.TranslateX, magnitude, 0).trunc()
        move_y = torch.where(op == Op.TranslateY, magnitude, 0).trunc()
        half = image_size / 2
        step = torch.stack(
            [cos, shear_x - sin, shear_x * half - move_x, shear_y + sin, cos, shear_y * half - move_y], 1
        ).view(-1, 2, 3)
        composed = step if composed is None else _compose(composed, step)
    return composed


def _compose(outer_b23: Tensor, inner_b23: Tensor) -> Tensor:
    # Written out: a matrix product may be rounded to TF32 on a GPU, and a coordinate needs all its bits.
    linear = outer_b23[:, :, :1] * inner_b23[:, :1] + outer_b23[:, :, 1:2] * inner_b23[:, 1:]
    return linear + torch.nn.functional.pad(outer_b23[:, :, 2:], (2, 0))


def sample(
    images_bchw: Tensor,
    box_b4: Tensor,
    flip_b: Tensor,
    map_b23: Tensor | None,
    image_size: int,
    fill: Tensor,
    interpolation: str = "bilinear",
) -> Tensor:
    """Crop, resize, flip and the policy's map in one sampling. No antialiasing: a smaller output than the crop skips
    pixels at more than twice the step.

    Args:
        images_bchw: float32.
        box_b4: crops, as `draw_crop` gives them.
        flip_b: bool, mirror left and right.
        map_b23: of `policy_map`; None is the identity.
        fill: 3 values, what is beyond the crop.

    Returns:
        B x 3 x image_size x image_size.
    """
    output = torch.arange(image_size, device=images_bchw.device) - (image_size - 1) / 2
    if images_bchw.device.type != "cpu":
        if map_b23 is None:
            map_b23 = torch.eye(2, 3, device=images_bchw.device).expand(len(images_bchw), 2, 3)
        return _sample_map(images_bchw, box_b4, flip_b, map_b23, output, fill, interpolation)
    x = _sample_axes(images_bchw, box_b4, flip_b, output, interpolation)
    if map_b23 is None:
        return x
    moved_b = (map_b23 != torch.eye(2, 3)).flatten(1).any(1)
    return update_rows(
        moved_b,
        lambda _, images, box, flip, map: _sample_map(images, box, flip, map, output, fill, interpolation),
        x,
        images_bchw,
        box_b4,
        flip_b,
        map_b23,
    )


def _source(box_b4: Tensor, flip_b: Tensor, u: Tensor, v: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Source pixels of the points (u, v) of the upright output; u and v are B x anything."""
    left, top, w, h = (side.view(-1, *[1] * (u.ndim - 1)) for side in box_b4.float().unbind(1))
    sign = torch.where(flip_b, -1.0, 1.0).view_as(left)
    return left + w / 2 - 0.5 + u * (sign * w / size), top + h / 2 - 0.5 + v * (h / size)


def _sample_axes(images: Tensor, box_b4: Tensor, flip_b: Tensor, output: Tensor, interpolation: str) -> Tensor:
    """Without a map the axes part: two small matrix products, on a CPU several times quicker than `grid_sample`."""
    b, c, height, width = images.shape
    x_bs, y_bs = _source(box_b4, flip_b, output.expand(b, -1), output.expand(b, -1), len(output))
    left, top, w, h = (side[:, None] for side in box_b4.unbind(1))

    def weights(at_bs, first, count, pixels):
        at_bs = at_bs.clamp(first, first + count - 1)
        if interpolation == "nearest":
            at_bs = at_bs.round()
        return (1 - (at_bs[:, None, :] - torch.arange(pixels)[:, None]).abs()).clamp_(min=0)  # B x pixels x S

    rows = images.reshape(b, c * height, width).bmm(weights(x_bs, left, w, width))
    return weights(y_bs, top, h, height).mT[:, None] @ rows.view(b, c, height, -1)


def _sample_map(
    images: Tensor, box_b4: Tensor, flip_b: Tensor, map_b23: Tensor, output: Tensor, fill: Tensor, interpolation: str
) -> Tensor:
    height, width = images.shape[-2:]
    (xx, xy, x0), (yx, yy, y0) = (row.unbind(1) for row in map_b23[..., None, None].unbind(1))
    u = xx * output + xy * output[:, None] + x0  # B x S x S
    v = yx * output + yy * output[:, None] + y0
    x, y = _source(box_b4, flip_b, u, v, len(output))
    left, top, w, h = (side[:, None, None] for side in box_b4.unbind(1))
    inside = (x >= left - 0.5) & (x <= left + w - 0.5) & (y >= top - 0.5) & (y <= top + h - 0.5)
    x, y = x.clamp(left, left + w - 1), y.clamp(top, top + h - 1)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    sampled = grid_sample(images, grid, mode=interpolation, padding_mode="border", align_corners=False)
    return torch.where(inside[:, None], sampled, fill.view(1, -1, 1, 1))
