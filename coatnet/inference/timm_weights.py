"""This project's weights as timm's model of the same mathematics, where there is one, and back.

timm's CoAtNet (`maxxvit.py`) is this project's `variant: paper` with strides of 2 throughout and a hidden layer before
the classifier; all else that they differ in is an option there.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..models import create_model, create_timm
from ..models.stages import stage_strides
from ..params import ModelParams

COATNET = "coatnet_0_224"  # any of timm's: its arguments say all
# timm's names of modules, and ours.
MODEL = {
    "stem.conv1": "stem.0",
    "stem.norm1": "stem.1",
    "stem.conv2": "stem.3",
    "head.norm": "pool.2",
    "head.pre_logits.fc": "hidden.0",
    "head.fc": "head",
}
MBCONV = {
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
TRANSFORMER = {
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


def as_timm(model: nn.Module, params: ModelParams, num_classes: int) -> tuple[str, dict[str, Any], nn.Module] | None:
    """timm's name of the model, the arguments of `timm.create_model`, and timm's model with the weights of `model`.

    None where timm has no model of this structure.
    """
    import timm  # slow to import

    if params.name != "coatnet":
        name = params.name.removeprefix("timm/")
        theirs, arguments = create_timm(name, params.image_size, num_classes)
        theirs.load_state_dict(model.state_dict())
        return name, arguments, theirs.eval()
    found = coatnet_arguments(params)
    if found is None:
        return None
    theirs = timm.create_model(COATNET, num_classes=num_classes, **found)
    like = theirs.state_dict()
    names = {ours: name for name, ours in module_names(params, like).items()}
    try:
        theirs.load_state_dict(convert(model.state_dict(), like, names, params.paper.head_dim))
    except (KeyError, RuntimeError):  # timm rounds some widths to multiples of 8
        return None
    return COATNET, found, theirs.eval()


def from_timm(state: Mapping[str, Tensor], params: ModelParams, num_classes: int) -> dict[str, Tensor]:
    """The weights of `as_timm`'s model, as this project's has them; a model of timm's has kept its names."""
    if params.name != "coatnet":
        return dict(state)
    with torch.device("meta"):
        like = create_model(params, num_classes).state_dict()
    return convert(state, like, module_names(params, state), params.paper.head_dim)


def coatnet_arguments(params: ModelParams) -> dict[str, Any] | None:
    """What makes timm's CoAtNet of `params`; None where nothing does."""
    paper = params.paper
    if (
        params.variant != "paper"
        or params.stem_stride != 2
        or set(stage_strides(params)) != {2}
        or paper.head != "tanh"
        or params.se_ratio == 0
        or (paper.layer_scale and "C" in params.layout)
    ):
        return None
    pool = {"max": "max2", "avg": "avg2"}[paper.pool]
    arguments = {
        "img_size": params.image_size,
        "embed_dim": list(params.dims),
        "depths": list(params.blocks),
        "block_type": list(params.layout),
        "stem_width": params.stem_width,
        "head_hidden_size": params.dims[-1],
        "conv_kernel_size": params.kernel,
        "conv_expand_ratio": params.expansion,
        "conv_stride_mode": {"expand": "1x1", "depthwise": "dw"}[paper.stride_on],
        "conv_pool_type": pool,
        "conv_act_layer": paper.activation,
        "conv_attn_early": paper.se_place == "before_norm",
        "conv_attn_act_layer": paper.se_activation,
        "conv_attn_ratio": params.se_ratio * params.expansion,  # of the output width
        "transformer_act_layer": paper.activation,
        "transformer_dim_head": paper.head_dim,
        "transformer_expand_ratio": params.expansion,
        "transformer_pool_type": pool,
        "transformer_norm_eps": 1e-5,  # torch's default
    }
    return arguments | ({"transformer_init_values": paper.layer_scale} if paper.layer_scale else {})


def module_names(params: ModelParams, timm_state: Iterable[str]) -> dict[str, str]:
    """Our name of each module with weights, by timm's.

    Args:
        timm_state: names of timm's tensors.
    """
    names = dict(MODEL)
    for stage, (kind, blocks) in enumerate(zip(params.layout, params.blocks, strict=True)):
        for block in range(blocks):
            for theirs, ours in {"C": MBCONV, "T": TRANSFORMER}[kind].items():
                names[f"stages.{stage}.blocks.{block}.{theirs}"] = f"stage{stage + 1}.{block}.{ours}"
    there = {name.rpartition(".")[0] for name in timm_state}
    return {theirs: ours for theirs, ours in names.items() if theirs in there}


def convert(
    state: Mapping[str, Tensor], like: Mapping[str, Tensor], names: Mapping[str, str], head_dim: int
) -> dict[str, Tensor]:
    """`state` with the names, order and shapes of the other side, in either direction.

    Args:
        like: tensors of the shapes wanted.
        names: of modules, from those in `state` to those in `like`.
        head_dim: channels of an attention head.

    Raises:
        KeyError, RuntimeError: a name or a shape does not fit.
    """
    converted = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith("attn.qkv"):  # timm: by head, then by query, key and value; ours the other way round
            tensor = tensor.unflatten(0, (-1, 3, head_dim)).transpose(0, 1)
        elif module.endswith("attention.qkv"):
            tensor = tensor.unflatten(0, (3, -1, head_dim)).transpose(0, 1)
        elif leaf == "relative_position_bias_table":  # offsets x heads; ours: heads x y x x
            leaf, tensor = "position_table", tensor.T
        elif leaf == "position_table":
            leaf, tensor = "relative_position_bias_table", tensor.flatten(1).T
        key = f"{names[module]}.{leaf}"
        converted[key] = tensor.reshape(like[key].shape)  # linear layers are 1 x 1 convolutions there
    return converted
