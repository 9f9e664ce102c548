"""Which classes are taken for which."""

from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from .style import styled

EVERY_NAME = 40  # classes up to which the matrix names each


def counts(answers: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Images of each actual class (row) given each answer (column); the classes in the order of `names`."""
    return pd.crosstab(answers.actual, answers.predicted).reindex(index=names, columns=names, fill_value=0)


def by_similarity(table: pd.DataFrame) -> list[str]:
    """The classes of `counts` in an order that puts those which are taken for each other side by side.

    Average linkage (scipy) with one minus the cosine between the square roots of two classes' rows of the symmetrised
    shares (p_ij + p_ji) / 2, p_ij being the share of class i taken for j: the Bhattacharyya coefficient of whom they
    are confused with. The leaves as Bar-Joseph et al. (2001, doi.org/10.1093/bioinformatics/17.suppl_1.S22) order them.
    """
    share = shares(table)
    distance = pdist(np.sqrt((share + share.T) / 2), "cosine")
    distance = np.nan_to_num(distance, nan=1.0)  # a class without images that is no answer either
    order = leaves_list(linkage(distance, "average", optimal_ordering=True))
    return [table.index[i] for i in order]


def shares(table: pd.DataFrame) -> np.ndarray:
    """`counts` as fractions of the actual class, 0 for a class without images."""
    values = table.to_numpy(float)
    return values / np.maximum(values.sum(1, keepdims=True), 1)


def pairs(answers: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    """The pairs of classes most often taken for each other, both ways added up, the worst pair first.

    Returns:
        Columns first, second (in the order of names), first_as_second, second_as_first and both (images).
    """
    wrong = answers[answers.actual != answers.predicted]
    one_way = Counter(zip(wrong.actual, wrong.predicted, strict=True))
    found = {(min(pair), max(pair)) for pair in one_way}
    rows = [(a, b, one_way[a, b], one_way[b, a], one_way[a, b] + one_way[b, a]) for a, b in found]
    rows.sort(key=lambda row: (-row[-1], row))
    return pd.DataFrame(rows[:most], columns=["first", "second", "first_as_second", "second_as_first", "both"])


@styled
def confusion(table: pd.DataFrame) -> Figure:
    """`counts` as shares of the actual class; shades are of the square root, so that a few images still show."""
    names = list(table.index)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        100 * shares(table), cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100), interpolation="nearest"
    )
    figure.colorbar(image, label="of the actual class, %")
    axes.set(xlabel="predicted", ylabel="actual", title="Confusion, similar classes side by side")
    axes.grid(visible=False)
    if len(names) <= EVERY_NAME:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    return figure
