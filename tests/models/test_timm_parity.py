"""Where our blocks and timm's coincide, or our options are set to timm's choices, copied weights give one output."""

import pytest
import torch
from timm.models import maxxvit
from torch import nn

from coatnet import create_model
from coatnet.models.mbconv import PaperMBConv
from coatnet.models.paper import TransformerBlock

RENAMED_MBCONV = {
    "pre_norm": "branch.norm",
    "conv1_1x1": "branch.expand",
    "norm1": "branch.expand_norm",
    "conv2_kxk": "branch.depthwise",
    "norm2": "branch.depthwise_norm",
    "se.fc1": "branch.se.reduce",
    "se.fc2": "branch.se.expand",
    "se_early.fc1": "branch.se.reduce",
    "se_early.fc2": "branch.se.expand",
    "conv3_1x1": "branch.project",
    "shortcut.expand": "shortcut.1",
}
RENAMED_TRANSFORMER = {
    "norm1": "norm",
    "norm1.norm": "norm",
    "attn.qkv": "attention.qkv",
    "attn.rel_pos": "attention",
    "attn.proj": "project",
    "norm2": "ffn.norm",
    "mlp.fc1": "ffn.expand",
    "mlp.fc2": "ffn.project",
    "ls1": "scale1",
    "ls2": "scale2",
    "shortcut.expand": "shortcut",
}
RENAMED_MODEL = {
    "stem.conv1": "stem.0",
    "stem.norm1": "stem.1",
    "stem.conv2": "stem.3",
    "head.norm": "pool.2",
    "head.pre_logits.fc": "hidden.0",
    "head.fc": "head",
}
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


def copy_weights(theirs, ours, renamed):
    """Loads `theirs` into `ours`; every tensor of both must find its partner."""
    target, found = ours.state_dict(), {}
    for name, tensor in theirs.state_dict().items():
        module, _, leaf = name.rpartition(".")
        if leaf == "relative_position_bias_table":  # offsets x heads
            leaf, tensor = "position_table", tensor.T
        elif module.endswith("attn.qkv"):  # head, then query, key or value; ours the other way round
            tensor = tensor.unflatten(0, (-1, 3, 8)).transpose(0, 1)
        key = f"{renamed[module]}.{leaf}"
        found[key] = tensor.reshape(target[key].shape)
    ours.load_state_dict(found, strict=True)


def assert_same(theirs, ours, renamed, x):
    randomise(theirs)
    copy_weights(theirs, ours, renamed)
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
    assert_same(theirs, ours, RENAMED_MBCONV, torch.randn(2, in_width, 8, 8, dtype=torch.float64))


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
    assert_same(theirs, ours, RENAMED_TRANSFORMER, x)


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
    renamed = dict(RENAMED_MODEL)
    for stage, (kind, blocks) in enumerate(zip(params.layout, params.blocks, strict=True)):
        for block in range(blocks):
            for name, new in (RENAMED_MBCONV if kind == "C" else RENAMED_TRANSFORMER).items():
                renamed[f"stages.{stage}.blocks.{block}.{name}"] = f"stage{stage + 1}.{block}.{new}"
    assert_same(theirs, create_model(params, 7), renamed, torch.randn(2, 3, 64, 64, dtype=torch.float64))


def test_coatnet_0_with_timms_options_has_timms_parameters(tiny):
    with torch.device("meta"):
        theirs = maxxvit.coatnet_0_224(num_classes=200)
        paper = {"model.dims": [96, 192, 384, 768], "model.blocks": [2, 3, 5, 2], "model.stem_width": 64}
        ours = create_model(tiny(**{"model.image_size": 224, "model.paper.head_dim": 32} | paper | TIMM_OPTIONS).model)
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (theirs, ours)]
    assert count[0] == count[1]
