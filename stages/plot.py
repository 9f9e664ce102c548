"""Draws `reports/figures/` from the other reports."""

import json

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from coatnet import Params
from coatnet.augment import BatchAugment
from coatnet.data import Batches, Shards
from coatnet.data.classes import class_names
from coatnet.machine.files import atomic_write
from coatnet.reporting import figures
from coatnet.reporting.operations import operations

from . import REPORTS, SHARDS, run

NAMES = dict.fromkeys(("actual", "predicted", "class", "taken_for"), str)  # a class may be named 7


def main(params: Params) -> None:
    history = pd.read_csv(REPORTS / "history.csv")
    metrics = json.loads((REPORTS / "metrics.json").read_text(encoding="utf-8"))
    answers, classes = (
        pd.read_csv(REPORTS / f"{n}.csv", keep_default_na=False, dtype=NAMES) for n in ("predictions", "classes")
    )
    shards = Shards(SHARDS)
    images, labels = shards.load("train", holdout=params.data.holdout, fraction=params.data.fraction)
    drawn = {
        "loss": figures.loss_curve(history, metrics["split"]),
        "accuracy": figures.accuracy_curve(history, metrics),
        "confusion": figures.confusion(answers),
        "classes": figures.classes(classes),
        "augmented": _augmented(params, shards, images, labels),
        "operations": operations(images[0]),
    }
    for name, figure in drawn.items():
        with atomic_write(REPORTS / "figures" / f"{name}.png") as path:
            figure.savefig(path, dpi=params.plot.dpi, format="png")


def _augmented(params: Params, shards: Shards, images: Tensor, labels: Tensor) -> Figure:
    """Images of the first steps, as one process trains on them at the final size; some of each pass."""
    augment = BatchAugment.of(params, shards, params.model.image_size)
    batches = Batches(images, labels, batch_size=params.train.batch_size, seed=params.seed)
    passes = params.augment.passes or (None,)
    each = -(-params.plot.images // len(passes))
    shown = []
    for number, only in enumerate(passes):
        _, batch, batch_labels = next(iter(batches.epoch(number)))
        x, targets = augment(batch, batch_labels, epoch=0, step=number * len(batches), only=only)
        shown.append((x[:each], targets[:each]))
    x_n3hw, targets_nk = (torch.cat(tensors) for tensors in zip(*shown, strict=True))
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (shards.std, shards.mean))
    return figures.augmented_images(x_n3hw * std + mean, targets_nk, class_names(shards.classes))


if __name__ == "__main__":
    run(main)
