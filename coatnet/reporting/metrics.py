"""Numbers from predictions. Accuracies are percentages; all are rounded, so that equal runs give equal files."""

import math

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15  # of confidence: Guo et al. 2017, section 4


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


def calibration(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of `predictions` by the probability given to them, in `BINS` bins of equal width.

    Returns:
        A row for each bin that is not empty: low (exclusive) and high, images, and, in percent, the mean probability
        of its answers (`confidence`) and how many are right (`top1`), with its 95% interval.
    """
    number = (answers.probability * BINS).apply(math.ceil).clip(1)
    rows = []
    for high, group in answers.groupby(number):
        hits = int((group.actual == group.predicted).sum())
        interval = wilson_interval(hits, len(group))
        rows.append(
            {
                "low": (high - 1) / BINS * 100,
                "high": high / BINS * 100,
                "images": len(group),
                "confidence": 100 * group.probability.mean(),
                "top1": 100 * hits / len(group),
                "top1_low": interval[0],
                "top1_high": interval[1],
            }
        )
    return pd.DataFrame(rows).round(2)


def ece(bins: pd.DataFrame) -> float:
    """Expected calibration error of `calibration`'s bins, in points: Guo et al. 2017 (arXiv 1706.04599), equation 3.

    The mean over all images of how far the accuracy of an image's bin lies from the bin's mean probability.
    """
    return round(float(((bins.confidence - bins.top1).abs() * bins.images).sum() / bins.images.sum()), 2)


def macro_top1(answers: pd.DataFrame) -> float:
    """The mean of the classes' accuracies, in percent; differs from top-1 where classes have unequal numbers of images.

    Also called balanced accuracy (Brodersen et al. 2010, doi.org/10.1109/ICPR.2010.764).
    """
    return round(100 * float((answers.actual == answers.predicted).groupby(answers.actual).mean().mean()), 2)


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
    """Each class's images, accuracy (percent) with its 95% interval and most frequent wrong answer, worst first.

    From `predictions`.
    """
    rows = []
    for name, group in answers.groupby("actual", sort=True):
        wrong = group.predicted[group.predicted != name]
        low, high = wilson_interval(len(group) - len(wrong), len(group))
        rows.append(
            {
                "class": name,
                "images": len(group),
                "top1": round(100 * (1 - len(wrong) / len(group)), 2),
                "top1_low": round(low, 2),
                "top1_high": round(high, 2),
                "taken_for": wrong.value_counts(sort=False).sort_index().idxmax() if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["top1", "class"], ignore_index=True)
