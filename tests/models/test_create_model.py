import re

import pytest
import torch
import yaml
from safetensors.torch import load_model, save_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coatnet import UserError, create_model, load_params
from coatnet.command.presets import read_preset
from coatnet.models.attention import RelativeAttention
from coatnet.models.residual import DropPath

# Of 64 pixels where 32 leave one token, over which attention has no choice.
CONFIGURATIONS = {
    "table": {},
    "table, CCCT": {"model.layout": "CCCT"},
    "table, TCTC": {"model.layout": "TCTC"},
    "table, TTTT": {"model.layout": "TTTT"},
    "table, two stages": {"model.layout": "CT", "model.blocks": [1, 2], "model.dims": [16, 32]},
    "table, five stages": {
        "model.layout": "CCCTT",
        "model.blocks": [1, 1, 3, 2, 1],
        "model.dims": [16, 24, 32, 48, 64],
        "model.strides": [1, 2, 2, 2, 2],
    },
    "table, kernel 5, no SE, stem stride 1": {"model.kernel": 5, "model.se_ratio": 0, "model.stem_stride": 1},
    "paper": {"model.variant": "paper", "model.image_size": 64},
    "paper, CCCT": {
        "model.variant": "paper",
        "model.image_size": 64,
        "model.layout": "CCCT",
        "model.blocks": [1, 1, 3, 1],
    },
    "paper, TCTC": {"model.variant": "paper", "model.layout": "TCTC", "model.strides": [1, 2, 2, 2]},
    "paper, CCCC": {"model.variant": "paper", "model.layout": "CCCC"},
    "paper, every option": {
        "model.variant": "paper",
        "model.image_size": 64,
        "model.blocks": [2, 1, 2, 1],
        "model.paper.stride_on": "depthwise",
        "model.paper.pool": "avg",
        "model.paper.se_place": "before_norm",
        "model.paper.se_activation": "silu",
        "model.paper.layer_scale": 0.1,
        "model.paper.head": "tanh",
    },
    "paper, fast": {
        "model.variant": "paper",
        "model.layout": "CCCT",
        "model.blocks": [1, 2, 1, 1],
        "model.strides": [1, 2, 2, 1],
        "model.paper.activation": "relu",
        "model.paper.fused_stages": 2,
        "model.paper.se_place": "before_norm",
    },
    "timm/convnext_atto": {"model.name": "timm/convnext_atto", "model.image_size": 64},
    "timm/resnet18": {"model.name": "timm/resnet18"},
    "timm/efficientnet_b0": {"model.name": "timm/efficientnet_b0"},
    "timm/maxvit_tiny_tf_224": {"model.name": "timm/maxvit_tiny_tf_224", "model.image_size": 64},
}
OURS = [name for name in CONFIGURATIONS if not name.startswith("timm/")]


@pytest.fixture(params=CONFIGURATIONS)
def params(request, tiny):
    return tiny(**CONFIGURATIONS[request.param]).model


def images(params, batch=3):
    return torch.randn(batch, 3, params.image_size, params.image_size)


def test_forward_and_every_parameters_gradient(params):
    torch.manual_seed(0)
    model = create_model(params, 7)
    for module in model.modules():
        if isinstance(module, DropPath):
            module.probability = 0.0  # may drop a parameter's gradient
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)  # a scale that starts at 0 stops its branch's gradients
    logits = model(images(params))
    assert logits.shape == (3, 7) and logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 3, 6])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_saved_and_loaded_it_gives_the_same_logits(params, tmp_path):
    model = create_model(params, 7).eval()
    save_model(model, tmp_path / "model.safetensors")
    again = create_model(params, 7).eval()
    load_model(again, tmp_path / "model.safetensors")
    x = images(params)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(("made_for", "size"), [(96, 64), (64, 96)])
def test_another_image_size_than_the_tables_were_made_for(name, made_for, size, tiny):
    changes = {"model.image_size": made_for, "model.paper.drop_path": 0.0}
    model = create_model(tiny(**CONFIGURATIONS[name] | changes).model, 7)
    model(torch.randn(2, 3, size, size)).square().sum().backward()
    for table in getattr(model, "no_weight_decay", set)():
        assert model.get_parameter(table).grad.any()


@pytest.mark.parametrize("name", OURS)
def test_features_stay_channels_last(name, tiny):
    """One NCHW tensor among them would mean a copy at every attention block."""
    model = create_model(tiny(**CONFIGURATIONS[name]).model, 7).to(memory_format=torch.channels_last)
    seen = []

    def check(module, args, output):
        if output.shape[2:].numel() > 1:
            seen.append(output.is_contiguous(memory_format=torch.channels_last))

    for row, module in model.named_children():
        if row.startswith(("stage", "down")):
            module.register_forward_hook(check)
    model(images(tiny(**CONFIGURATIONS[name]).model).to(memory_format=torch.channels_last))
    assert seen and all(seen)


def test_fused_stages_have_one_dense_convolution_in_place_of_two(tiny):
    model = create_model(tiny(**CONFIGURATIONS["paper, fast"]).model, 7)
    kernels = {
        name.removesuffix(".branch.expand"): (*module.kernel_size, *module.stride)
        for name, module in model.named_modules()
        if name.endswith("branch.expand")
    }
    assert kernels == {
        "stage1.0": (3, 3, 1, 1),
        "stage2.0": (3, 3, 2, 2),
        "stage2.1": (3, 3, 1, 1),
        "stage3.0": (1, 1, 2, 2),
    }
    blocks = {name.rpartition(".branch")[0] for name, _ in model.named_modules() if name.endswith(".depthwise")}
    assert blocks == {"stage3.0"}
    assert nn.GELU not in {type(module) for name, module in model.named_modules() if ".se." not in name}


# --- the table ---

TABLE = [  # the original's rows (docs/original.md): output (C, H, W), trainable parameters
    ("stem", (64, 112, 112), 1_728),
    ("stem_norm", (64, 112, 112), 128),
    ("stage1", (96, 112, 112), 83_904 - 2 * (256 + 96)),
    ("down1", (96, 56, 56), 82_944),
    ("stage2", (192, 56, 56), 208_992 - 2 * (384 + 192)),
    ("down2", (192, 28, 28), 331_776),
    ("stage3", (192, 28, 28), 146_892),
    ("down3", (384, 14, 14), 663_552),
    ("stage4", (384, 14, 14), 451_116),
    ("down4", (384, 7, 7), 1_327_104),
    ("pool", (384,), 0),
    ("head", (200,), 77_000),
]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_original_224_is_the_originals_table():
    with torch.device("meta"):
        model = create_model(load_params(overrides=read_preset("original-224")).model).eval()
        x = torch.empty(1, 3, 224, 224)
    rows = []
    for name, row in model.named_children():
        x = row(x)
        rows.append((name, tuple(x.shape[1:]), count(row)))
    assert rows == TABLE
    assert count(model) == 3_373_280
    assert sum(b.numel() for name, b in model.named_buffers() if "running" in name) == 1_984


def test_the_table_keeps_its_signal_at_the_start():
    torch.manual_seed(0)
    model = create_model(load_params(overrides={"model.image_size": 64}).model)
    logits = model(torch.randn(8, 3, 64, 64))
    assert 0.02 < logits.std() < 2


def test_the_tables_activations_are_gelu(tiny):
    model = create_model(tiny().model, 7)
    assert {type(m) for m in model.modules() if type(m).__module__.endswith("activation")} == {nn.GELU}


def test_further_blocks_of_the_table_are_residual(tiny):
    model = create_model(tiny(**{"model.blocks": [2, 1, 2, 1]}).model, 7).eval()
    x = torch.randn(2, 8, 8, 8)
    nn.init.zeros_(model.stage1[1].branch.project_norm.weight)
    assert torch.equal(model.stage1[1](x), x)
    x = torch.randn(2, 16, 4, 4)
    nn.init.zeros_(model.stage3[1].block.qkv.weight)
    assert torch.equal(model.stage3[1](x), x)


# --- the paper ---


def test_the_papers_stages_downsample_in_their_first_block(tiny):
    params = tiny(**{"model.variant": "paper", "model.image_size": 64, "model.blocks": [2, 2, 2, 2]}).model
    model = create_model(params, 7)
    x = model.stem(torch.randn(2, 3, 64, 64))
    sizes = [x.shape[2]]
    for stage in (model.stage1, model.stage2, model.stage3, model.stage4):
        for block in stage:
            x = block(x)
            sizes.append(x.shape[2])
    assert sizes == [32, 16, 16, 8, 8, 4, 4, 2, 2]


def test_ccct_attends_over_49_tokens_only_in_the_paper_variant(tiny):
    overrides = {"model.layout": "CCCT", "model.image_size": 224}
    for variant, side in (("paper", 7), ("table", 14)):
        with torch.device("meta"):
            model = create_model(tiny(**overrides | {"model.variant": variant}).model)
        (name,) = model.no_weight_decay()
        assert model.get_parameter(name).shape[1:] == (2 * side - 1, 2 * side - 1)


def test_drop_path_rises_linearly_over_all_blocks(tiny):
    model = create_model(
        tiny(**{"model.variant": "paper", "model.paper.drop_path": 0.3, "model.blocks": [1, 2, 2, 2]}).model
    )
    drops = [module.probability for module in model.modules() if isinstance(module, DropPath)]
    assert drops == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_a_dropped_block_is_its_shortcut(tiny):
    model = create_model(tiny(**{"model.variant": "paper", "model.blocks": [2, 1, 2, 1]}).model, 7)
    for module in model.modules():
        if isinstance(module, DropPath):
            module.probability = 1 - 1e-9
    for block, width in ((model.stage1[1], 8), (model.stage3[1], 16)):
        x = torch.randn(2, width, 4, 4)
        assert torch.equal(block(x), x)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop_path = DropPath(0.25)
    y = drop_path(torch.ones(4000, 2, 2, 2)).flatten(1)
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert sorted(set(y[:, 0].tolist())) == pytest.approx([0, 4 / 3])
    assert y.mean().item() == pytest.approx(1, abs=0.04)  # five standard errors
    x = torch.randn(4, 2, 2, 2)
    assert torch.equal(drop_path.eval()(x), x)


@pytest.mark.parametrize(
    ("preset", "overrides", "millions", "giga_multiply_adds"),
    [
        ("paper-coatnet-0", {}, 25, 4.2),
        ("paper-coatnet-1", {}, 42, 8.4),
        ("paper-coatnet-2", {}, 75, 15.7),
        ("paper-coatnet-3", {}, 168, 34.7),
        ("paper-coatnet-4", {"model.image_size": 384}, 275, 189.5),
        ("paper-coatnet-0", {"model.paper.stride_on": "depthwise"}, 25, 4.6),  # table 9
        ("paper-coatnet-2", {"model.paper.stride_on": "depthwise"}, 75, 16.6),
    ],
)
def test_presets_have_the_papers_size(preset, overrides, millions, giga_multiply_adds):
    with open("presets.yaml") as file:
        params = load_params(overrides=yaml.safe_load(file)[preset] | overrides).model
    with torch.device("meta"):
        model = create_model(params, num_classes=1000).eval()
        x = torch.empty(1, 3, params.image_size, params.image_size)
    assert count(model) == pytest.approx(millions * 1e6, rel=0.04)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() / 2 == pytest.approx(giga_multiply_adds * 1e9, rel=0.03)


# --- no weight decay ---


@pytest.mark.parametrize("name", OURS)
def test_no_weight_decay_names_the_position_tables(name, tiny):
    model = create_model(tiny(**CONFIGURATIONS[name]).model, 7)
    attention = [name for name, module in model.named_modules() if isinstance(module, RelativeAttention)]
    assert getattr(model, "no_weight_decay", set)() == {f"{name}.position_table" for name in attention}


# --- peers ---


def test_convnext_atto_is_of_the_originals_size(tiny):
    with torch.device("meta"):
        assert count(create_model(tiny(**{"model.name": "timm/convnext_atto"}).model)) == 3_438_720


def test_an_unknown_peer_is_refused_with_the_nearest(tiny):
    with pytest.raises(UserError, match=re.escape("did you mean timm/convnext_atto?")):
        create_model(tiny(**{"model.name": "timm/convnext_atoo"}).model)


def test_a_size_that_a_peer_cannot_take_is_refused(tiny):
    params = tiny(**{"model.name": "timm/vit_tiny_patch16_224", "model.image_size": 8}).model
    with pytest.raises(UserError, match="vit_tiny_patch16_224 does not take images of 8 pixels"):
        create_model(params)


def test_a_peer_is_built_for_the_image_size(tiny):
    model = create_model(tiny(**{"model.name": "timm/vit_tiny_patch16_224", "model.image_size": 64}).model, 7)
    assert model.training
    assert model.pos_embed.shape[1] == (64 // 16) ** 2 + 1
