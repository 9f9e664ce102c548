"""Small models with random weights, which are enough to tell one path of computation from another."""

from pathlib import Path

import torch

from coatnet import create_model
from coatnet.training.checkpoint import Checkpoint, save_checkpoint

CLASSES = [("n01443537", "goldfish, Carassius auratus"), ("n02", "crane"), ("n03", "crane, bird"), ("n04", "")]


def save_model(path: Path, params) -> Path:
    """Writes a checkpoint; every weight is random, also those that start as 0 or 1 and would hide mistakes."""
    torch.manual_seed(0)
    model = create_model(params.model, len(CLASSES)).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.normal_(std=0.2)
        # So that images differ in their answers.
        head = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
        size = params.model.image_size
        spread, mean = torch.std_mean(model(some_images(32, size, size) / 64 - 2), 0)
        spread = spread.clamp(min=0.01)  # else rounding errors would grow with it
        head.weight.div_(spread[:, None])
        head.bias.sub_(mean).div_(spread)
    statistics = ((0.48, 0.45, 0.4), (0.28, 0.27, 0.28))
    save_checkpoint(path, Checkpoint(model, params.model_dump(mode="json"), CLASSES, *statistics))
    return path


def some_images(number: int, height: int = 64, width: int = 64) -> torch.Tensor:
    """Smooth ones, uint8, N x 3 x H x W."""
    coarse = torch.rand(number, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return (255 * torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")).to(torch.uint8)
