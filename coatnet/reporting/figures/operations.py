"""One image under every augmentation operation, ours beside torchvision's."""

import math

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...augment.gallery import every_operation
from ...augment.policy import Op

_COLUMNS = 5
_GAP = 6  # pixels
_UNITS = {Op.TranslateX: ", pixels", Op.TranslateY: ", pixels", Op.Rotate: ", degrees", Op.Posterize: ", bits"}


def operations(image_chw: Tensor) -> Figure:
    """A row an operation, five magnitudes: ours on the left, torchvision's on the right.

    Args:
        image_chw: uint8, 3 x H x H.
    """
    rows = every_operation(image_chw)
    step = image_chw.shape[2] + _GAP
    figure = Figure(figsize=(6.5, 8.2), layout="constrained")
    axes = figure.subplots(len(rows), 2)
    for axis, title in zip(axes[0], ("this project", "torchvision"), strict=True):
        axis.set_title(title, loc="left")
    for row, (op, (values, ours)) in zip(axes, rows.items(), strict=True):
        theirs = torch.stack([torchvision_operation(image_chw, op, value) for value in values])
        for axis, images in zip(row, (ours, theirs), strict=True):
            # Joined, since an image of its own for each takes seconds to lay out.
            strip_chw = torch.full((3, image_chw.shape[1], _COLUMNS * step), 255, dtype=torch.uint8)
            for column, (value, image) in enumerate(zip(values, images, strict=True)):
                strip_chw[:, :, column * step : (column + 1) * step - _GAP] = image
                if len(values) > 1:
                    axis.text(column * step, 0, f"{value:.3g}", fontsize=5, va="bottom")
            axis.imshow(strip_chw.permute(1, 2, 0).numpy())
            axis.axis("off")
        name = op.name + _UNITS.get(op, "")
        row[0].text(-step / 10, image_chw.shape[1] / 2, name, ha="right", va="center", fontsize=6)
    return figure


def numbers(image_chw: Tensor) -> pd.DataFrame:
    """The magnitudes of the figure's columns: operation, column (from 1) and magnitude (see `policy.magnitudes`)."""
    rows = every_operation(image_chw)
    table = [(op.name, i, value) for op, (values, _) in rows.items() for i, value in enumerate(values, 1)]
    return pd.DataFrame(table, columns=["operation", "column", "magnitude"]).round(4)


def torchvision_operation(image_chw: Tensor, op: Op, value: float) -> Tensor:
    """The operation as torchvision's policies do it, by its public functions."""
    degrees = math.degrees(math.atan(value))

    def affine(
        translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0), center: list[float] | None = None
    ) -> Tensor:
        return F.affine(image_chw, 0.0, list(translate), 1.0, list(shear), InterpolationMode.BILINEAR, center=center)

    match op:
        case Op.ShearX:
            return affine(shear=(degrees, 0.0), center=[0, 0])
        case Op.ShearY:
            return affine(shear=(0.0, degrees), center=[0, 0])
        case Op.TranslateX:
            return affine(translate=(int(value), 0))
        case Op.TranslateY:
            return affine(translate=(0, int(value)))
        case Op.Rotate:
            return F.rotate(image_chw, value, InterpolationMode.BILINEAR)
        case Op.Brightness:
            return F.adjust_brightness(image_chw, 1 + value)
        case Op.Color:
            return F.adjust_saturation(image_chw, 1 + value)
        case Op.Contrast:
            return F.adjust_contrast(image_chw, 1 + value)
        case Op.Sharpness:
            return F.adjust_sharpness(image_chw, 1 + value)
        case Op.Posterize:
            return F.posterize(image_chw, int(value))
        case Op.Solarize:
            return F.solarize(image_chw, 255 * value)
        case Op.AutoContrast:
            return F.autocontrast(image_chw)
        case Op.Equalize:
            return F.equalize(image_chw)
        case Op.Invert:
            return F.invert(image_chw)
    return image_chw
