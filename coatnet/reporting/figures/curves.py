"""Loss, accuracy and gap by epoch."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import original
from .style import EVAL, INK, MUTED, PAPER, TRAIN, styled

_SIZE = (4.6, 3.6)  # inches


def gaps(history: pd.DataFrame) -> pd.DataFrame:
    """Training minus evaluated top-1, in points, at the epochs that were evaluated; there may be none."""
    if "eval_top1" not in history:  # train.evaluate_every: 0
        history = history.assign(eval_top1=float("nan"))
    table = history[["epoch", "train_top1", "eval_top1"]].dropna()
    return table.assign(gap=(table.train_top1 - table.eval_top1).round(4))


def losses(history: pd.DataFrame, compared: bool = False) -> pd.DataFrame:
    """Loss by epoch, in nats.

    Args:
        compared: with the original's training loss in `original_train_loss`; none after its 80 epochs.
    """
    table = history.filter(["epoch", "train_loss", "eval_loss"])
    if not compared:
        return table
    return table.assign(original_train_loss=table.epoch.map(dict(enumerate(original.TRAIN_LOSS, 1))))


@styled
def loss_curve(history: pd.DataFrame, split: str, compared: bool = False) -> Figure:
    """Training loss by epoch, as the original shows it, and beside it that of the evaluated split.

    Args:
        compared: whether to draw the original's training loss, and to mark where its test loss ended; its data must be
            this run's.
    """
    figure, axes = _axes(history, "Loss", "cross-entropy, nats")
    _line(axes, history, "train_loss", TRAIN, "training, augmented")
    _line(axes, history, "eval_loss", EVAL, split)
    if compared:
        epochs = range(1, len(original.TRAIN_LOSS) + 1)
        axes.plot(epochs, original.TRAIN_LOSS, "--", color=TRAIN, label="the original, training, augmented")
        _mark(axes, history, original.TEST_LOSS, EVAL, f"the original, test: {original.TEST_LOSS:.2f}")
    _legend(figure)
    return figure


@styled
def accuracy_curve(history: pd.DataFrame, metrics: dict[str, Any], compared: bool = False) -> Figure:
    """Top-1 by epoch on augmented training images and on the evaluated split; the end's clean accuracies and gap."""
    figure, axes = _axes(history, f"Accuracy; gap {metrics['gap']:.2f} points", "top-1, %")
    _line(axes, history, "train_top1", TRAIN, "training, augmented")
    _line(axes, history, "eval_top1", EVAL, metrics["split"])
    end = history.epoch.iloc[-1]
    axes.plot(end, metrics["train_top1"], "o", color=TRAIN, label=f"training, clean: {metrics['train_top1']:.2f}%")
    below, above = metrics["top1"] - metrics["top1_low"], metrics["top1_high"] - metrics["top1"]
    label = f"{metrics['split']}: {metrics['top1']:.2f}% ({metrics['top1_low']:.2f} to {metrics['top1_high']:.2f})"
    axes.errorbar(end, metrics["top1"], [[below], [above]], fmt="o", color=EVAL, capsize=4, label=label)
    if compared:
        _mark(axes, history, original.TRAIN_TOP1, TRAIN, f"the original, training: {original.TRAIN_TOP1:.2f}%")
        _mark(axes, history, original.TEST_TOP1, EVAL, f"the original, test: {original.TEST_TOP1:.2f}%")
    axes.set_ylim(0, 100)
    _legend(figure)
    return figure


@styled
def gap_curve(history: pd.DataFrame, metrics: dict[str, Any], compared: bool = False) -> Figure:
    """How far training accuracy is ahead by epoch, on augmented images; at the end on clean ones, too."""
    figure, axes = _axes(history, "Gap", "points of top-1")
    _line(axes, gaps(history), "gap", INK, "augmented training images")
    end = history.epoch.iloc[-1]
    axes.plot(end, metrics["gap"], "o", color=TRAIN, label=f"clean training images: {metrics['gap']:.2f}")
    if compared:
        _mark(axes, history, original.GAP, MUTED, f"the original: {original.GAP:.2f}")
    axes.axhline(0, color=MUTED, linewidth=0.8)
    _legend(figure)
    return figure


def _axes(history: pd.DataFrame, title: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    first, last = history.epoch.iloc[0], history.epoch.iloc[-1]
    room = max(0.5, 0.04 * (last - first))
    axes.set(xlabel="epoch", ylabel=y_label, title=title, xlim=(first - room, last + room))
    axes.locator_params(axis="x", integer=True)
    return figure, axes


def _line(axes: Axes, history: pd.DataFrame, column: str, colour: str, label: str) -> None:
    if column in history:  # train.evaluate_every: 0 leaves some out
        points = history.dropna(subset=column)
        axes.plot(points.epoch, points[column], color=colour, label=label, marker="." if len(points) < 30 else None)


def _mark(axes: Axes, history: pd.DataFrame, value: float, colour: str, label: str) -> None:
    """Where the original ended: a hollow diamond at the last epoch, whichever that is, on a dotted line."""
    axes.axhline(value, color=colour, linestyle=":", linewidth=1)
    axes.plot(history.epoch.iloc[-1], value, "D", color=colour, markerfacecolor=PAPER, label=label)


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower left", ncols=2, columnspacing=1.2)  # outside: lines may be anywhere
