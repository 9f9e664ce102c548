"""Draws the figures in `reports/figures/`, each a PNG with its numbers as CSV, and the page `reports/index.html`."""

import json
import shutil
from itertools import islice
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from coatnet import Params, UserError
from coatnet.augment import BatchAugment
from coatnet.data import Batches, Shards
from coatnet.data.classes import class_names
from coatnet.machine.files import write_csv, write_text
from coatnet.reporting.figures.operations import numbers, operations
from coatnet.reporting.figures.style import save_png
from coatnet.reporting.page import Drawn, Run, report
from coatnet.training.checkpoint import load_checkpoint

from . import CHECKPOINT, REPORTS, SHARDS, run

NAMES = dict.fromkeys(("actual", "predicted", "class", "taken_for"), str)  # a class may be named 7
FIGURES = REPORTS / "figures"
TRUE_COLOURS = {"augmented", "operations"}  # fewer would look like an augmentation


def main(params: Params) -> None:
    shards, holdout = Shards(SHARDS), params.data.holdout
    checkpoint = load_checkpoint(CHECKPOINT)
    answers, classes = (
        pd.read_csv(REPORTS / f"{n}.csv", keep_default_na=False, dtype=NAMES) for n in ("predictions", "classes")
    )
    metrics, split = _read("metrics"), shards.evaluated(holdout)
    evaluated, labels = shards.load(split, holdout=holdout)
    names = class_names(shards.classes)
    actual = [names[label] for label in labels.tolist()]
    if checkpoint.classes != shards.classes or metrics["split"] != split or list(answers.actual) != actual:
        raise UserError(f"the reports in {REPORTS} are not of {CHECKPOINT} and {SHARDS}: run `dvc repro`")
    images, labels = shards.load("train", holdout=holdout, fraction=params.data.fraction)
    augmented, targets = _augmented(params, shards, images, labels)
    figures, page = report(
        Run(
            params=params,
            checkpoint=checkpoint,
            history=pd.read_csv(REPORTS / "history.csv"),
            metrics=metrics,
            training=_read("train"),
            data=_read("data"),
            answers=answers,
            classes=classes,
            images=evaluated,
            trained_on=len(images),
            augmented=augmented,
            targets=targets,
        )
    )
    figures["operations"] = Drawn(operations(images[0]), numbers(images[0]))
    shutil.rmtree(FIGURES, ignore_errors=True)  # another model may have had others
    for name, drawn in figures.items():
        save_png(drawn.figure, FIGURES / f"{name}.png", params.plot.dpi, true_colours=name in TRUE_COLOURS)
        write_csv(FIGURES / f"{name}.csv", drawn.numbers)
    write_text(REPORTS / "index.html", page)


def _read(name: str) -> dict[str, Any]:
    return json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))


def _augmented(params: Params, shards: Shards, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images of the first steps in 0..1, and their targets, as one process trains on whole batches at the final size.

    As many of each pass, `plot.images` in all.
    """
    augment = BatchAugment.of(params, shards, params.model.image_size)
    batches = Batches(images, labels, batch_size=params.train.batch_size, seed=params.seed)
    passes = params.augment.passes or (None,)
    each = -(-params.plot.images // len(passes))
    shown = []
    for number, only in enumerate(passes):
        steps = -(-each // params.train.batch_size)
        augmented = [
            augment(batch, batch_labels, epoch=0, step=number * len(batches) + step, only=only)
            for step, batch, batch_labels in islice(batches.epoch(number), steps)
        ]
        shown.append(tuple(torch.cat(tensors)[:each] for tensors in zip(*augmented, strict=True)))
    x_n3hw, targets_nk = (torch.cat(tensors) for tensors in zip(*shown, strict=True))
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (shards.std, shards.mean))
    return x_n3hw * std + mean, targets_nk


if __name__ == "__main__":
    run(main)
