"""What moves the weights: AdamW's parameter groups and the weights' moving average."""

import copy

import torch
from torch import nn

from ..params import TrainParams


def adamw(model: nn.Module, train: TrainParams) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels only: not norms, biases (one dimension) and position tables.

    torch leaves these groups to its callers.

    The learning rate is a tensor, so that a new value each step neither recompiles nor synchronises.
    """
    spared: set[str] = getattr(model, "no_weight_decay", set)()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in named if p.ndim > 1 and name not in spared]
    others = [p for name, p in named if p.ndim <= 1 or name in spared]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    lr = torch.tensor(train.lr, device=named[0][1].device)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)


class Ema:
    """An exponential moving average of a model's weights and batch-norm statistics.

    The decay rises as (1 + step) / (10 + step) up to `decay`, so that a short run is not held back by its start;
    torch's `AveragedModel` has no such rise.
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
