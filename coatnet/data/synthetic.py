"""The synthetic data set: coloured, textured shapes on noise, in Tiny ImageNet's layout; needs no download.

A class is a colour, a texture and a shape ("red striped circle"). Place, size, rotation, tint, the texture's phase and
the background vary from image to image, so that a model has to find the shape, not a pixel.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..machine.files import atomic_write
from ..params import SyntheticParams
from .archive import OFFICIAL_SIZE, with_lists, write_zip

_SHAPES = {  # is (u, v), in radii from the centre, inside?
    "circle": lambda u, v: u**2 + v**2 < 1,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) < 0.85,
    "triangle": lambda u, v: (v > -0.5) & (v < 1 - math.sqrt(3) * u.abs()),
    "ring": lambda u, v: (u**2 + v**2 < 1) & (u**2 + v**2 > 0.3),
    "cross": lambda u, v: (torch.minimum(u.abs(), v.abs()) < 0.3) & (torch.maximum(u.abs(), v.abs()) < 1),
}
_TEXTURES = {  # is it light there? `phase` is in radians
    "plain": lambda u, v, phase: torch.ones_like(u, dtype=torch.bool),
    "striped": lambda u, v, phase: torch.sin(12 * u + phase) > 0,
    "checked": lambda u, v, phase: torch.sin(9 * u + phase) * torch.sin(9 * v + phase) > 0,
    "dotted": lambda u, v, phase: torch.sin(12 * u + phase) + torch.sin(12 * v + phase) < 0.9,
    "banded": lambda u, v, phase: torch.sin(12 * torch.hypot(u, v) + phase) > 0,
}
_COLOURS = {
    "red": (0.9, 0.15, 0.15),
    "orange": (0.95, 0.55, 0.1),
    "yellow": (0.9, 0.9, 0.2),
    "green": (0.15, 0.7, 0.2),
    "cyan": (0.15, 0.8, 0.85),
    "blue": (0.2, 0.3, 0.9),
    "purple": (0.65, 0.2, 0.8),
    "white": (0.95, 0.95, 0.95),
}
_COMBINATIONS = list(itertools.product(_TEXTURES, _COLOURS, _SHAPES))
# Steps of 77 meet each of the 200 combinations once, and a few classes already vary in colour, texture and shape.
_CLASSES = [_COMBINATIONS[77 * i % len(_COMBINATIONS)] for i in range(len(_COMBINATIONS))]
_JPEG_QUALITY = 90


def write_synthetic(params: SyntheticParams, target: str | Path, size: int = OFFICIAL_SIZE) -> None:
    """Writes the data set as a canonical archive; a seed gives the same bytes with the same versions of the libraries.

    Args:
        target: where it appears, whole or not at all.
        size: pixels a side. Images are drawn at this size, so another one also varies them otherwise.

    Raises:
        UserError: no space is left.
    """
    total = params.classes * (params.train_per_class + params.test_per_class)
    with (
        atomic_write(target) as temporary,
        tqdm(desc="draw", total=total, unit=" images", disable=None) as progress,
    ):
        write_zip(temporary, _members(params, size, progress))


def _members(params: SyntheticParams, size: int, progress: tqdm) -> Iterator[tuple[str, bytes]]:
    """Names and contents, in the order of names."""
    from torchvision.io import encode_jpeg  # a second to import, and `coatnet.data` is imported by every stage

    generator = torch.Generator().manual_seed(params.seed)
    wnids = [f"s{label:08d}" for label in range(params.classes)]
    words = [" ".join((colour, texture, shape)) for texture, colour, shape in _CLASSES[: params.classes]]
    tested: dict[str, str] = {}

    def images() -> Iterator[tuple[str, bytes]]:
        for split, count in (("train", params.train_per_class), ("val", params.test_per_class)):
            for label, wnid in enumerate(wnids):
                for i, image_chw in enumerate(_draw(*_CLASSES[label], count, size, generator)):
                    if split == "train":
                        name = f"train/{wnid}/images/{wnid}_{i:05d}.JPEG"
                    else:
                        name = f"val/images/val_{label * count + i:06d}.JPEG"
                        tested[name] = wnid
                    yield name, encode_jpeg(image_chw, _JPEG_QUALITY).numpy().tobytes()
                    progress.update()

    return with_lists(images(), list(zip(wnids, words, strict=True)), tested)


def _draw(texture: str, colour: str, shape: str, count: int, size: int, generator: torch.Generator) -> Tensor:
    """`count` images of a class, uint8, count x 3 x size x size."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    axis = torch.linspace(-1, 1, size)
    x, y = axis - uniform(-0.4, 0.4, 1, 1), axis[:, None] - uniform(-0.4, 0.4, 1, 1)
    angle, radius = uniform(0, 2 * math.pi, 1, 1), uniform(0.3, 0.6, 1, 1)
    u = (x * angle.cos() + y * angle.sin()) / radius
    v = (y * angle.cos() - x * angle.sin()) / radius

    light = _TEXTURES[texture](u, v, uniform(0, 2 * math.pi, 1, 1))
    tint = torch.tensor(_COLOURS[colour])[:, None, None] * uniform(0.7, 1.1, 3, 1, 1)
    figure = tint * torch.where(light, 1.0, 0.35)[:, None]
    background = F.interpolate(uniform(0, 0.8, 3, 4, 4), size=size, mode="bilinear")
    image = torch.where(_SHAPES[shape](u, v)[:, None], figure, background)
    image += 0.08 * torch.randn(image.shape, generator=generator)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)
