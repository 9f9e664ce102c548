"""Accuracy class by class, and by group of classes."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..metrics import wilson_interval
from .style import EVAL, INK, MUTED, styled


@styled
def classes(table: pd.DataFrame, shown: int = 12) -> Figure:
    """The worst and the best classes with 95% intervals, and what each is mostly taken for (`metrics.per_class`)."""
    table = table if len(table) <= 2 * shown else pd.concat([table.head(shown), table.tail(shown)])
    figure = Figure(figsize=(8, 0.3 * len(table) + 1), layout="constrained")
    axes = figure.subplots()
    labels = [f"{row['class']} ({row.taken_for})" if row.taken_for else row["class"] for _, row in table.iterrows()]
    spread = [table.top1 - table.top1_low, table.top1_high - table.top1]
    axes.barh(
        range(len(table)), table.top1, xerr=spread, color=EVAL, ecolor=INK, capsize=2, error_kw={"elinewidth": 1.2}
    )
    axes.set_yticks(range(len(table)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="top-1, %", xlim=(0, 100), title="Worst and best classes (and most frequent wrong answer)")
    axes.grid(visible=False, axis="y")
    return figure


def by_group(answers: pd.DataFrame, group_of: Mapping[str, str]) -> pd.DataFrame:
    """Accuracy of each group of classes, best first.

    Args:
        group_of: the group of every class, by its name.

    Returns:
        Columns group, classes, images, top1 (percent) with its 95% interval, taken_for (the group that most of its
        wrong answers outside of it are in, or "") and inside (percent of its wrong answers that stay in the group).
    """
    groups = pd.DataFrame({"actual": answers.actual.map(group_of), "predicted": answers.predicted.map(group_of)})
    rows = []
    for group, of_group in answers.groupby(groups.actual):
        right = of_group.actual == of_group.predicted
        low, high = wilson_interval(int(right.sum()), len(right))
        wrong = groups.predicted[of_group.index][~right]
        others = wrong[wrong != group].value_counts(sort=False).sort_index()
        rows.append(
            {
                "group": group,
                "classes": sum(other == group for other in group_of.values()),
                "images": len(right),
                "top1": round(100 * right.mean(), 2),
                "top1_low": round(low, 2),
                "top1_high": round(high, 2),
                "inside": round(100 * (wrong == group).mean(), 2) if len(wrong) else 0.0,
                "taken_for": others.idxmax() if len(others) else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["top1", "group"], ascending=[False, True], ignore_index=True)


@styled
def groups(table: pd.DataFrame, top1: float) -> Figure:
    """The accuracy of each group (`by_group`) with its 95% interval, beside that of all images (`top1`, percent)."""
    figure = Figure(figsize=(4.6, 0.26 * len(table) + 0.9), layout="constrained")
    axes = figure.subplots()
    spread = [table.top1 - table.top1_low, table.top1_high - table.top1]
    axes.errorbar(table.top1, range(len(table)), xerr=spread, fmt="o", color=EVAL, capsize=3, elinewidth=1.2)
    axes.axvline(top1, color=MUTED, linestyle=":", linewidth=1)
    place: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(f"all: {top1:.2f}", (top1, -0.9), **place, color=MUTED, fontsize=9)
    labels = [f"{row.group} ({row.classes})" for row in table.itertuples()]
    axes.set_yticks(range(len(table)), labels)
    axes.set(xlabel="top-1, %", xlim=(0, 100), ylim=(len(table) - 0.4, -1.3), title="Accuracy by group")
    axes.grid(visible=False, axis="y")
    return figure
