"""`variant: paper`: CoAtNet as in Dai et al., 2021 (arXiv 2106.04803v2).

What the paper fixes, and where:

- relative attention with one table a layer and head (section 2.1, equation 3; section 3), resized bilinearly (A.1)
- two convolutions, then stages of MBConv or attention (section 2.2); theirs is CCTT, any string of C and T is taken
- kernel 3, head size 32, expansion 4, squeeze-excite's ratio 0.25 (table 3)
- pre-activation blocks x + Module(Norm(x)): BN for MBConv, LN for attention and FFN; GELU (A.1)
- downsampling in the first block of a stage (A.1, equations 4 and 5)
- global average pooling and a classifier (A.1)
- stochastic depth (table 10); its linear rise over the blocks is Huang et al.'s (2016)

What it leaves open, and what is done here: docs/models.md, "Deviations from the paper".

Other choices are parameters, `model.paper.*`, named in params.yaml. Other implementations': the stride on the depthwise
convolution (the paper's table 9: slower, better when small), average pooling, squeeze-excite before the norm or with
SiLU, layer scale, a hidden layer before the classifier. For speed: MBConv with one dense convolution, ReLU.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..params import ModelParams
from .attention import RelativeAttention, position_tables
from .mbconv import PaperMBConv
from .residual import ACTIVATIONS, DropPath, LayerScale, downsample
from .stages import stage_strides


class TransformerBlock(nn.Module):
    """Relative attention, then an FFN, each pre-norm and residual; with a stride of 2, equation 4 of appendix A.1,

    `Proj(Pool(x)) + Attention(Pool(Norm(x)))`.

    Args:
        size: height and width of the feature map after the stride.
    """

    def __init__(self, in_width: int, width: int, stride: int, size: int, drop_path: float, params: ModelParams):
        super().__init__()
        self.pool = downsample(params.paper.pool, stride)
        self.shortcut = nn.Linear(in_width, width) if in_width != width else nn.Identity()
        self.norm = nn.LayerNorm(in_width)
        self.attention = RelativeAttention(in_width, width, width // params.paper.head_dim, size, bias=True)
        self.project = nn.Linear(width, width)
        self.ffn = nn.Sequential(
            OrderedDict(
                norm=nn.LayerNorm(width),
                expand=nn.Linear(width, width * params.expansion),
                activation=ACTIVATIONS[params.paper.activation](),
                project=nn.Linear(width * params.expansion, width),
            )
        )
        scale = params.paper.layer_scale
        self.scale1, self.scale2 = (LayerScale(width, scale, -1) if scale else nn.Identity() for _ in range(2))
        self.drop_path = DropPath(drop_path)

    def _pool(self, x_bhwc: Tensor) -> Tensor:
        return self.pool(x_bhwc.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        x = x_bchw.permute(0, 2, 3, 1)
        attended = self.project(self.attention(self._pool(self.norm(x))))
        x = self.shortcut(self._pool(x)) + self.drop_path(self.scale1(attended))
        x = x + self.drop_path(self.scale2(self.ffn(x)))
        return x.permute(0, 3, 1, 2)


class PaperCoAtNet(nn.Sequential):
    """Images b x 3 x h x w to logits b x classes. Stage i's first block has its stride."""

    def __init__(self, params: ModelParams, num_classes: int):
        width, size = params.stem_width, params.image_size // params.stem_stride
        rows: OrderedDict[str, nn.Module] = OrderedDict(
            stem=nn.Sequential(
                nn.Conv2d(3, width, 3, params.stem_stride, 1, bias=False),
                nn.BatchNorm2d(width),
                ACTIVATIONS[params.paper.activation](),
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
            )
        )
        # On the CPU, whatever the default device: these are numbers, not weights.
        drop_paths = iter(torch.linspace(0, params.paper.drop_path, sum(params.blocks), device="cpu").tolist())
        stages = zip(params.layout, params.blocks, params.dims, stage_strides(params), strict=True)
        for number, (kind, blocks, dim, stride) in enumerate(stages, 1):
            rows[f"stage{number}"] = stage = nn.Sequential()
            size //= stride
            for index in range(blocks):
                shape = (width, dim, stride if index == 0 else 1)
                if kind == "C":
                    stage.append(PaperMBConv(*shape, next(drop_paths), params, number <= params.paper.fused_stages))
                else:
                    stage.append(TransformerBlock(*shape, size, next(drop_paths), params))
                width = dim
        rows["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width))
        if params.paper.head == "tanh":
            rows["hidden"] = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        rows["head"] = nn.Linear(width, num_classes)
        super().__init__(rows)
        self.apply(_init)

    def no_weight_decay(self) -> set[str]:
        return position_tables(self)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
