"""What the paper's two kinds of block have in common.

Ours, not `timm.layers`': importing timm would double the seconds before a stage begins.
"""

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): in training, zeroes the branch for some of the samples.

    What is kept is scaled up, so that the mean is that of evaluation, which drops nothing.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"{self.probability:.3f}"


class LayerScale(nn.Module):
    """A learned scale for each channel of a branch (Touvron et al., 2021, section 2)."""

    def __init__(self, width: int, start: float, channel_dim: int):
        super().__init__()
        self.shape = [width if dim == channel_dim % 4 else 1 for dim in range(4)]
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(self.shape)


def downsample(pool: str, stride: int) -> nn.Module:
    """Max or average pooling over `stride` x `stride` positions; nothing where the stride is 1."""
    if stride == 1:
        return nn.Identity()
    return {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[pool](stride)
