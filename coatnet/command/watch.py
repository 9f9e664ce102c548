"""Shows loss and accuracy of a run under way as curves, with its speed and the time left.

coatnet watch                # the latest; redrawn every two seconds until the run ends; Ctrl-C leaves the run alone
coatnet watch --once
coatnet watch deeper         # an experiment of `dvc exp run --temp --name deeper`, or of the study
"""

import argparse
import csv
import itertools
import math
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import plotille
from tqdm import tqdm

from ..errors import UserError
from ..machine.status import Status, under_its_name
from ..params import load_params
from ..reporting.original import TEST_TOP1, TRAIN_TOP1

PROGRESS = Path(".progress")
HISTORY = Path("reports/history.csv")
EVERY = 2  # seconds
SILENT = 10  # seconds without a word of the run after which that is said
NUMBERS = 6  # columns left of a figure
LEAST = 5  # lines of a figure's canvas
BESIDES = 7  # lines: what is said, two; a figure's title, axis and numbers; what is what; the cursor
MOST = 1e9  # of a value; a loss beyond it has no number that fits beside a figure
# Of the 256 colours of terminals. The colour-blind tell these apart; without colours the markers do.
TRAIN, EVAL = 33, 208  # blue, orange
Rows = list[dict[str, float]]  # of the history; what it has no value for is not there


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="of an experiment that runs in a folder of its own; default: the latest"
    )
    parser.add_argument("--once", action="store_true", help="draw once")


def run(options: argparse.Namespace) -> None:
    for stream in (sys.stdout, sys.stderr):  # where a terminal's encoding lacks the dots of the curves
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    path = _status_file(options.name)
    if path is None or (options.name is None and _is_past(path)):
        if not (rows := read_history(HISTORY)):
            raise UserError(f"no run is under way here, and none has left {HISTORY}: start one with `dvc repro`")
        said = "No run is under way here; this is the last one."
        print(picture(said, rows, like_original=load_params().data.like_original))
        return
    with suppress(KeyboardInterrupt):
        _follow(path, once=options.once or not sys.stdout.isatty())


def _status_file(name: str | None) -> Path | None:
    """That of the run called `name`, or of the one that wrote last.

    Raises:
        UserError: there is none of that name.
    """
    files = sorted(PROGRESS.glob("*.json"), key=lambda file: file.stat().st_mtime)
    if name is None:
        return files[-1] if files else None
    path = PROGRESS / f"{name}.json"
    if path not in files:
        there = f"; there is {', '.join(file.stem for file in files)}" if files else ""
        raise UserError(f"no run called {name} is under way here{there}")
    return path


def _is_past(path: Path) -> bool:
    """Whether the run of this status has stopped, and another has run here since."""
    status = Status.read(path)
    if status and status.is_alive:
        return False
    return HISTORY.exists() and HISTORY.stat().st_mtime > path.stat().st_mtime


def _follow(path: Path, once: bool) -> None:
    """Draws the run whose status is in `path` until it ends."""
    status: Status | None = None
    rows: Rows = []
    lines = 0
    while True:
        latest = Status.read(path)
        status = latest or status
        if status is None:
            raise UserError(f"{path} cannot be read: it is of another version of this project, or of no run")
        rows = read_history(Path(status.folder) / HISTORY) or rows  # the folder may be gone when the run has ended
        drawn = picture(words(path.stem, status, ended=latest is None), rows, status, status.like_original)
        if lines:
            print(f"\x1b[{lines}F\x1b[J", end="")  # back to where the last picture began
        print(drawn, flush=True)
        lines = drawn.count("\n") + 1
        if once or latest is None or not latest.is_alive:
            return
        time.sleep(EVERY)


def read_history(path: Path) -> Rows:
    """No rows where there is none; what is no number of use, such as the loss of a run that diverged, is left out."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [dict(_numbers(row)) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        return []
    return [row for row in rows if "epoch" in row]


def _numbers(row: dict[str, str]) -> Iterator[tuple[str, float]]:
    for name, text in row.items():
        with suppress(ValueError, TypeError):  # lines can have too few cells, or too many
            if abs(value := float(text)) < MOST:  # NaN is not
                yield name, value


def words(name: str, status: Status, ended: bool = False) -> str:
    """One line on how far the run is; first what a narrow terminal must not cut off."""
    if ended:
        return f"{name}: this run has ended."
    epoch = min(status.epochs, status.done * status.epochs // status.total + 1)
    if not status.is_alive:
        command = f"the same command{under_its_name(name)}"
        return f"{name}: this run was stopped in epoch {epoch} of {status.epochs}; {command} goes on with it."
    said = [f"{name}: epoch {epoch}/{status.epochs}, {status.done / status.total:.0%}"]
    if status.doing != "training":
        said.append(status.doing)
    if status.age >= SILENT:
        said.append(f"silent for {tqdm.format_interval(status.age)}")
    if status.loss is not None:
        said.append(f"loss {status.loss:.3f}, top-1 {status.top1:.1f}%")
    if status.images_per_second:
        said.append(f"{status.images_per_second:,.0f} images/s, {tqdm.format_interval(status.seconds_left)} left")
    return ", ".join(said)


def picture(said: str, rows: Rows, status: Status | None = None, like_original: bool = False) -> str:
    """What is said, the two figures side by side, as large as the terminal, and what is what in them.

    No line is wider and the whole no taller than the terminal, or drawing it again would leave a part of it above.
    """
    columns, lines = shutil.get_terminal_size()
    if rows:
        split = status.split if status else "evaluated"
        drawn = [said, _last(rows, split)]
        if lines >= LEAST + BESIDES:
            epochs = status.epochs if status else int(max(row["epoch"] for row in rows))
            drawn += _figures(rows, epochs, split, columns, lines, like_original)
    else:
        drawn = [said]
        if status and status.is_alive:
            drawn.append("The curves begin with the end of the first epoch.")
    return "\n".join(_cut(line, columns) for line in drawn[: max(1, lines - 1)])


def _figures(rows: Rows, epochs: int, split: str, columns: int, lines: int, like_original: bool) -> list[str]:
    """The lines of both, and what is what in them."""
    size = max(10, columns // 2 - NUMBERS - 1), lines - BESIDES  # beside each stand its numbers and a space
    marks = {TRAIN_TOP1: TRAIN, TEST_TOP1: EVAL} if like_original else {}
    top1 = _figure("top-1, %", "top1", rows, epochs, size, marks)
    loss = _figure("cross-entropy, nats", "loss", rows, epochs, size)
    key = [_coloured("⠤ training", TRAIN), _coloured(f"o {split}", EVAL)]
    if like_original:
        key.append(f"⠂ the original: {TRAIN_TOP1:.2f} training, {TEST_TOP1:.2f} test")
    return [*(f"{left} {right}".rstrip() for left, right in zip(top1, loss, strict=True)), "   ".join(key)]


def _cut(line: str, columns: int) -> str:
    """What of `line` fits; its colours, which take no columns, stay whole."""
    kept = []
    for part in re.split("(\x1b\\[[0-9;]*m)", line):
        if part.startswith("\x1b"):
            kept.append(part)
            continue
        for character in part:
            columns -= width_of(character)
            if columns >= 0:
                kept.append(character)
    return "".join(kept)


def width_of(character: str) -> int:
    """Columns that a terminal gives it: East Asian characters have two."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _last(rows: Rows, split: str) -> str:
    """The latest numbers of each curve."""
    said = []
    for what, text in (("train", "training"), ("eval", split)):
        if found := [row for row in rows if f"{what}_top1" in row]:
            row = found[-1]
            loss = f"loss {row[f'{what}_loss']:.3f}, " if f"{what}_loss" in row else ""
            said.append(f"{text} {row[f'{what}_top1']:.2f}% ({loss}epoch {row['epoch']:.0f})")
    return ", ".join(said)


def _figure(
    title: str, what: str, rows: Rows, epochs: int, size: tuple[int, int], marks: dict[float, int] | None = None
) -> list[str]:
    """The lines of a figure: training and the evaluated split over all epochs, those to come included.

    Args:
        size: of the canvas, columns and lines.
        marks: values to mark across it, each with its colour; percentages, for then it goes from 0 to 100.
    """
    width, height = size
    curves = {
        part: [(row["epoch"], row[f"{part}_{what}"]) for row in rows if f"{part}_{what}" in row]
        for part in ("train", "eval")
    }
    values = [value for points in curves.values() for _, value in points] or [0.0]
    low, high = (0.0, 100.0) if what == "top1" else (math.floor(min(values)), math.floor(max(values)) + 1.0)
    end = max(2, epochs)
    # The canvas leaves its upper ends out, and a character has 2 x 4 dots: so the last dots are the ends.
    right, top = 1 + (end - 1) * 2 * width / (2 * width - 1), low + (high - low) * 4 * height / (4 * height - 1)
    canvas = plotille.Canvas(width, height, xmin=1, ymin=low, xmax=right, ymax=top, mode="byte")
    for mark, colour in (marks or {}).items():
        for dot in range(0, 2 * width, 4):
            canvas.point(1 + (end - 1) * dot / (2 * width - 1), mark, color=colour)
    points = curves["train"]
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        canvas.line(x0, y0, x1, y1, color=TRAIN)
    for x, y in curves["eval"]:
        canvas.point(x, y, color=EVAL, marker="o")
    drawn = canvas.plot(linesep="\n").replace("\u2800", " ").split("\n")  # some fonts draw the eight dots that are not

    numbers = {int((tick - low) / (top - low) * height): f"{tick:g}" for tick in _ticks(low, high, height // 2)}
    sides = [numbers.get(row, "").rjust(NUMBERS - 1) for row in reversed(range(height))]
    below = [" "] * width
    for tick in _ticks(1, end, width // 6):
        text = f"{tick:g}"
        start = min(int((tick - 1) / (right - 1) * width), width - len(text))
        below[start : start + len(text)] = text
    return [
        f"{title:>{NUMBERS + len(title)}}".ljust(NUMBERS + width),
        *(f"{side}│{line}" for side, line in zip(sides, drawn, strict=True)),
        " " * (NUMBERS - 1) + "└" + "─" * width,
        "epoch".ljust(NUMBERS) + "".join(below),
    ]


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them."""
    steps = (digit * 10.0**power for power in itertools.count(-2) for digit in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= max(2, most))
    return [step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _coloured(text: str, code: int) -> str:
    """Where standard output is a terminal, and NO_COLOR is not set; so the canvas too."""
    return plotille.color(text, fg=code, mode="byte")
