"""What moves the weights: the optimizers with their groups of parameters, and the weights' moving average."""

import copy

import torch
from torch import nn

from ..models import head_tensors, stem_tensors
from ..params import MuonParams, TrainParams
from .muon import Muon


def optimizers(model: nn.Module, train: TrainParams) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters, or Muon for some of them and AdamW for the rest.

    Decayed are matrices and kernels only: not norms, biases (one dimension) and position tables. torch leaves these
    groups to its callers.

    Learning rates are tensors, so that a new value each step (`set_rate`) neither recompiles nor synchronises.
    """
    spared: set[str] = getattr(model, "no_weight_decay", set)()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    orthogonal = muon_names(model, train.muon) - spared if train.optimizer == "muon" else set()
    decayed = [p for name, p in named.items() if p.ndim > 1 and name not in spared | orthogonal]
    others = [p for name, p in named.items() if p.ndim <= 1 or name in spared]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": others, "weight_decay": 0.0}]
    lr = torch.tensor(train.lr, device=next(iter(named.values())).device)
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, fused=True)]
    if orthogonal:
        muon = train.muon
        found.append(
            Muon(
                [named[name] for name in sorted(orthogonal)],
                lr * (muon.lr / train.lr),
                momentum=muon.momentum,
                steps=muon.steps,
                weight_decay=muon.weight_decay,
            )
        )
    return found


def muon_names(model: nn.Module, muon: MuonParams) -> set[str]:
    """The parameters that Muon takes: matrices and the kernels of convolutions over all channels."""
    left_out = set() if muon.stem else stem_tensors(model)
    left_out |= set() if muon.head else head_tensors(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return {name for name, p in trained.items() if p.ndim in (2, 4) and p.shape[1] > 1} - left_out


def set_rate(optimizers: list[torch.optim.Optimizer], train: TrainParams, rate: float) -> None:
    """Gives AdamW the learning rate, and Muon its own at the same fraction of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"].fill_(rate * train.muon.lr / train.lr if isinstance(optimizer, Muon) else rate)


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
