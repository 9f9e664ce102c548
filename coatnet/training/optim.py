"""What moves the weights: AdamW's parameter groups, the learning-rate schedule and the weights' moving average."""

import copy
import math

import torch
from torch import nn

from ..params import TrainParams


def adamw(model: nn.Module, train: TrainParams) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels only: not norms, biases (one dimension) and position tables.

    The learning rate is a tensor, so that a new value each step neither recompiles nor synchronises.
    """
    spared: set[str] = getattr(model, "no_weight_decay", set)()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in named if p.ndim > 1 and name not in spared]
    others = [p for name, p in named if p.ndim <= 1 or name in spared]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    lr = torch.tensor(train.lr, device=named[0][1].device)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)


def learning_rate(train: TrainParams, step: int, steps_per_epoch: int) -> float:
    """The rate of `step` (from 0): linear warm-up from 0 to `lr`, then down to `final_lr * lr` on the last step.

    `cosine` follows half a period; `trapezoid` stays at `lr` and falls linearly over the last fifth of all steps.
    """
    last, warmup = train.epochs * steps_per_epoch - 1, train.warmup_epochs * steps_per_epoch
    if step < warmup:
        return train.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, last - warmup)
    height = (1 + math.cos(math.pi * done)) / 2 if train.schedule == "cosine" else min(1.0, (1 - done) / 0.2)
    return train.lr * (train.final_lr + (1 - train.final_lr) * height)


class Ema:
    """An exponential moving average of a model's weights and batch-norm statistics.

    The decay rises as (1 + step) / (10 + step) up to `decay`, so that a short run is not held back by its start.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.module = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.module.state_dict().values(), model.state_dict().values(), strict=True)
        averages, values = zip(*((a, v) for a, v in pairs if a.is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, values, weight)  # the rest are counters of batches, which nothing reads
