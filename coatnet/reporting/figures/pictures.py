"""Pictures in rows: one description of them for the PNG here and for the page."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from .style import INK, MUTED, styled

_CELL = 0.85  # inches a picture takes with the space around it
_PICTURE = 0.88  # of that, the picture
_LETTERS = 17  # a line under a picture


class Picture(NamedTuple):
    pixels_hwc: np.ndarray  # uint8, square
    text: str  # under it; several lines
    alt: str
    right: bool | None = None  # whether an answer under it is right; None: there is none
    is_map: bool = False  # numbers as colours: each is to stay a square when enlarged


class Row(NamedTuple):
    title: str
    pictures: Sequence[Picture]
    text: str = ""
    value: float | None = None  # percent, for a bar beside the title


@styled
def sheet(rows: Sequence[Row], across: int = 1) -> Figure:
    """The rows of pictures, each with its title above it; `across` rows side by side."""
    columns = max(len(row.pictures) for row in rows) + 0.3
    longest = max(len(_wrapped(picture.text)) for row in rows for picture in row.pictures)
    lines = 1 + any(row.text for row in rows) if any(row.title for row in rows) else 0
    title = 0.12 + 0.16 * lines  # in pictures, as all lengths here
    height = 1 + 0.12 * longest + title
    width, total = columns * min(across, len(rows)), height * -(-len(rows) // across)
    figure = Figure(figsize=(_CELL * width, _CELL * total))
    # All in one frame, since a frame for each picture takes seconds to lay out.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for number, row in enumerate(rows):
        left, top = number % across * columns + 0.1, number // across * height
        value = "" if row.value is None else f": {row.value:.0f}%"
        axes.text(left, top + 0.06, row.title + value, fontsize=7, va="top", color=INK)
        axes.text(left, top + 0.22, row.text, fontsize=6, va="top", color=MUTED)
        for column, picture in enumerate(row.pictures):
            x, y = left + column, top + title
            axes.imshow(
                picture.pixels_hwc,
                extent=(x, x + _PICTURE, y + _PICTURE, y),
                interpolation="nearest" if picture.is_map else "antialiased",
            )
            text = "\n".join(_wrapped(picture.text))
            axes.text(x, y + _PICTURE + 0.03, text, fontsize=5.5, va="top", color=MUTED)
    # Set last: each imshow changes them.
    axes.set(xlim=(0, width), ylim=(total, 0), aspect="auto")
    return figure


def _wrapped(text: str) -> list[str]:
    return [line for part in text.splitlines() for line in textwrap.wrap(part, _LETTERS)]


def to_pixels(image_chw: Tensor) -> np.ndarray:
    """uint8, or floats in 0..1, 3 x H x W, to uint8, H x W x 3."""
    if image_chw.dtype != torch.uint8:
        image_chw = (image_chw.clamp(0, 1) * 255).round().byte()
    return image_chw.permute(1, 2, 0).contiguous().numpy()


def heat(image_chw: Tensor, heat_hw: Tensor, size: int, mode: str = "nearest") -> np.ndarray:
    """An image in dark grey under the colours of `heat_hw`: bright where it is high, grey alone where it is 0.

    Lightness rises with the heat (matplotlib's inferno), so that the colours need not be told apart.

    Args:
        image_chw: floats in 0..1.
        heat_hw: 0 to 1, any size.
        size: pixels a side of the result.
        mode: how the heat is enlarged: "nearest" shows each position as a square, "bilinear" is smooth.

    Returns:
        uint8, size x size x 3.
    """
    image_hwc = F.interpolate(image_chw[None], (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    heat_hw = F.interpolate(heat_hw[None, None], (size, size), mode=mode)[0, 0].clamp(0, 1)
    grey_hw1 = 0.6 * image_hwc.mean(2, keepdim=True)
    colour_hwc = torch.from_numpy(matplotlib.colormaps["inferno"](heat_hw.numpy())[:, :, :3]).float()
    weight_hw1 = 0.85 * heat_hw.sqrt()[:, :, None]
    return to_pixels((grey_hw1 * (1 - weight_hw1) + colour_hwc * weight_hw1).permute(2, 0, 1))


def diverging(values_hw: Tensor, limit: float) -> np.ndarray:
    """Numbers from -limit (purple) over 0 (white) to limit (orange) as colours, uint8, H x W x 3."""
    scaled = (values_hw / max(limit, 1e-9) + 1) / 2
    return (matplotlib.colormaps["PuOr_r"](scaled.numpy())[:, :, :3] * 255).round().astype(np.uint8)


class Target(NamedTuple):
    """The class of an augmented image and its weight; of a mixed one the partner's, too, else "" and 0."""

    label: str
    weight: float
    partner: str
    partner_weight: float


def named_targets(targets_nk: Tensor, smoothing: float, names: Sequence[str]) -> list[Target]:
    """The classes that `targets_nk` names; `smoothing` of the labels gives each class a share that names nothing."""
    found = []
    for target_k in targets_nk:
        weights, (label, partner) = target_k.topk(2)
        weight, other = (round(value, 4) for value in weights.tolist())
        mixed = other > smoothing / len(target_k) + 0.01
        found.append(Target(names[label], weight, names[partner] if mixed else "", other if mixed else 0.0))
    return found


def augmented(images_n3hw: Tensor, targets: Sequence[Target], columns: int = 8) -> list[Row]:
    """Augmented training images (floats in 0..1), each with the one or two classes of its target (`named_targets`)."""
    pictures = []
    for image, target in zip(images_n3hw, targets, strict=True):
        text = f"{target.label}\n{100 * target.weight:.0f}%" + (f" + {target.partner}" if target.partner else "")
        alt = "Augmented training image, target: " + text.replace("\n", " ")
        pictures.append(Picture(to_pixels(image), text, alt))
    return [Row("", pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
