"""From uint8 images to the training batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Shards
from ..data.transform import Normalise, check_images
from ..errors import UserError
from ..params import AugmentParams, Params
from ..seeds import derive_seed
from . import cpu
from .colour import apply_colour
from .geometry import CROP_LANES, draw_crop, inside_box, policy_map, sample
from .mix import ERASE_LANES, MIX_LANES, draw_erase, draw_mix, erase, mix
from .policy import POLICY_LANES, Policy
from .random import draw, normal, uniform
from .select import update_where

_LANES = {"crop": CROP_LANES, "flip": 1, "policy": POLICY_LANES, "erase": ERASE_LANES, "mix": MIX_LANES}

STEPS_AT_ONCE = 16  # drawn together: for tensors this small it is the calls that cost


class _Drawn(NamedTuple):
    """All that is random about a batch but the noise that erases."""

    box_b4: Tensor  # the crop
    flip_b: Tensor
    operation_bn: Tensor
    magnitude_bn: Tensor
    map_b23: Tensor  # of the policy's geometry
    erase_b4: Tensor
    mixup_weight_b: Tensor  # of the partner in mixup
    cutmix_b4: Tensor  # the box that the partner fills
    label_weight_b: Tensor  # of the partner in the label


class BatchAugment:
    """Augments a batch on the device where it lies, each image by its own draw.

    In order: colour operations of the policy on the source pixels; normalising; one sampling for crop, resize, flip
    and the policy's geometry; random erasing; mixup or cutmix; label smoothing.

    Where this differs from the same recipe in torchvision: docs/augmentation.md. In mixup and cutmix an image's partner
    is the one before it in the batch, so the batch's own order must be random.

    Args:
        params: what to do. `AugmentParams()` only resizes.
        image_size: pixels of the output's side; the input's may be any.
        num_classes: K.
        mean, std: of each channel, in 0..1 units.
        seed: of all draws.
    """

    def __init__(
        self,
        params: AugmentParams,
        *,
        image_size: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
    ):
        self.params, self.image_size, self.num_classes, self.seed = params, image_size, num_classes, seed
        self._normalise = Normalise(mean, std)
        self._policy = Policy.of(params, image_size)
        self._operations = self._policy.operations
        self._drawn_of: tuple[object, ...] | None = None
        self._drawn: list[_Drawn] = []
        cpu.keep_batch_memory()

    @classmethod
    def of(cls, params: Params, shards: Shards, image_size: int) -> "BatchAugment":
        """As `params` say, for the images of `shards`."""
        return cls(
            params.augment,
            image_size=image_size,
            num_classes=shards.num_classes,
            mean=shards.mean,
            std=shards.std,
            seed=params.seed,
        )

    @torch.no_grad()
    def __call__(
        self, images_bchw: Tensor, labels_b: Tensor, *, epoch: int, step: int, rank: int = 0, only: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """The batch of (seed, epoch, step, rank), whatever came before.

        Args:
            images_bchw: uint8, B x 3 x H x W; not written to.
            labels_b: int64 class indices.
            only: one of `plain`, `mixup`, `cutmix`, `erase`: crop, flip and policy, then that alone, on every image.
                None: each with its own probability.

        Returns:
            x_bchw: float32, B x 3 x image_size x image_size, normalised.
            targets_bk: float32, B x K, each row adding up to 1.

        Raises:
            UserError: the images are not uint8 of this shape, or the labels not one whole number an image.
        """
        check_images(images_bchw)
        if labels_b.shape != images_bchw.shape[:1] or labels_b.dtype != torch.int64:
            raise UserError(
                f"labels must be int64, one an image, but they are {labels_b.dtype} of shape {tuple(labels_b.shape)} "
                f"for {len(images_bchw)} images"
            )
        drawn = self._draws(epoch, step, rank, only, images_bchw.shape, images_bchw.device)
        inside_b1hw = inside_box(drawn.box_b4, *images_bchw.shape[2:])
        images_bchw, table = apply_colour(
            images_bchw, drawn.operation_bn, drawn.magnitude_bn, inside_b1hw, self._operations
        )
        x = sample(
            images_bchw,
            self._normalise(table),
            drawn.box_b4,
            drawn.flip_b,
            drawn.map_b23,
            self.image_size,
            self._normalise.black,
            self.params.interpolation,
        )
        erasing, mixup, cutmix = self._probabilities(only)
        if erasing:
            x = self._erase(x, drawn.erase_b4, epoch, step, rank)
        targets = torch.zeros(len(x), self.num_classes, device=x.device).scatter_(1, labels_b[:, None], 1)
        if mixup or cutmix:
            x = mix(x, drawn.mixup_weight_b, drawn.cutmix_b4)
            targets = torch.lerp(targets, targets.roll(1, 0), drawn.label_weight_b[:, None])
        smoothing = self.params.label_smoothing
        return x, targets * (1 - smoothing) + smoothing / self.num_classes

    def _draws(
        self, epoch: int, step: int, rank: int, only: str | None, shape: torch.Size, device: torch.device
    ) -> _Drawn:
        """Those of the step, which are drawn along with its neighbours' and kept."""
        first = step - step % STEPS_AT_ONCE
        of = (epoch, first, rank, only, shape, device)
        if self._drawn_of != of:
            self._drawn_of, self._drawn = of, self._draw_steps(*of)
        return self._drawn[step - first]

    def _draw_steps(
        self, epoch: int, first: int, rank: int, only: str | None, shape: torch.Size, device: torch.device
    ) -> list[_Drawn]:
        params, size, (b, _, height, width) = self.params, self.image_size, shape
        keys = [derive_seed("augment", self.seed, epoch, first + i) for i in range(STEPS_AT_ONCE)]
        # Filled in one by one: a copy to a GPU would wait for all that is queued there.
        key_s1 = torch.stack([torch.full((1,), key, device=device) for key in keys])
        # Below, B counts the images of all these steps together.
        lanes = draw(key_s1, _image_numbers(rank, b, device), sum(_LANES.values())).flatten(0, 1)
        bits = dict(zip(_LANES, lanes.split(list(_LANES.values()), 1), strict=True))
        self._policy = self._policy.to(device)
        operation_bn, magnitude_bn = self._policy.draw(bits["policy"].unflatten(1, (3, -1)))
        erasing, mixup, cutmix = self._probabilities(only)
        mixup_weight_b, cutmix_b4, label_weight_b = draw_mix(
            bits["mix"], (mixup, params.mixup.alpha), (cutmix, params.cutmix.alpha), size
        )
        drawn = _Drawn(
            box_b4=draw_crop(bits["crop"], params.crop_scale, params.crop_ratio, height, width),
            flip_b=uniform(bits["flip"][:, 0]) < params.flip,
            operation_bn=operation_bn,
            magnitude_bn=magnitude_bn,
            map_b23=policy_map(operation_bn, magnitude_bn, size),
            erase_b4=draw_erase(bits["erase"], params.erase, erasing, size),
            mixup_weight_b=mixup_weight_b,
            cutmix_b4=cutmix_b4,
            label_weight_b=label_weight_b,
        )
        steps = zip(*(x.unflatten(0, (STEPS_AT_ONCE, b)).unbind() for x in drawn), strict=True)
        return [_Drawn._make(step) for step in steps]

    def _probabilities(self, only: str | None) -> Iterator[float]:
        """Of erasing, mixup and cutmix."""
        for name in ("erase", "mixup", "cutmix"):
            yield getattr(self.params, name).probability if only is None else float(only == name)

    def _erase(self, x: Tensor, box_b4: Tensor, epoch: int, step: int, rank: int) -> Tensor:
        if self.params.erase.value == "zero":
            return erase(x, box_b4)
        key = derive_seed("noise", self.seed, epoch, step)

        def noise(x: Tensor, image_b: Tensor, box_b4: Tensor) -> Tensor:
            pixel_bn = (image_b[:, None] << 32) + torch.arange(x[0].numel(), device=x.device)  # a stream each
            pixels = normal(draw(key, pixel_bn, 2)).view_as(x)
            return torch.where(inside_box(box_b4, *x.shape[2:]), pixels, x)

        return update_where(box_b4[:, 2] > 0, x, noise, x, _image_numbers(rank, len(x), x.device), box_b4)


def _image_numbers(rank: int, b: int, device: torch.device) -> Tensor:
    """Of a rank's images in the global batch."""
    return rank * b + torch.arange(b, device=device)
