"""A trained model with all that belongs to it: from pictures to answers, as the evaluate stage gives them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.classes import class_names
from ..data.pictures import as_rgb, fit
from ..data.transform import EvalTransform, check_images
from ..errors import UserError
from ..machine.devices import this_device
from ..models import check_image_sizes
from ..training.checkpoint import Checkpoint
from ..training.evaluation import predict

Picture = Image.Image | Tensor  # a tensor is uint8, 3 x H x W, RGB


class Answer(NamedTuple):
    id: str
    name: str
    probability: float


class Transform:
    """From pictures of any size to a model's input.

    A picture is first brought to the size of the training data's images, since the model has seen none sharper (`fit`);
    from there on it goes the way of the evaluate stage.

    Args:
        size: pixels a side of the training data's images.
        evaluate: what the evaluate stage does to them.
    """

    def __init__(self, size: int, evaluate: EvalTransform):
        self.size, self.evaluate = size, evaluate

    @property
    def crop(self) -> float:
        """The fraction of a fitted picture's side that the centre crop keeps."""
        return self.evaluate.kept(self.size, self.size)

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """Float32, N x 3 x image size x image size; without the N for a single picture.

        Raises:
            UserError: there is none, or one is neither a PIL image nor a uint8 tensor, 3 x H x W or N x 3 x H x W.
        """
        x_n3hw = self.evaluate(self.pixels(pictures))
        single = isinstance(pictures, Image.Image) or (isinstance(pictures, Tensor) and pictures.ndim == 3)
        return x_n3hw[0] if single else x_n3hw

    def pixels(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """The pictures as shards hold them: uint8, N x 3 x size x size.

        Raises:
            UserError: as for a call.
        """
        if isinstance(pictures, Image.Image) or (isinstance(pictures, Tensor) and pictures.ndim == 3):
            pictures = [pictures]
        if not len(pictures):
            raise UserError("there are no pictures to answer for")
        if isinstance(pictures, Tensor):
            check_images(pictures)
            if pictures.shape[2:] == (self.size, self.size):
                return pictures
        return torch.stack([self._fit(picture) for picture in pictures])

    def _fit(self, picture: object) -> Tensor:
        if isinstance(picture, Tensor):
            check_images(picture[None])
            picture = Image.fromarray(picture.permute(1, 2, 0).cpu().contiguous().numpy())
        if not isinstance(picture, Image.Image):
            kind = type(picture).__name__
            raise UserError(f"a picture is a PIL image or a uint8 tensor, not {kind}: open files with PIL.Image.open")
        fitted = fit(as_rgb(picture), self.size)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


class Classifier:
    """A trained model in use. `coatnet.load` makes one from a file.

    Attributes:
        model: from `transform`'s output, N x 3 x H x W, to logits, N x K; in eval mode, on `device`.
        transform: from pictures to the model's input, on the CPU. Where `flip` is not set,
            `model(transform(picture)[None].to(device))` is a call by hand.
        classes: (id, names) of each class, in the order of the logits.
        names: a short, unique name of each class.
        params: what the model was trained with, section by section.
        flip: whether logits are the mean over an image and its mirror image.
        checkpoint: what all this came from.

    Args:
        evaluate: values of the section `evaluate` of params.yaml (default: those that the checkpoint holds).
        device: None: this machine's accelerator, or its CPU.

    Raises:
        UserError: the model does not take images of the size that `evaluate` asks for.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        evaluate: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
    ):
        evaluate = checkpoint.params.get("evaluate", {}) if evaluate is None else evaluate
        image_size = evaluate.get("image_size") or checkpoint.model_params.image_size
        check_image_sizes(checkpoint.model, checkpoint.model_params, [image_size])
        self.checkpoint, self.params = checkpoint, checkpoint.params
        self.classes, self.names = checkpoint.classes, class_names(checkpoint.classes)
        self.device = this_device() if device is None else torch.device(device)
        self.model = checkpoint.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
        self.flip, self.batch_size = evaluate.get("flip", False), evaluate.get("batch_size", 256)
        self.transform = Transform(
            checkpoint.params.get("data", {}).get("size", 64),  # it was no parameter once
            EvalTransform(image_size=image_size, crop=evaluate.get("crop"), mean=checkpoint.mean, std=checkpoint.std),
        )

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """Logits, float32, N x K, on the CPU; a single picture is N = 1.

        Args:
            pictures: a PIL image of any size and mode, a uint8 tensor 3 x H x W, several of these in a list, or a
                uint8 tensor N x 3 x H x W.

        Raises:
            UserError: a picture is none of these.
        """
        return self.logits(self.transform.pixels(pictures))

    def logits(self, images_n3hw: Tensor, progress: Callable[[int], object] = lambda images: None) -> Tensor:
        """The same for images as shards hold them.

        Args:
            images_n3hw: uint8, of the size of the training data's images.
            progress: called with the number of images done after each batch.

        Raises:
            UserError: the device's memory does not hold a batch.
        """
        try:
            with _full_float32():
                return predict(
                    self.model,
                    images_n3hw.to(self.device),
                    self.transform.evaluate,
                    batch_size=self.batch_size,
                    flip=self.flip,
                    progress=progress,
                ).cpu()
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the memory does not hold {self.batch_size} images: lower evaluate.batch_size, or end what else "
                f"computes on {self.device}"
            ) from error

    def answers(self, logits_nk: Tensor, top: int = 5) -> list[list[Answer]]:
        """The `top` most probable classes of each image, the best first."""
        best = torch.softmax(logits_nk.double(), 1).topk(min(top, logits_nk.shape[1]))
        return [
            [Answer(self.classes[k][0], self.names[k], round(p, 4)) for p, k in zip(values, labels, strict=True)]
            for values, labels in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


@contextmanager
def _full_float32() -> Iterator[None]:
    """No TF32 while open, so that answers are the same on every device."""
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32
