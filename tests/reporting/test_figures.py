"""What the figures show, read back from their axes."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from coatnet.reporting import original
from coatnet.reporting.figures.calibration import reliability
from coatnet.reporting.figures.classes import by_group, classes, groups
from coatnet.reporting.figures.confusion import by_similarity, confusion, counts, pairs
from coatnet.reporting.figures.curves import accuracy_curve, gap_curve, gaps, loss_curve, losses
from coatnet.reporting.figures.pictures import Picture, Row, augmented, diverging, heat, named_targets, sheet
from coatnet.reporting.figures.style import TRAIN, inline_svg, save_png
from coatnet.reporting.metrics import calibration

from .conftest import HISTORY

METRICS = {"top1": 9.0, "top1_low": 8.0, "top1_high": 10.5, "train_top1": 20.0, "gap": 11.0, "split": "holdout"}
BARE = HISTORY[["epoch", "train_loss", "train_top1"]]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_curves_skip_epochs_without_an_evaluation():
    (axes,) = loss_curve(HISTORY, "holdout").axes
    train, held = axes.lines
    assert list(train.get_ydata()) == [3, 2, 1]
    assert list(held.get_xdata()) == [1, 3]
    assert held.get_label() == "holdout"


@pytest.mark.parametrize("history", [BARE, BARE.head(1)], ids=["three epochs", "one epoch"])
def test_a_history_without_the_curve_can_be_drawn(history, tmp_path):
    assert len(loss_curve(history, "test").axes[0].lines) == 1
    for figure in (accuracy_curve(history, METRICS), gap_curve(history, METRICS)):
        save_png(figure, tmp_path / "figure.png", 30)
    assert gaps(history).empty


def test_the_end_shows_interval_and_gap():
    (axes,) = accuracy_curve(HISTORY, METRICS).axes
    (bars,) = axes.collections
    np.testing.assert_allclose(bars.get_segments()[0], [[3, 8.0], [3, 10.5]])
    assert "gap 11.00" in axes.get_title("left")


def test_the_gap_is_a_difference_of_accuracies():
    table = gaps(HISTORY)
    assert table.to_dict("list") == {"epoch": [1, 3], "train_top1": [5, 7], "eval_top1": [8, 9], "gap": [-3, -2]}
    line, end, *_ = gap_curve(HISTORY, METRICS).axes[0].lines
    assert (list(line.get_ydata()), list(end.get_ydata())) == ([-3, -2], [11.0])


def test_the_originals_end_points_are_marked_where_they_can_be_compared():
    def marked(figure):
        return {float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_marker() == "D"}

    assert marked(loss_curve(HISTORY, "test", compared=True)) == {original.TEST_LOSS}
    assert marked(accuracy_curve(HISTORY, METRICS, compared=True)) == {95.89, 44.80}
    assert marked(gap_curve(HISTORY, METRICS, compared=True)) == {51.09}
    assert not marked(accuracy_curve(HISTORY, METRICS))


def test_the_originals_loss_is_drawn_and_listed_by_epoch():
    dashed = [line for line in loss_curve(HISTORY, "test", compared=True).axes[0].lines if line.get_linestyle() == "--"]
    assert [len(line.get_xdata()) for line in dashed] == [80]
    table = losses(HISTORY.assign(epoch=[1.0, 80.0, 81.0]), compared=True)
    np.testing.assert_array_equal(table.original_train_loss, [4.5823, 1.3317, np.nan])
    assert list(losses(HISTORY)) == ["epoch", "train_loss", "eval_loss"]


def test_confusion_has_rows_of_actual_classes_that_add_up():
    answers = pd.DataFrame({"actual": list("aaab"), "predicted": list("abcb")})
    image = confusion(counts(answers, list("abc"))).axes[0].images[0].get_array()
    np.testing.assert_allclose(image, [[100 / 3] * 3, [0, 100, 0], [0, 0, 0]])


@pytest.mark.parametrize("k", [2, 30])
def test_classes_that_are_confused_stand_side_by_side(k):
    names = [f"c{i:02}" for i in range(k)]
    partners = {names[0]: names[-1], names[-1]: names[0]}  # as far apart as can be
    rows = [(name, partners.get(name, name)) for name in names] + [(name, name) for name in names]
    rows += [(name, names[(i * 7 + 3) % k]) for i, name in enumerate(names)]
    table = counts(pd.DataFrame(rows, columns=["actual", "predicted"]), names)
    order = by_similarity(table)
    assert sorted(order) == names
    assert abs(order.index(names[0]) - order.index(names[-1])) == 1


def test_a_class_without_images_and_a_model_without_mistakes_have_an_order():
    answers = pd.DataFrame({"actual": list("aabb"), "predicted": list("aabb")})
    assert sorted(by_similarity(counts(answers, list("abc")))) == ["a", "b", "c"]


def test_pairs_are_counted_both_ways():
    answers = pd.DataFrame({"actual": list("aaabbccc"), "predicted": list("bbaaaabc")})
    expected = {"first": ["a", "a", "b"], "second": ["b", "c", "c"], "first_as_second": [2, 0, 0]}
    expected |= {"second_as_first": [2, 1, 1], "both": [4, 1, 1]}
    assert pairs(answers).to_dict("list") == expected
    assert len(pairs(answers, most=1)) == 1
    assert pairs(answers[answers.actual == answers.predicted]).empty


def test_groups_add_their_classes_up():
    answers = pd.DataFrame({"actual": list("aabbcc"), "predicted": list("abacca")})
    table = by_group(answers, {"a": "x", "b": "x", "c": "y"})
    rows = table.set_index("group").to_dict("index")
    assert (rows["x"]["classes"], rows["x"]["images"], rows["x"]["top1"]) == (2, 4, 25.0)
    assert rows["x"]["inside"] == round(100 * 2 / 3, 2) and rows["x"]["taken_for"] == "y"
    assert rows["y"]["top1"] == 50.0 and list(table.group) == ["y", "x"]
    (axes,) = groups(table, 33.3).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["y (1)", "x (2)"]
    np.testing.assert_allclose(np.asarray(axes.containers[0].lines[0].get_xdata(), float), [50, 25])


def test_reliability_shows_the_bins():
    answers = pd.DataFrame({"actual": list("aab"), "predicted": list("aaa"), "probability": [0.9, 0.91, 0.3]})
    upper, lower = reliability(calibration(answers), 1.0).axes
    np.testing.assert_allclose(upper.lines[1].get_xydata(), [[30, 0], [90.5, 100]])
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [100 / 3, 200 / 3], atol=0.01)


def test_the_grid_names_a_second_class_only_where_one_was_mixed_in():
    smoothed = torch.tensor([[0.91, 0.03, 0.03, 0.03], [0.49, 0.03, 0.45, 0.03]])
    targets = named_targets(smoothed, 0.12, ["a", "b", "c", "d"])
    assert targets == [("a", 0.91, "", 0.0), ("a", 0.49, "c", 0.45)]
    rows = augmented(torch.rand(2, 3, 8, 8), targets, columns=1)
    assert [picture.text for row in rows for picture in row.pictures] == ["a\n91%", "a\n49% + c"]
    texts = [text.get_text() for text in sheet(rows).axes[0].texts if text.get_text()]
    assert texts == ["a\n91%", "a\n49% + c"]


def test_of_two_classes_the_second_is_named_where_one_was_mixed_in():
    targets = named_targets(torch.tensor([[0.95, 0.05], [0.41, 0.59]]), 0.1, ["a", "b"])
    rows = augmented(torch.rand(2, 3, 8, 8), targets)
    assert [picture.text for picture in rows[0].pictures] == ["a\n95%", "b\n59% + a"]


def test_no_caption_is_cut(monkeypatch):
    text = "is boa constrictor\nsaid American alligator\n86% sure"
    (found,) = sheet([Row("", [Picture(np.zeros((8, 8, 3), np.uint8), text, "")])]).axes[0].texts[2:]
    assert found.get_text().split() == text.split()


def test_many_classes_are_cut_to_the_worst_and_the_best():
    top1 = np.arange(200) / 2
    table = pd.DataFrame({"class": [f"c{i:03}" for i in range(200)], "top1": top1, "taken_for": ""})
    table.loc[0, "taken_for"] = "c7"
    (axes,) = classes(table.assign(top1_low=top1 - 1, top1_high=top1 + 2), shown=3).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c000 (c7)", "c001", "c002", "c197", "c198", "c199"]
    (intervals,) = axes.collections
    ends = [segment[:, 0].tolist() for segment in intervals.get_segments()]
    assert ends == [[value - 1, value + 2] for value in (*top1[:3], *top1[-3:])]


def test_pictures_of_a_sheet_do_not_overlap():
    picture = Picture(np.zeros((4, 4, 3), np.uint8), "a", "")
    rows = [Row("one", [picture] * 3), Row("two", [picture]), Row("three", [picture] * 2)]
    (axes,) = sheet(rows, across=2).axes
    boxes = [image.get_extent() for image in axes.images]
    assert len(boxes) == 6
    for i, (left, right, bottom, top) in enumerate(boxes):
        for other_left, other_right, other_bottom, other_top in boxes[:i]:
            assert right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
    assert max(box[1] for box in boxes) <= axes.get_xlim()[1] and max(box[2] for box in boxes) <= axes.get_ylim()[0]


def test_heat_is_bright_where_it_is_high():
    map_hw = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    pixels = heat(torch.full((3, 8, 8), 0.5), map_hw, 8).mean(2)
    assert pixels[0, 7] > pixels[7, 0] > pixels[0, 0] == pixels[7, 7]


def test_a_diverging_map_is_white_at_zero_and_has_a_colour_a_side():
    purple, white, orange = diverging(torch.tensor([[-2.0, 0.0, 2.0]]), 2.0)[0].astype(int)
    assert white.min() > 240
    assert purple[2] > purple[1] and orange[0] > orange[2]


def test_an_inline_svg_takes_the_pages_colours_and_equal_figures_are_equal_bytes(tmp_path):
    first, second = (inline_svg(loss_curve(HISTORY, "<test>"), "loss", 'a "b" & c') for _ in range(2))
    assert first == second
    assert "var(--train)" in first and TRAIN not in first and "font-family" not in first
    assert 'aria-label="a &#34;b&#34; &amp; c"' in first and "&lt;test&gt;" in first
    for name in ("a.png", "b.png"):
        save_png(loss_curve(HISTORY, "test"), tmp_path / name, 60)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (int(4.6 * 60), int(3.6 * 60))


def test_where_colours_matter_all_of_them_are_kept(tmp_path):
    pixels = np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    figure = sheet([Row("", [Picture(pixels, "", "", is_map=True)])])
    for true_colours in (False, True):
        save_png(figure, tmp_path / "a.png", 120, true_colours=true_colours)
        shades = Image.open(tmp_path / "a.png").convert("RGB").getcolors(10**6)
        assert (len(shades) > 256) == true_colours
