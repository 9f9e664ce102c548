"""Numbers from predictions. Accuracies are percentages; all are rounded, so that equal runs give equal files."""

import math

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F


def wilson_interval(hits: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a proportion, in percent (Wilson 1927, eq. 3): sound near 0 and 100 too."""
    fraction, spread = hits / count, z * z / count
    centre = fraction + spread / 2
    half = z * math.sqrt(fraction * (1 - fraction) / count + spread / count / 4)
    return 100 * (centre - half) / (1 + spread), 100 * (centre + half) / (1 + spread)


def accuracy(logits_nk: Tensor, labels_n: Tensor) -> dict[str, float]:
    """top1 with its 95% interval, top5 (percent) and mean cross-entropy (nats) of N answers over K classes."""
    best = logits_nk.topk(min(5, logits_nk.shape[1])).indices == labels_n[:, None]
    hits = int(best[:, 0].sum())
    low, high = wilson_interval(hits, len(labels_n))
    return {
        "top1": round(100 * hits / len(labels_n), 2),
        "top1_low": round(low, 2),
        "top1_high": round(high, 2),
        "top5": round(100 * best.any(1).double().mean().item(), 2),
        "loss": round(F.cross_entropy(logits_nk.double(), labels_n).item(), 4),
    }


def predictions(logits_nk: Tensor, labels_n: Tensor, names: list[str]) -> pd.DataFrame:
    """One row an image, in the data's order: actual class, predicted class, the probability given to it."""
    probability, predicted = torch.softmax(logits_nk.double(), 1).max(1)
    return pd.DataFrame(
        {
            "actual": [names[i] for i in labels_n.tolist()],
            "predicted": [names[i] for i in predicted.tolist()],
            "probability": [round(p, 4) for p in probability.tolist()],
        }
    )


def per_class(answers: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each class (percent) and its most frequent wrong answer, from `predictions`, worst first."""
    rows = []
    for name, group in answers.groupby("actual", sort=True):
        wrong = group.predicted[group.predicted != name]
        rows.append(
            {
                "class": name,
                "top1": round(100 * (1 - len(wrong) / len(group)), 2),
                "taken_for": wrong.value_counts(sort=False).sort_index().idxmax() if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["top1", "class"], ignore_index=True)
