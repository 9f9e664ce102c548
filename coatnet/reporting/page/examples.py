"""Evaluated images that show what the model is good and bad at. None is picked by hand: each has a rule."""

from collections.abc import Hashable, Iterable, Mapping
from itertools import chain
from typing import Any

import pandas as pd

from ..figures.confusion import pairs
from ..figures.pictures import Picture, Row, to_pixels
from .run import Run

CLASSES = 6  # worst and as many best
OF_A_CLASS = 5  # images
OF_A_PAIR = 2  # images of each of its classes
MISTAKES = 24
COLUMNS = 8


def picture(run: Run, image: int, text: str) -> Picture:
    """Image number `image` of those evaluated."""
    answer = run.answers.iloc[image]
    right = answer.actual == answer.predicted
    said = "is right" if right else f"answers {answer.predicted}"
    alt = f"{answer.actual}; the model {said}, {100 * answer.probability:.0f}% sure"
    return Picture(to_pixels(run.images[image]), text, alt, right)


def worst_and_best(run: Run) -> tuple[list[Row], list[Row], pd.DataFrame]:
    """The first images of the worst and of the best classes, in the data's order; the rows, then all their numbers."""
    count = min(CLASSES, len(run.classes) // 2)
    chosen = [run.classes.head(count), run.classes.tail(count)[::-1]]
    worst, best = ([_class(run, row) for row in table.to_dict("records")] for table in chosen)
    images = {row.title: _of(run, row.title)[:OF_A_CLASS] for row in worst + best}
    return worst, best, _listed(run, chain(*images.values()))


def _class(run: Run, row: Mapping[Hashable, Any]) -> Row:
    name = row["class"]
    pictures = [picture(run, image, _verdict(run, image)) for image in _of(run, name)[:OF_A_CLASS]]
    text = f"most often taken for {row['taken_for']}" if row["taken_for"] else "never taken for another"
    return Row(name, pictures, text, row["top1"])


def confused(run: Run) -> tuple[list[Row], pd.DataFrame]:
    """The pairs of classes most often taken for each other; images that were, where there are any."""
    table = pairs(run.answers)
    rows = []
    for pair in table.to_dict("records"):
        first, second = pair["first"], pair["second"]
        both = []
        for actual, other in ((first, second), (second, first)):
            images = _of(run, actual)
            taken = [image for image in images if run.answers.predicted[image] == other]
            rest = [image for image in images if image not in taken]
            both += [picture(run, image, _verdict(run, image)) for image in (taken + rest)[:OF_A_PAIR]]
        text = f"{pair['first_as_second']} of {len(_of(run, first))} taken for the second, "
        text += f"{pair['second_as_first']} of {len(_of(run, second))} for the first"
        rows.append(Row(f"{first} and {second}", both, text))
    return rows, table


def surest_mistakes(run: Run) -> tuple[list[Row], pd.DataFrame]:
    """The wrong answers that the model was surest of."""
    table = _listed(run, surest(run, right=False)[:MISTAKES])
    pictures = [
        picture(run, row["image"], f"is {row['actual']}\nsaid {row['predicted']}\n{100 * row['probability']:.0f}% sure")
        for row in table.to_dict("records")
    ]
    return [Row("", pictures[i : i + COLUMNS]) for i in range(0, len(pictures), COLUMNS)], table


def surest(run: Run, right: bool) -> list[int]:
    """The numbers of the right, or of the wrong, answers, the surest first."""
    chosen = run.answers[(run.answers.actual == run.answers.predicted) == right]
    return list(chosen.sort_values("probability", ascending=False, kind="stable").index)


def _of(run: Run, name: str) -> list[int]:
    return list(run.answers.index[run.answers.actual == name])


def _verdict(run: Run, image: int) -> str:
    answer = run.answers.iloc[image]
    return "right" if answer.actual == answer.predicted else answer.predicted


def _listed(run: Run, images: Iterable[int]) -> pd.DataFrame:
    """The answers for `images`, each with its number in the data's order, from 0."""
    return run.answers.loc[list(images)].rename_axis("image").reset_index()
