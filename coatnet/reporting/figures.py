"""Figures from reports, each a function from tables to a matplotlib figure."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

TRAIN, EVAL = "tab:blue", "tab:orange"
EVERY_NAME = 40  # classes up to which a confusion matrix names each


def loss_curve(history: pd.DataFrame, split: str) -> Figure:
    """Training loss by epoch, as the original shows it, and beside it that of the evaluated split."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(history.epoch, history.train_loss, color=TRAIN, label="train (augmented, soft targets)")
    _curve(axes, history, "eval_loss", split)
    axes.set(xlabel="epoch", ylabel="cross-entropy, nats", title="Loss")
    _finish(axes)
    return figure


def accuracy_curve(history: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """Top-1 by epoch on augmented training images and on the evaluated split; the end's clean accuracies and gap."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(history.epoch, history.train_top1, color=TRAIN, label="train, augmented")
    _curve(axes, history, "eval_top1", metrics["split"])
    end = history.epoch.iloc[-1]
    axes.plot(end, metrics["train_top1"], "o", color=TRAIN, label=f"train, clean: {metrics['train_top1']:.2f}%")
    below, above = metrics["top1"] - metrics["top1_low"], metrics["top1_high"] - metrics["top1"]
    label = f"{metrics['split']}: {metrics['top1']:.2f}% (95%: {metrics['top1_low']:.2f} to {metrics['top1_high']:.2f})"
    axes.errorbar(end, metrics["top1"], [[below], [above]], fmt="o", color=EVAL, capsize=4, label=label)
    axes.set(xlabel="epoch", ylabel="top-1, %", title=f"Accuracy; gap {metrics['gap']:.2f} points")
    _finish(axes)
    return figure


def confusion(answers: pd.DataFrame) -> Figure:
    """Fraction of each actual class (row) given each answer (column), in the classes' order of first letter."""
    table = pd.crosstab(answers.actual, answers.predicted, normalize="index")
    names = sorted(set(answers.actual) | set(answers.predicted))
    table = table.reindex(index=names, columns=names, fill_value=0) * 100
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(table, cmap="magma_r", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, label="of the actual class, %")
    axes.set(xlabel="predicted", ylabel="actual", title="Confusion")
    if len(names) <= EVERY_NAME:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    return figure


def classes(table: pd.DataFrame, shown: int = 12) -> Figure:
    """The worst and the best classes, each with what it is most often taken for (`metrics.per_class`)."""
    table = table if len(table) <= 2 * shown else pd.concat([table.head(shown), table.tail(shown)])
    figure = Figure(figsize=(8, 0.3 * len(table) + 1), layout="constrained")
    axes = figure.subplots()
    labels = [
        f"{row['class']}  (taken for {row.taken_for})" if row.taken_for else row["class"] for _, row in table.iterrows()
    ]
    axes.barh(range(len(table)), table.top1, color=EVAL)
    axes.set_yticks(range(len(table)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="top-1, %", xlim=(0, 100), title="Worst and best classes")
    axes.grid(axis="x", alpha=0.3)
    return figure


def augmented_images(images_n3hw: Tensor, targets_nk: Tensor, names: list[str]) -> Figure:
    """A grid of augmented training images (floats in 0..1), each under the one or two classes of its target."""
    columns = min(8, len(images_n3hw))
    rows = -(-len(images_n3hw) // columns)
    figure = Figure(figsize=(1.7 * columns, 2 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, target in zip(grid.flat, images_n3hw, targets_nk, strict=False):
        axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        weights, indices = target.topk(2)
        # Label smoothing gives every class a little: a second name only where an image was mixed in.
        mixed = weights[1] > target.min() + 0.01
        text = f"{names[indices[0]]}\n{100 * weights[0]:.0f}%"
        axes.set_title(text + (f" + {names[indices[1]]}" if mixed else ""), fontsize=6)
    return figure


def _curve(axes: Axes, history: pd.DataFrame, column: str, split: str) -> None:
    if column in history:  # train.evaluate_every: 0 leaves it out
        points = history.dropna(subset=column)
        axes.plot(points.epoch, points[column], color=EVAL, label=split, marker="." if len(points) < 30 else None)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.legend()
    axes.locator_params(axis="x", integer=True)
