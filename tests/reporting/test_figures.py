"""What the figures show, read back from their axes."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from coatnet.reporting import figures

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [3, 2, 1],
        "train_top1": [5, 6, 7],
        "eval_loss": [4, None, 2],
        "eval_top1": [8, None, 9],
    }
)
METRICS = {"top1": 9.0, "top1_low": 8.0, "top1_high": 10.5, "train_top1": 20.0, "gap": 11.0, "split": "holdout"}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_curves_skip_epochs_without_an_evaluation():
    (axes,) = figures.loss_curve(HISTORY, "holdout").axes
    train, held = axes.lines
    assert list(train.get_ydata()) == [3, 2, 1]
    assert list(held.get_xdata()) == [1, 3]
    assert held.get_label() == "holdout"


def test_a_history_without_the_curve_can_be_drawn():
    bare = HISTORY[["epoch", "train_loss", "train_top1"]]
    assert len(figures.loss_curve(bare, "test").axes[0].lines) == 1
    figures.accuracy_curve(bare, METRICS)


def test_the_end_shows_interval_and_gap():
    (axes,) = figures.accuracy_curve(HISTORY, METRICS).axes
    (bars,) = axes.collections
    np.testing.assert_allclose(bars.get_segments()[0], [[3, 8.0], [3, 10.5]])
    assert "gap 11.00" in axes.get_title()


def test_confusion_has_rows_of_actual_classes_that_add_up():
    answers = pd.DataFrame({"actual": list("aaab"), "predicted": list("abcb")})
    image = figures.confusion(answers).axes[0].images[0].get_array()
    np.testing.assert_allclose(image, [[100 / 3] * 3, [0, 100, 0], [0, 0, 0]])


def test_the_grid_names_a_second_class_only_where_one_was_mixed_in():
    smoothed = torch.tensor([[0.91, 0.03, 0.03, 0.03], [0.49, 0.03, 0.45, 0.03]])
    grid = figures.augmented_images(torch.rand(2, 3, 8, 8), smoothed, ["a", "b", "c", "d"])
    assert [axes.get_title() for axes in grid.axes] == ["a\n91%", "a\n49% + c"]


def test_many_classes_are_cut_to_the_worst_and_the_best():
    table = pd.DataFrame({"class": [f"c{i:03}" for i in range(200)], "top1": np.arange(200) / 2, "taken_for": ""})
    (axes,) = figures.classes(table, shown=3).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c000", "c001", "c002", "c197", "c198", "c199"]
