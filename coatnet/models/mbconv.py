"""MBConv: expand with a 1x1 convolution, mix positions with a depthwise one, squeeze-excite, project back.

Both forms stand here: the table's, which normalises after, and the paper's, which normalises before.
"""

from collections import OrderedDict

from torch import Tensor, nn

from ..params import ModelParams
from .residual import ACTIVATIONS, DropPath, LayerScale, downsample


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al., 2018, section 3)."""

    def __init__(self, width: int, ratio: float, activation: str = "gelu"):
        super().__init__()
        hidden = max(1, round(width * ratio))
        self.reduce = nn.Linear(width, hidden)
        self.activation = ACTIVATIONS[activation]()
        self.expand = nn.Linear(hidden, width)

    def forward(self, x_bchw: Tensor) -> Tensor:
        # Not mean(): its backward writes out a whole gradient, and not in channels_last.
        mean_bc = x_bchw.sum((2, 3)) / (x_bchw.shape[2] * x_bchw.shape[3])
        gate_bc = self.expand(self.activation(self.reduce(mean_bc))).sigmoid()
        return x_bchw * gate_bc[:, :, None, None]


def depthwise(width: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)


class TableMBConv(nn.Module):
    """The table's MBConv: BN after the 1x1 convolutions, nothing after the depthwise one, no stride.

    Expands to `expansion` times the input width. The shortcut is a 1x1 convolution (`residual=False`, the first block
    of a stage) or the identity.
    """

    def __init__(self, in_width: int, width: int, params: ModelParams, residual: bool):
        super().__init__()
        expanded = in_width * params.expansion
        layers = OrderedDict(
            expand=nn.Conv2d(in_width, expanded, 1, bias=False),
            expand_norm=nn.BatchNorm2d(expanded),
            activation=nn.GELU(),
            depthwise=depthwise(expanded, params.kernel),
        )
        if params.se_ratio:
            layers["se"] = SqueezeExcite(expanded, params.se_ratio)
        layers["project"] = nn.Conv2d(expanded, width, 1, bias=False)
        layers["project_norm"] = nn.BatchNorm2d(width)
        self.branch = nn.Sequential(layers)
        self.shortcut = nn.Identity() if residual else nn.Conv2d(in_width, width, 1, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.shortcut(x_bchw) + self.branch(x_bchw)


class PaperMBConv(nn.Module):
    """The paper's MBConv, pre-norm and residual; with a stride of 2, equation 5 of appendix A.1,

    `Proj(Pool(x)) + Conv(DepthConv(Conv(Norm(x), stride = 2)))`.

    Expands to `expansion` times the output width. BN and the activation follow both inner convolutions, the projection
    has a bias. The options that other implementations differ in are `ModelParams.paper`'s.

    Args:
        fused: whether one dense convolution stands in place of the two inner ones (Tan & Le 2021, EfficientNetV2,
            section 3.2): more arithmetic, but less memory to go through.
    """

    def __init__(
        self, in_width: int, width: int, stride: int, drop_path: float, params: ModelParams, fused: bool = False
    ):
        super().__init__()
        paper = params.paper
        expanded = width * params.expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict(norm=nn.BatchNorm2d(in_width))

        def add(name: str, convolution: nn.Conv2d) -> None:
            layers[name] = convolution
            layers[f"{name}_norm"] = nn.BatchNorm2d(expanded)
            layers[f"{name}_activation"] = ACTIVATIONS[paper.activation]()

        if fused:
            add("expand", nn.Conv2d(in_width, expanded, params.kernel, stride, params.kernel // 2, bias=False))
        else:
            expand_stride, depthwise_stride = (stride, 1) if paper.stride_on == "expand" else (1, stride)
            add("expand", nn.Conv2d(in_width, expanded, 1, expand_stride, bias=False))
            add("depthwise", depthwise(expanded, params.kernel, depthwise_stride))
        if params.se_ratio:
            layers["se"] = SqueezeExcite(expanded, params.se_ratio, paper.se_activation)
            if paper.se_place == "before_norm" and not fused:
                for name in ("depthwise_norm", "depthwise_activation"):
                    layers.move_to_end(name)
        layers["project"] = nn.Conv2d(expanded, width, 1)
        if paper.layer_scale:
            layers["scale"] = LayerScale(width, paper.layer_scale, channel_dim=1)
        layers["drop_path"] = DropPath(drop_path)
        self.branch = nn.Sequential(layers)
        self.shortcut = nn.Sequential(downsample(paper.pool, stride))
        if in_width != width:
            self.shortcut.append(nn.Conv2d(in_width, width, 1))

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.shortcut(x_bchw) + self.branch(x_bchw)
