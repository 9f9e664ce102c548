"""What a finished run left: all that its figures and its page are made of."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from torch import Tensor

from ...data.classes import class_names
from ...params import Params
from ...training.checkpoint import Checkpoint
from ..groups import GROUP_OF


@dataclass(frozen=True)
class Run:
    params: Params  # of the stages after training; `checkpoint.params` has those it was trained with
    checkpoint: Checkpoint
    history: pd.DataFrame  # reports/history.csv
    metrics: dict[str, Any]  # reports/metrics.json
    training: dict[str, Any]  # reports/train.json
    data: dict[str, Any]  # reports/data.json
    answers: pd.DataFrame  # reports/predictions.csv, a row for each evaluated image
    classes: pd.DataFrame  # reports/classes.csv, worst first
    images: Tensor  # the evaluated ones: uint8, N x 3 x size x size, in the order of `answers`
    trained_on: int  # training images
    augmented: Tensor  # some of them as the model saw them: floats in 0..1, n x 3 x h x w
    targets: Tensor  # theirs, n x classes

    @cached_property
    def names(self) -> list[str]:
        """Of the classes, in the order of the logits."""
        return class_names(self.checkpoint.classes)

    @cached_property
    def groups(self) -> dict[str, str]:
        """The WordNet group of each class by its name; empty where one of the classes' ids is not known."""
        ids = [wnid for wnid, _ in self.checkpoint.classes]
        if not all(wnid in GROUP_OF for wnid in ids):
            return {}
        return {name: GROUP_OF[wnid] for name, wnid in zip(self.names, ids, strict=True)}

    @property
    def compared(self) -> bool:
        """Whether the original's figures can stand beside these: they are of all of Tiny ImageNet's classes."""
        return {wnid for wnid, _ in self.checkpoint.classes} == GROUP_OF.keys()

    @property
    def split(self) -> str:
        """The evaluated images, in words."""
        return {"test": "test", "holdout": "held-out"}[self.metrics["split"]]
