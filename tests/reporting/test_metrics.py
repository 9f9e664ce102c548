import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from coatnet.reporting.metrics import accuracy, per_class, predictions, wilson_interval


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
    expected = pd.DataFrame({"class": ["a", "c", "b"], "top1": [50.0, 50.0, 100.0], "taken_for": ["b", "a", ""]})
    pd.testing.assert_frame_equal(per_class(table), expected)
