"""Shows loss and accuracy of the run under way as curves, with its speed and the time left.

coatnet watch                # redrawn every two seconds until the run ends; Ctrl-C leaves the run alone
coatnet watch --once
coatnet watch deeper         # an experiment of `dvc exp run --temp --name deeper`
"""

import argparse
import math
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import plotille
from tqdm import tqdm

from ..errors import UserError
from ..machine.status import Status

PROGRESS = Path(".progress")
HISTORY = Path("reports/history.csv")
EVERY = 2  # seconds
# The original's end points (docs/original.md), percent.
ORIGINAL = {"training": 95.89, "test": 44.80}
BLUE, ORANGE, GREY = 33, 208, 244  # of the 256 colours of terminals; told apart by the colour-blind, too


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="train", help="of an experiment that runs in a folder of its own")
    parser.add_argument("--once", action="store_true", help="draw once")


def run(options: argparse.Namespace) -> None:
    path = PROGRESS / f"{options.name}.json"
    terminal = sys.stdout.isatty()
    lines = 0
    while True:
        status = Status.read(path)
        picture = draw(status, terminal)
        if lines:
            print(f"\x1b[{lines}F\x1b[J", end="")  # back to where the last picture began
        print(picture, flush=True)
        lines = picture.count("\n") + 1
        if options.once or not terminal or status is None or not status.is_alive:
            return
        try:
            time.sleep(EVERY)
        except KeyboardInterrupt:
            return


def draw(status: Status | None, colours: bool) -> str:
    """The words and the two figures, as large as the terminal."""
    history = Path(status.folder) / HISTORY if status else HISTORY
    try:
        table = pd.read_csv(history)
    except (OSError, ValueError):
        table = pd.DataFrame()
    if status is None and table.empty:
        raise UserError("no run is under way here, and none has left reports/history.csv: start one with `dvc repro`")
    said = _words(status)
    if table.empty:
        return f"{said}\nThe curves begin with the end of the first epoch."
    width, height = shutil.get_terminal_size()
    split = status.split if status else "evaluated"
    end = status.epochs if status else int(table.epoch.iloc[-1])
    room = height - 2 - said.count("\n") - 10  # but for the words and what stands around two figures
    loss = _figure(table, "loss", "cross-entropy, nats", (width, max(4, room * 2 // 5), end), colours)
    top1 = _figure(table, "top1", "top-1, %", (width, max(5, room * 3 // 5), end), colours)
    train, evaluated = (_coloured(text, code, colours) for text, code in (("⠤ training", BLUE), (f"o {split}", ORANGE)))
    published = ", ".join(f"{value:.2f} {name}" for name, value in ORIGINAL.items())
    return f"{said}\n{loss}\n{top1}\n{train}   {evaluated}   {_coloured(f'⠒ the original: {published}', GREY, colours)}"


def _words(status: Status | None) -> str:
    if status is None:
        return "No run is under way here; this is the last one."
    if not status.is_alive:
        return "This run was stopped from outside; the same command goes on with it."
    epoch = min(status.epochs, status.done * status.epochs // status.total + 1)
    return (
        f"epoch {epoch}/{status.epochs}, {status.done / status.total:.0%}: loss {status.loss:.3f}, top-1 "
        f"{status.top1:.1f}%, {status.images_per_second:,.0f} images/s, "
        f"{tqdm.format_interval(status.seconds_left)} left"
    )


def _figure(table: pd.DataFrame, what: str, label: str, shape: tuple[int, int, int], colours: bool) -> str:
    """One curve of training and one of the evaluated split, over all epochs to come."""
    width, height, epochs = shape
    figure = plotille.Figure()
    figure.width, figure.height = width - 24, height  # beside it stand numbers and labels
    figure.with_colors, figure.color_mode = colours, "byte"
    figure.x_label, figure.y_label = "epoch", label
    figure.register_label_formatter(float, _number)
    figure.set_x_limits(1, max(2, epochs))
    evaluated = table.dropna(subset=f"eval_{what}") if f"eval_{what}" in table else table[:0]
    if what == "top1":
        figure.set_y_limits(0, 100)
        for value in ORIGINAL.values():
            figure.plot([1, max(2, epochs)], [value, value], lc=GREY)
    else:
        losses = pd.concat([table.train_loss, *(evaluated[name] for name in ("eval_loss",) if name in evaluated)])
        figure.set_y_limits(math.floor(losses.min()), math.ceil(losses.max()))
    figure.plot(list(table.epoch), list(table[f"train_{what}"]), lc=BLUE)
    if len(evaluated):
        figure.plot(list(evaluated.epoch), list(evaluated[f"eval_{what}"]), lc=ORANGE, marker="o")
    return "\n".join(line.rstrip() for line in figure.show().splitlines())


def _number(value: float, chars: int, delta: float, left: bool = False) -> str:
    text = f"{value:.3g}"
    return text.ljust(chars) if left else text.rjust(chars)


def _coloured(text: str, code: int, colours: bool) -> str:
    return plotille.color(text, fg=code, mode="byte") if colours else text
