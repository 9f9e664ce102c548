"""`variant: table`: the original's model, row by row (docs/original.md).

Its attention has no norm, residual, output projection or FFN.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..params import ModelParams
from .attention import RelativeAttention, position_tables
from .mbconv import TableMBConv
from .stages import stage_strides


class TableAttention(RelativeAttention):
    """One row of the table: tokens, attention, and back. The two reshapes are free in the channels_last format."""

    def forward(self, x_bchw: Tensor) -> Tensor:
        return super().forward(x_bchw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x_bchw: Tensor) -> Tensor:
        return x_bchw + self.block(x_bchw)


class TableCoAtNet(nn.Sequential):
    """Images b x 3 x h x w to logits b x classes; the children are the table's rows, in order.

    Stage i's blocks come first and the convolution with its stride after them. That convolution brings the next
    stage's width if that is attention (which here cannot widen: its shortcut does not exist) and keeps the width
    otherwise, since MBConv widens by itself. The first block of a stage is the table's own; each further one is
    residual, x + f(x). If the first stage is attention, its queries, keys and values map `stem_width` to its width.
    """

    def __init__(self, params: ModelParams, num_classes: int):
        width, size = params.stem_width, params.image_size // params.stem_stride
        rows = OrderedDict(
            stem=nn.Conv2d(3, width, 3, params.stem_stride, 1, bias=False),
            stem_norm=nn.Sequential(nn.BatchNorm2d(width), nn.GELU()),
        )
        stages = zip(params.layout, params.blocks, params.dims, stage_strides(params), strict=True)
        for number, (kind, blocks, dim, stride) in enumerate(stages, 1):
            rows[f"stage{number}"] = stage = nn.Sequential()
            for index in range(blocks):
                if kind == "C":
                    stage.append(TableMBConv(width, dim, params, residual=index > 0))
                else:
                    attention = TableAttention(width, dim, params.table.heads, size, bias=False)
                    stage.append(Residual(attention) if index else attention)
                width = dim
            attention_follows = params.layout[number:].startswith("T")
            width = params.dims[number] if attention_follows else dim
            rows[f"down{number}"] = nn.Conv2d(dim, width, 3, stride, 1, bias=False)
            size //= stride
        rows["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        rows["head"] = nn.Linear(width, num_classes)
        super().__init__(rows)
        # Glorot's uniform keeps the signal's size through the rows that have no norm.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def no_weight_decay(self) -> set[str]:
        return position_tables(self)
