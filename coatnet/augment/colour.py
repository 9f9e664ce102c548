"""Colour operations on uint8 batches, each image its own, with torchvision's `transforms.v2.functional` arithmetic.

Invert, solarize, posterize, brightness, contrast, autocontrast and equalize are tables of 256 values a channel. A
chain of them is one table, since an operation can be done to the table as though it were the image. Colour and
sharpness blend each pixel with others, so the table is looked up before them.

What an operation measures (histogram, mean) it measures on the pixels in `inside_b1hw`, the image's crop.
Shapes: images B x 3 x H x W, tables B x 3 x 256, both uint8; magnitudes B.
"""

import functools
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from . import cpu
from .policy import Op
from .select import split_by_code, update_where


def apply_colour(
    images_bchw: Tensor,
    operation_bn: Tensor,
    magnitude_bn: Tensor,
    inside_b1hw: Tensor,
    operations: Collection[int] = frozenset(Op),
) -> tuple[Tensor, Tensor]:
    """Puts each image through its own chain of operations; those of geometry are passed over.

    Args:
        images_bchw: uint8, not written to.
        operation_bn: codes of `Op`, in the order in which they apply.
        magnitude_bn: float32, as `policy.magnitudes` has them, with signs.
        inside_b1hw: bool, the pixels that count for histograms and means.
        operations: those that may occur; the others are not even looked for.

    Returns:
        images and a table: `look_up(images, table)` is the result. The caller can first normalise the table.
    """
    identity = torch.arange(256, device=images_bchw.device, dtype=torch.uint8).expand(len(images_bchw), 3, 256)
    table, images = identity.clone(), images_bchw
    operations = [op for op in (*_BLENDS, *_TABLES) if op in operations]
    sees_pixels = [op for op in operations if op in _BLENDS or op == Op.Contrast]
    if sees_pixels:
        images = images.clone()
    for step, (operation_b, magnitude_b) in enumerate(zip(operation_bn.unbind(1), magnitude_bn.unbind(1), strict=True)):
        if step and sees_pixels:
            sees_pixels_b = functools.reduce(torch.logical_or, [operation_b == op for op in sees_pixels])
            sees_pixels_b &= (table != identity).flatten(1).any(1)
            images = update_where(sees_pixels_b, images, look_up, images, table)
            table = update_where(sees_pixels_b, table, torch.clone, identity)
        for op, which in split_by_code(operation_b, operations).items():
            if op in _BLENDS:
                images = update_where(which, images, _BLENDS[op], images, magnitude_b)
            else:
                pixels = (images, inside_b1hw) if op in _MEASURES else ()
                table = update_where(which, table, _TABLES[op], table, magnitude_b, *pixels)
    return images, table


@cpu.replaced_by(cpu.look_up)
def look_up(images: Tensor, table: Tensor) -> Tensor:
    """Each pixel's entry in its image's and channel's table, in the table's type."""
    return table.gather(2, images.flatten(2).long()).view_as(images)


def _to_uint8(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).to(torch.uint8)  # cut, not rounded, as torchvision does


def _column(magnitude_b: Tensor, like: Tensor) -> Tensor:
    return magnitude_b.view(-1, *[1] * (like.ndim - 1))


# Tables: function(table, magnitude) -> table, or with images and inside where they measure something.


def _invert(table: Tensor, _magnitude: Tensor) -> Tensor:
    return 255 - table


def _solarize(table: Tensor, magnitude: Tensor) -> Tensor:
    return torch.where(table >= 255 * _column(magnitude, table), 255 - table, table)


def _posterize(table: Tensor, magnitude: Tensor) -> Tensor:
    cut = 8 - _column(magnitude, table).to(torch.int32)
    return table & (256 - (1 << cut)).to(torch.uint8)


def _brightness(table: Tensor, magnitude: Tensor) -> Tensor:
    return _to_uint8(table * (1 + _column(magnitude, table)))


def _contrast(table: Tensor, magnitude: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    # Here the table is the identity: `apply_colour` has brought the pixels up to date.
    count = inside.sum((1, 2, 3))
    mean = ((_grey(images) * inside).sum((1, 2, 3)) / count)[:, None, None]
    factor = _column(magnitude, table)
    # torchvision adds the second product without rounding it first (a fused multiply-add): float64 stands in for that,
    # but on Apple's GPUs, which have none.
    wide = torch.float32 if table.device.type == "mps" else torch.float64
    return _to_uint8(((table * (1 + factor)).to(wide) - mean.to(wide) * factor).float())


def _auto_contrast(table: Tensor, _magnitude: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    occurs = _histogram(table, images, inside) > 0
    value = torch.arange(256.0, device=table.device)
    low = torch.where(occurs, value, 255).amin(2, keepdim=True)
    high = torch.where(occurs, value, 0).amax(2, keepdim=True)
    stretched = (table - low) / ((high - low) * (1 / 255))
    return torch.where(high == low, table, _to_uint8(stretched))


def _equalize(table: Tensor, _magnitude: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    # Pillow's scheme: the brightest value that occurs does not count, and a step of 0 leaves the channel as it is.
    histogram = _histogram(table, images, inside)
    cumulative = histogram.cumsum(2, dtype=torch.int32)
    total = cumulative[:, :, -1:]
    step = cumulative.masked_fill(cumulative == total, 0).amax(2, keepdim=True) // 255
    # A quotient of whole numbers below 2^24: cut after the rounding to float32, it is the whole division's.
    equalized = _to_uint8((cumulative - histogram + step // 2) / step.clamp(min=1))
    return torch.where(step == 0, table, equalized.gather(2, table.long()))


def _histogram(table: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    """Of the images as the table leaves them: pixels are counted as they are, then the counts are moved. int32."""
    counts = torch.zeros(table.shape, dtype=torch.int32, device=table.device)
    weight = inside.flatten(2).int().expand(-1, 3, -1)
    counts.scatter_add_(2, images.flatten(2).long(), weight)
    return torch.zeros_like(counts).scatter_add_(2, table.long(), counts)


# Blends: function(images, magnitude) -> images


def _grey(images: Tensor) -> Tensor:
    """Luma (ITU-R BT.601), cut to whole numbers, B x 1 x H x W float32."""
    red, green, blue = images.float().split(1, 1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def _colour(images: Tensor, magnitude: Tensor) -> Tensor:
    factor, images = _column(magnitude, images), images.float()
    return _to_uint8((images * (1 + factor)).sub_(_grey(images).mul_(factor)))


def _sharpness(images: Tensor, magnitude: Tensor) -> Tensor:
    # Border pixels stay. The smoothing kernel is Pillow's: 1 around 5, over 13.
    sharp = images.float()
    middle = sharp[:, :, 1:-1, 1:-1]
    rows_of_3 = sharp[:, :, :-2] + sharp[:, :, 1:-1] + sharp[:, :, 2:]
    nine = rows_of_3[..., :-2] + rows_of_3[..., 1:-1] + rows_of_3[..., 2:]  # on a CPU a tenth of `avg_pool2d`'s time
    smooth = ((nine + 4 * middle) / 13).round()
    middle += (middle - smooth) * _column(magnitude, images)
    return _to_uint8(sharp)


_BLENDS: dict[int, Callable[..., Tensor]] = {Op.Color: _colour, Op.Sharpness: _sharpness}
_TABLES: dict[int, Callable[..., Tensor]] = {
    Op.Brightness: _brightness,
    Op.Contrast: _contrast,
    Op.Posterize: _posterize,
    Op.Solarize: _solarize,
    Op.AutoContrast: _auto_contrast,
    Op.Equalize: _equalize,
    Op.Invert: _invert,
}
_MEASURES = (Op.Contrast, Op.AutoContrast, Op.Equalize)
