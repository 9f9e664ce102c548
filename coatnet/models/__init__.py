"""The models: CoAtNet in two variants, and timm's for comparison."""

from collections.abc import Iterable

from torch import nn

from ..params import ModelParams
from .attention import position_tables, resize_table
from .paper import PaperCoAtNet
from .peers import check_peer_name, create_peer, create_timm, try_image_size
from .table import TableCoAtNet

__all__ = [
    "check_image_sizes",
    "check_name",
    "create_model",
    "create_timm",
    "head_tensors",
    "position_tables",
    "resize_table",
    "stem_tensors",
]


def create_model(params: ModelParams, num_classes: int = 200, *, pretrained: bool = False) -> nn.Module:
    """A classifier, freshly initialised unless `pretrained`, whatever `params.pretrained` says.

    It takes float images b x 3 x h x w, best in the channels_last format, and returns logits b x `num_classes`.
    CoAtNet takes any h = w that the strides divide; its position tables are made for `params.image_size`.
    `no_weight_decay()`, where the model has it, names parameters to exempt beside norms and biases.

    Args:
        pretrained: take timm's weights for `params.name`; the head is new if they are of another number of classes.

    Raises:
        UserError: timm has no such model, or not for this image size, or its weights are not at hand.
    """
    if params.name != "coatnet":
        return create_peer(params.name.removeprefix("timm/"), params.image_size, num_classes, pretrained)
    variant = {"table": TableCoAtNet, "paper": PaperCoAtNet}[params.variant]
    return variant(params, num_classes)


def check_name(params: ModelParams) -> None:
    """Raises `UserError`, with the nearest name, where timm has no such model, or no weights that are asked for."""
    if params.name != "coatnet":
        check_peer_name(params.name.removeprefix("timm/"), params.pretrained)


def head_tensors(model: nn.Module) -> set[str]:
    """The names of the head's tensors in `model.state_dict()`: those that are of classes, not of images."""
    return _tensors(model, "classifier", "head")


def stem_tensors(model: nn.Module) -> set[str]:
    """The names of the stem's tensors in `model.state_dict()`; of a timm model, those of its first convolution."""
    return _tensors(model, "first_conv", "stem")


def _tensors(model: nn.Module, role: str, own: str) -> set[str]:
    """Those of the layers with `role` in timm's description of a model; without one, of the layer `own`."""
    layers = getattr(model, "default_cfg", {role: own}).get(role) or ()
    prefixes = tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers))
    return {name for name in model.state_dict() if name.startswith(prefixes)}


def check_image_sizes(model: nn.Module, params: ModelParams, sizes: Iterable[int]) -> None:
    """Raises `UserError` where a timm model, once built, does not take one of `sizes`; `Params` checked the others."""
    if params.name != "coatnet":
        for size in sizes:
            try_image_size(model, params.name.removeprefix("timm/"), size)
