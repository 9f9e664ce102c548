import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from coatnet.reporting.metrics import (
    accuracy,
    calibration,
    ece,
    macro_top1,
    per_class,
    predictions,
    wilson_interval,
)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (4480, 10000), (1, 3)])
def test_the_interval_is_wilsons(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(hits, count)
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)


def test_accuracy_against_a_plain_count():
    torch.manual_seed(0)
    logits, labels = torch.randn(500, 20), torch.randint(20, (500,))
    found = accuracy(logits, labels)
    ranks = [
        sorted(row, reverse=True).index(row[label]) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert found["top1"] == round(100 * sum(rank < 1 for rank in ranks) / 500, 2)
    assert found["top5"] == round(100 * sum(rank < 5 for rank in ranks) / 500, 2)
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-4)
    assert found["top1_low"] < found["top1"] < found["top1_high"]


def test_fewer_than_five_classes_have_a_top_five():
    assert accuracy(torch.eye(3), torch.arange(3))["top5"] == 100


def test_predictions_and_their_classes():
    logits = torch.tensor([[4.0, 0, 0], [0, 4, 0], [0, 4, 0], [0, 0, 4], [4, 0, 0]])
    table = predictions(logits, torch.tensor([0, 0, 1, 2, 2]), ["a", "b", "c"])
    assert list(table.predicted) == ["a", "b", "b", "c", "a"]
    assert table.probability[0] == pytest.approx(logits.softmax(1)[0, 0].item(), abs=1e-4)
    expected = pd.DataFrame(
        {
            "class": ["a", "c", "b"],
            "images": [2, 2, 1],
            "top1": [50.0, 50.0, 100.0],
            "top1_low": [9.45, 9.45, 20.65],
            "top1_high": [90.55, 90.55, 100.0],
            "taken_for": ["b", "a", ""],
        }
    )
    pd.testing.assert_frame_equal(per_class(table), expected)


def test_a_class_is_taken_for_its_most_frequent_wrong_answer():
    answers = pd.DataFrame({"actual": ["a"] * 5, "predicted": ["a", "c", "b", "c", "c"]})
    assert list(per_class(answers).taken_for) == ["c"]


def test_calibration_by_hand():
    # Bins of width 1/15: 0.2 closes the third bin, 0.21 opens the fourth, 1 closes the last.
    answers = pd.DataFrame(
        {
            "actual": ["a", "a", "a", "a", "a"],
            "predicted": ["a", "b", "a", "a", "b"],
            "probability": [0.2, 0.15, 0.21, 1.0, 0.98],
        }
    )
    bins = calibration(answers)
    assert list(bins.images) == [2, 1, 2]
    assert list(bins.low) == [13.33, 20.0, 93.33] and list(bins.high) == [20.0, 26.67, 100.0]
    assert list(bins.confidence) == [17.5, 21.0, 99.0] and list(bins.top1) == [50.0, 100.0, 50.0]
    assert ece(bins) == round((2 * 32.5 + 79 + 2 * 49) / 5, 2)


def test_macro_accuracy_weighs_classes_not_images():
    answers = pd.DataFrame({"actual": ["a"] * 8 + ["b"] * 2, "predicted": ["a"] * 8 + ["a", "b"]})
    assert macro_top1(answers) == 75.0
