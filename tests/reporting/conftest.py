"""Runs as the plot stage reads them, with models that were never trained."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch

from coatnet import create_model
from coatnet.data.classes import class_names
from coatnet.reporting.metrics import accuracy, calibration, ece, macro_top1, per_class, predictions
from coatnet.reporting.page import Run
from coatnet.training.checkpoint import Checkpoint

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [3, 2, 1],
        "train_top1": [5, 6, 7],
        "eval_loss": [4, None, 2],
        "eval_top1": [8, None, 9],
    }
)
TRAINING = {
    "parameters": 1000,
    "epochs": 3,
    "images_per_second": 1234.5,
    "minutes": 6.7,
    "startup_seconds": 0.8,
    "device": "CPU, 2 threads",
    "processes": 1,
    "torch": "2.12.1",
}


@pytest.fixture(scope="session")
def make_run(tiny) -> Callable[..., Run]:
    """`make_run(classes, **overrides)`: a run with these (id, name) classes, and answers of which half are right."""

    def make(
        classes: list[tuple[str, str]], *, history: pd.DataFrame = HISTORY, split: str = "test", **overrides
    ) -> Run:
        params, k = tiny(**overrides), len(classes)
        torch.manual_seed(0)
        model = create_model(params.model, k).eval()
        labels = torch.arange(4 * k) % k
        logits = torch.randn(4 * k, k)
        logits[torch.arange(4 * k), labels] += 2.0
        answers = predictions(logits, labels, class_names(classes))
        metrics = accuracy(logits, labels) | {
            "macro_top1": macro_top1(answers),
            "ece": ece(calibration(answers)),
            "train_top1": 60.0,
            "gap": 5.0,
            "images": len(labels),
            "split": split,
        }
        size = sum(p.numel() for p in model.parameters())
        statistics = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        return Run(
            params=params,
            checkpoint=Checkpoint(model, params.model_dump(mode="json"), classes, *statistics),
            history=history,
            metrics=metrics,
            training=TRAINING | {"parameters": size, "epochs": len(history)},
            data={"duplicates": {"train_and_test": {"groups": 7}}},
            answers=answers,
            classes=per_class(answers),
            images=torch.randint(256, (4 * k, 3, 64, 64), dtype=torch.uint8),
            trained_on=5 * k,
            augmented=torch.rand(3, 3, 32, 32),
            targets=torch.eye(k)[torch.arange(3) % k] * 0.9 + 0.1 / k,
        )

    return make
