"""Augmentation of whole batches on the device, each image its own draw.

`BatchAugment` can be used without the rest of the project: any uint8 batch, any device.

    augment = BatchAugment(
        AugmentParams(crop_scale=(0.08, 1), crop_ratio=(3 / 4, 4 / 3), flip=0.5, policy="trivialaugment"),
        image_size=64, num_classes=200, mean=(0.48, 0.45, 0.40), std=(0.28, 0.27, 0.28), seed=0,
    )
    x_bchw, targets_bk = augment(images_bchw, labels_b, epoch=0, step=0)

To read: `random` (the draws), `policy` (which operations), `colour` and `geometry` (what they do), `mix` (erasing,
mixup, cutmix), `batch` (the whole).
"""

from ..params import AugmentParams
from .batch import BatchAugment

__all__ = ["AugmentParams", "BatchAugment"]
