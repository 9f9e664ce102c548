"""The study's page and figure, from a table with one row a finished run."""

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from .metrics import wilson_interval

HEADER = "| run | seeds | top-1, % | 95% interval | training top-1, % | gap, points | parameters | minutes |"


def page(runs: pd.DataFrame, questions: dict[str, list[str]], changes: dict[str, str], figure: str) -> str:
    """Markdown: a table a question, then what each run changes.

    Args:
        runs: columns run, seed, top1, train_top1 and gap (percent), images (evaluated), split, parameters, minutes.
        questions: the runs, by name, that answer each; those with no row yet are named as missing.
        changes: what each run changes, in words.
        figure: the address of the figure.
    """
    lines = [
        "# Study",
        "",
        f"Top-1 on {' and '.join(sorted(runs.split.unique()))} images and on clean training images; the gap is the "
        "difference. Mean ± standard deviation over seeds; the interval is of the images' draw.",
        "",
        f"![Top-1 against gap]({figure})",
    ]
    for question, names in questions.items():
        lines += ["", f"## {question}", "", HEADER, "|---|" + "---:|" * (HEADER.count("|") - 2)]
        lines += [_row(name, runs[runs.run == name]) for name in names]
    lines += ["", "## Runs", "", "| run | changes |", "|---|---|"]
    lines += [f"| {name} | {change} |" for name, change in changes.items()]
    return "\n".join(lines) + "\n"


def _row(name: str, runs: pd.DataFrame) -> str:
    if runs.empty:
        return f"| {name} | 0 |" + " |" * (HEADER.count("|") - 3)
    images = int(runs.images.iloc[0])
    low, high = wilson_interval(runs.top1.mean() / 100 * images, images)
    cells = [
        name,
        str(len(runs)),
        _mean(runs.top1),
        f"{low:.2f} to {high:.2f}",
        _mean(runs.train_top1),
        _mean(runs.gap),
        f"{int(runs.parameters.iloc[0]):,}",
        f"{runs.minutes.mean():.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _mean(values: pd.Series) -> str:
    return f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")


def scatter(runs: pd.DataFrame) -> Figure:
    """Top-1 with its 95% interval against the gap, a point a finished run, a colour and marker a kind of run."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    colours, markers = matplotlib.color_sequences["tab10"], "os^Dv"
    for i, (name, group) in enumerate(runs.groupby("run", sort=False)):
        axes.errorbar(
            group.gap,
            group.top1,
            [group.top1 - group.top1_low, group.top1_high - group.top1],
            fmt=markers[(i + i // len(colours)) % len(markers)],
            color=colours[i % len(colours)],
            capsize=2,
            elinewidth=0.8,
            label=name,
        )
    axes.set(xlabel="gap: clean training top-1 minus top-1, points", ylabel="top-1, %", title="Accuracy against gap")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure
