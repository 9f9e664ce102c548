"""The models: CoAtNet in two variants, and timm's for comparison."""

from collections.abc import Iterable

from torch import nn

from ..params import ModelParams
from .paper import PaperCoAtNet
from .peers import check_peer_name, create_peer, try_image_size
from .table import TableCoAtNet

__all__ = ["check_image_sizes", "check_name", "create_model"]


def create_model(params: ModelParams, num_classes: int = 200) -> nn.Module:
    """A freshly initialised classifier.

    It takes float images b x 3 x h x w, best in the channels_last format, and returns logits b x `num_classes`.
    CoAtNet takes any h = w that the strides divide; its position tables are made for `params.image_size`.
    `no_weight_decay()`, where the model has it, names parameters to exempt beside norms and biases.

    Raises:
        UserError: timm has no such model, or not for this image size.
    """
    if params.name != "coatnet":
        return create_peer(params.name.removeprefix("timm/"), params.image_size, num_classes)
    variant = {"table": TableCoAtNet, "paper": PaperCoAtNet}[params.variant]
    return variant(params, num_classes)


def check_name(params: ModelParams) -> None:
    """Raises `UserError`, with the nearest name, where timm has no such model."""
    if params.name != "coatnet":
        check_peer_name(params.name.removeprefix("timm/"))


def check_image_sizes(model: nn.Module, params: ModelParams, sizes: Iterable[int]) -> None:
    """Raises `UserError` where a timm model, once built, does not take one of `sizes`; `Params` checked the others."""
    if params.name != "coatnet":
        for size in sizes:
            try_image_size(model, params.name.removeprefix("timm/"), size)
