"""What the page says in words and tables: parameters, the machine, the confusion matrix as an image."""

import base64
import io
import platform
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ...params import dotted
from .. import original
from ..figures.confusion import shares
from ..figures.pictures import Picture
from .run import Run

_LARGEST = 112  # pixels a side; the page shows at most 104
_QUALITY = 80  # of WebP
# From no image of a class to all of them: white to dark blue, and on the dark page near black to light blue.
_RAMPS = {
    "light": ((255, 255, 255), (134, 182, 220), (8, 60, 110), (3, 22, 44)),
    "dark": ((24, 26, 31), (36, 84, 130), (126, 188, 236), (240, 248, 255)),
}


def source(picture: Picture) -> str:
    """The picture as a data: address."""
    image = Image.fromarray(picture.pixels_hwc)
    if picture.is_map:
        return _png(image)
    image.thumbnail((_LARGEST, _LARGEST))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def growing_images(train: dict[str, Any]) -> str:
    """The beginning of what the page says of its curves where images grew while the model was trained; else nothing.

    Args:
        train: the parameters that it was trained with; older checkpoints lack some.
    """
    steps: list[list[int]] = train.get("image_size") or []
    if len(steps) < 2:
        return ""
    sizes = " and ".join(f"{size} up to epoch {end}" for (_, size), (end, _) in pairwise(steps))
    return f"The evaluated images have {steps[-1][1]} pixels while it trains, those of training {sizes}; up to there"


def evaluated_as(run: Run) -> str:
    """How the finished model was evaluated, where that is not how the lines of the curves were; else nothing."""
    evaluate, trained = run.params.evaluate, run.checkpoint.model_params.image_size
    said = [f"at {evaluate.image_size} pixels"] if evaluate.image_size not in (None, trained) else []
    said += [f"of the middle {100 * evaluate.crop:g}% of the side"] if evaluate.crop else []
    said += ["averaged over each image and its mirror image"] if evaluate.flip else []
    return ", ".join(said)


def confusion_images(table: pd.DataFrame) -> dict[str, str]:
    """`counts` as an image of one pixel a cell, for the light and for the dark page."""
    level = np.sqrt(shares(table))
    images = {}
    for theme, ramp in _RAMPS.items():
        stops = np.linspace(0, 1, len(ramp))
        channels = [np.interp(level, stops, [colour[c] for colour in ramp]) for c in range(3)]
        image = Image.fromarray(np.stack(channels, 2).round().astype(np.uint8))
        images[theme] = _png(image.quantize(256))
    return images


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def confusion_cells(table: pd.DataFrame) -> dict[str, Any]:
    """What the page's script reads to name a cell: names, images of each class, and row, column, images of each."""
    values = table.to_numpy()
    rows, columns = np.nonzero(values)
    cells = np.stack([rows, columns, values[rows, columns]], 1)
    return {"names": list(table.index), "images": values.sum(1).tolist(), "cells": cells.ravel().tolist()}


def model_name(run: Run) -> str:
    """Such as: CoAtNet (the paper's blocks, C-C-T-T)."""
    model = run.checkpoint.model_params
    if model.name != "coatnet":
        return f"timm's {model.name.removeprefix('timm/')}"
    blocks = {"table": "the original's", "paper": "the paper's"}[model.variant]
    return f"CoAtNet ({blocks} blocks, {'-'.join(model.layout)})"


def parameters(run: Run) -> list[dict[str, Any]]:
    """Each parameter with its value; with the original's where that is known, and whether they differ.

    Those of training as the checkpoint has them, those of evaluation as they are now; without the other variant's.
    """
    used = {name: run.checkpoint.params[name] for name in ("seed", "data", "model", "augment", "train")}
    values = dotted(used | {"evaluate": run.params.evaluate.model_dump(mode="json")})
    unused = "model.paper." if run.checkpoint.model_params.variant == "table" else "model.table."
    rows = []
    for name, value in values.items():
        if name.startswith(unused):
            continue
        known = name in original.RECIPE
        theirs = original.RECIPE.get(name)
        rows.append(
            {
                "name": name,
                "value": _written(value),
                "original": _written(theirs) if known else "",
                "differs": known and value != theirs,
            }
        )
    return rows


def _written(value: Any) -> str:
    """As params.yaml has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_written, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def machine(run: Run) -> list[tuple[str, str]]:
    """On what, where, how long and how fast it was trained, and what this page was drawn with."""
    training = run.training
    processes = training["processes"]
    drawn_with = [f"{package} {version(package)}" for package in ("torch", "torchvision", "matplotlib", "scipy")]
    twice = run.data["duplicates"]["train_and_test"]["groups"]
    return [
        ("Data", f"{run.trained_on:,} training and {len(run.answers):,} {run.split} images"),
        ("Duplicates", f"{twice:,} files lie among both the training and the test images, byte for byte"),
        ("Trained on", training["device"] + (f", {processes} processes" if processes > 1 else "")),
        ("Time", f"{training['minutes']:,} minutes, of which {training['startup_seconds']} seconds to start"),
        ("Speed", f"{training['images_per_second']:,.6g} training images a second"),
        ("Trained with", f"torch {training['torch']}"),
        ("Drawn with", f"Python {platform.python_version()}, {', '.join(drawn_with)}"),
    ]
