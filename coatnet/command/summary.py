"""Prints a model row by row, without building it in memory.

coatnet summary -S model.layout=CCCT
"""

import argparse
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..params import ModelParams, load_params
from .presets import PRESETS, add_overrides, read_overrides

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_overrides(parser, "change a parameter")
    parser.add_argument("--preset", help=f"a set of parameters from {PRESETS}")
    parser.add_argument("--classes", type=int, default=200, help="default: %(default)s")


def run(options: argparse.Namespace) -> None:
    gc.disable()  # torch makes so many objects, all to stay, that looking through them takes a third of the time
    params = load_params(overrides=read_overrides(options.set, options.preset)).model
    print(f"| {'row':24} | {'output (C, H, W)':>16} | {'parameters':>12} | {'multiply-adds':>15} |")
    print(f"| {'-' * 24} | {'-' * 15}: | {'-' * 11}: | {'-' * 14}: |")
    for name, shape, parameters, macs in summarise(params, options.classes):
        print(f"| {name:24} | {' x '.join(map(str, shape)):>16} | {parameters:12,} | {macs:15,} |")
    gc.freeze()  # nor look through them at the end
