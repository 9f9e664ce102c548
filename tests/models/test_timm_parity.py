"""Where our blocks and timm's coincide, or our options are set to timm's choices, copied weights give one output."""

import pytest
import torch
from timm.models import maxxvit
from torch import nn

from coatnet import create_model
from coatnet.inference.timm_weights import MBCONV, TRANSFORMER, convert, module_names
from coatnet.models.mbconv import PaperMBConv
from coatnet.models.paper import TransformerBlock

TIMM_OPTIONS = {
    "model.variant": "paper",
    "model.se_ratio": 1 / 16,  # timm: a quarter of the output width, which is a quarter of the expanded one
    "model.paper.stride_on": "depthwise",
    "model.paper.pool": "avg",
    "model.paper.se_activation": "silu",
    "model.paper.head": "tanh",
    "model.paper.drop_path": 0.0,
}


def randomise(module):
    """Norms, biases and layer scales too, which start as identities and would hide mistakes."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.normal_(std=0.2 if tensor.ndim <= 1 else tensor[0].numel() ** -0.5)


def assert_same(theirs, ours, renamed, x):
    randomise(theirs)
    # Every tensor of both must find its partner.
    ours.load_state_dict(convert(theirs.state_dict(), ours.state_dict(), renamed, head_dim=8))
    for module in ours.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6  # timm's
    for training in (False, True):
        # In float64, so that what is left is a difference in the mathematics.
        expected, actual = theirs.double().train(training)(x), ours.double().train(training)(x)
        assert (actual - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("stride", "overrides", "cfg"),
    [
        (1, {}, {}),
        (2, {"model.paper.stride_on": "depthwise", "model.paper.pool": "avg"}, {}),
        (2, {}, {"stride_mode": "1x1", "pool_type": "max2"}),  # the paper's own choices
        (1, {"model.paper.se_place": "before_norm"}, {"attn_early": True}),
    ],
)
def test_mbconv(stride, overrides, cfg, tiny):
    in_width = 16 if stride == 1 else 8
    params = tiny(**{"model.se_ratio": 1 / 16, "model.paper.se_activation": "silu"} | overrides).model
    theirs = maxxvit.MbConvBlock(in_width, 16, stride, cfg=maxxvit.MaxxVitConvCfg(**cfg))
    ours = PaperMBConv(in_width, 16, stride, 0.0, params)
    assert_same(theirs, ours, MBCONV, torch.randn(2, in_width, 8, 8, dtype=torch.float64))


@pytest.mark.parametrize(
    ("stride", "overrides", "cfg"),
    [
        (1, {}, {}),
        (1, {"model.paper.layer_scale": 0.1}, {"init_values": 0.1}),
        (2, {"model.paper.pool": "avg"}, {}),
        (2, {}, {"pool_type": "max2"}),
    ],
)
def test_transformer_block(stride, overrides, cfg, tiny):
    in_width = 16 if stride == 1 else 8
    cfg = maxxvit.MaxxVitTransformerCfg(dim_head=8, **cfg)
    theirs = maxxvit.TransformerBlock2d(in_width, 16, stride, maxxvit.get_rel_pos_cls(cfg, (4, 4)), cfg)
    ours = TransformerBlock(in_width, 16, stride, 4, 0.0, tiny(**overrides).model)
    x = torch.randn(2, in_width, 4 * stride, 4 * stride, dtype=torch.float64)
    assert_same(theirs, ours, TRANSFORMER, x)


def test_whole_model(tiny):
    """As timm's coatnet_0_224, but smaller."""
    params = tiny(**TIMM_OPTIONS | {"model.image_size": 64, "model.blocks": [1, 2, 2, 1]}).model
    cfg = maxxvit.MaxxVitCfg(
        embed_dim=params.dims,
        depths=params.blocks,
        stem_width=params.stem_width,
        head_hidden_size=params.dims[-1],
        transformer_cfg=maxxvit.MaxxVitTransformerCfg(dim_head=8),
    )
    theirs = maxxvit.MaxxVit(cfg, img_size=64, num_classes=7)
    renamed = module_names(params, theirs.state_dict())
    assert_same(theirs, create_model(params, 7), renamed, torch.randn(2, 3, 64, 64, dtype=torch.float64))


def test_coatnet_0_with_timms_options_has_timms_parameters(tiny):
    with torch.device("meta"):
        theirs = maxxvit.coatnet_0_224(num_classes=200)
        paper = {"model.dims": [96, 192, 384, 768], "model.blocks": [2, 3, 5, 2], "model.stem_width": 64}
        ours = create_model(tiny(**{"model.image_size": 224, "model.paper.head_dim": 32} | paper | TIMM_OPTIONS).model)
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (theirs, ours)]
    assert count[0] == count[1]
