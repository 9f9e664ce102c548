"""A model row by row, without building it in memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..params import ModelParams

if TYPE_CHECKING:
    from torch import nn


def summarise(params: ModelParams, num_classes: int) -> list[tuple[str, tuple[int, ...], int, int]]:
    """Each row's name, output shape (without the batch), parameters and multiply-adds of one image.

    A row is a child of the model, or a block of a stage. Multiply-adds are those of convolutions and matrix products.
    The last row is the whole model.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ..models import create_model

    with torch.device("meta"):
        model = create_model(params, num_classes).eval()
        images = torch.empty(1, 3, params.image_size, params.image_size)
    shapes = {}
    modules = {**dict(_rows(model)), "total": model}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, args, output, name=name: shapes.update({name: tuple(output.shape[1:])}))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images)
    flops = counter.get_flop_counts()
    rows = []
    for name, shape in shapes.items():  # in the order in which they ran, the model last
        path = "Global" if name == "total" else f"{type(model).__name__}.{name}"
        size = sum(parameter.numel() for parameter in modules[name].parameters())
        rows.append((name, shape, size, sum(flops.get(path, {}).values()) // 2))
    return rows


def _rows(model: "nn.Module") -> Iterator[tuple[str, "nn.Module"]]:
    from torch import nn

    for name, child in model.named_children():
        if isinstance(child, nn.Sequential) and name.startswith("stage"):
            yield from ((f"{name}.{inner}", module) for inner, module in _rows(child))
        else:
            yield name, child
