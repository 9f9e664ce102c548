"""A model's answers for a set of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .kernels import autocast


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    transform: Callable[[Tensor], Tensor],
    *,
    batch_size: int,
    flip: bool = False,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int], object] = lambda images: None,
) -> Tensor:
    """Logits (N x classes, float32) for `images` (N x 3 x H x W uint8), on the images' device.

    Args:
        transform: from uint8 images to the model's float input.
        batch_size: images at a time; on a CPU at most 16.
        flip: average the logits of each image and its mirror image.
        dtype: what autocast computes in; float32 leaves autocast off.
        progress: called with the number of images done after each batch.
    """
    if images.device.type == "cpu":
        batch_size = min(batch_size, 16)  # as quick as more, in a tenth of the memory
    training = model.training
    model.eval()
    logits = []
    for batch in images.split(batch_size):
        x_bchw = transform(batch).contiguous(memory_format=torch.channels_last)
        with autocast(images.device, dtype):
            out = model(x_bchw)
            if flip:
                out = (out + model(x_bchw.flip(3))) / 2
        logits.append(out.float())
        progress(len(batch))
    model.train(training)
    return torch.cat(logits)
