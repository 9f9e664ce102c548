"""From uint8 images to what a model takes, without augmentation."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import UserError

NATIVE_CROP = 0.875  # as timm's default


class EvalTransform:
    """Resizes as training does without augmentation, and normalises.

    Args:
        image_size: pixels of the output's side.
        crop: fraction of the side that a centre crop keeps. None: all, but `NATIVE_CROP` where the images already have
            the output's size. Random crops resample, which softens, so a model that saw nothing else is worse at
            images as sharp as they are.
        mean, std: of each channel, in 0..1 units.
    """

    def __init__(self, *, image_size: int, crop: float | None = None, mean: Sequence[float], std: Sequence[float]):
        self.image_size, self.crop = image_size, crop
        self._normalise = Normalise(mean, std)

    @torch.no_grad()
    def __call__(self, images_bchw: Tensor) -> Tensor:
        """uint8, B x 3 x H x W, to float32, B x 3 x image_size x image_size.

        Raises:
            UserError: the images are not uint8 of this shape.
        """
        check_images(images_bchw)
        height, width = map(int, images_bchw.shape[-2:])  # tensors while traced
        crop = self.kept(height, width)
        h, w = round(height * crop), round(width * crop)
        top, left = (height - h) // 2, (width - w) // 2
        x = self._normalise(images_bchw[:, :, top : top + h, left : left + w])
        return interpolate(x, (self.image_size, self.image_size), mode="bilinear", align_corners=False)

    def kept(self, height: int, width: int) -> float:
        """The fraction of the side that the centre crop keeps of images of this size."""
        return self.crop or (NATIVE_CROP if height == width == self.image_size else 1.0)


class Normalise:
    """uint8 to float32 with mean 0 and standard deviation 1, B x 3 x anything; `black` is what 0 becomes."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.scale = 1 / (255 * torch.tensor(std))
        self.black = -torch.tensor(mean) / torch.tensor(std)

    def __call__(self, values: Tensor) -> Tensor:
        if self.scale.device != values.device:  # once: a copy to a GPU waits for it
            self.scale, self.black = self.scale.to(values.device), self.black.to(values.device)
        shape = (3, *[1] * (values.ndim - 2))
        return values.float().mul_(self.scale.view(shape)).add_(self.black.view(shape))


def check_images(images: Tensor) -> None:
    """Raises `UserError` where the images are not uint8, B x 3 x H x W."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(
            f"images must be uint8 of shape B x 3 x H x W, but they are {images.dtype} of shape {tuple(images.shape)}"
        )
