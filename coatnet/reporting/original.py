"""What the original reported, and the recipe that led there: docs/original.md."""

from typing import Any

# Nats, on augmented images, by epoch: as Keras logs it in the notebook. Its epoch is four passes over the images.
TRAIN_LOSS = (
    4.5823, 3.7919, 3.5013, 3.3166, 3.1849, 3.0748, 2.9805, 2.9002, 2.8270, 2.7611,
    2.6940, 2.6357, 2.5780, 2.5227, 2.4689, 2.4211, 2.3687, 2.3196, 2.2675, 2.2138,
    2.1701, 2.1246, 2.0822, 2.0364, 1.9966, 1.9615, 1.9293, 1.8939, 1.8660, 1.8282,
    1.8036, 1.7816, 1.7531, 1.7289, 1.7107, 1.6856, 1.6668, 1.6480, 1.6335, 1.6141,
    1.5958, 1.5839, 1.5679, 1.5533, 1.5398, 1.5263, 1.5140, 1.5074, 1.4935, 1.4802,
    1.4696, 1.4631, 1.4508, 1.4450, 1.4353, 1.4281, 1.4179, 1.4098, 1.4040, 1.3966,
    1.3899, 1.3846, 1.3780, 1.3715, 1.3673, 1.3634, 1.3579, 1.3554, 1.3520, 1.3486,
    1.3444, 1.3420, 1.3402, 1.3387, 1.3361, 1.3327, 1.3318, 1.3326, 1.3312, 1.3317,
)  # fmt: skip
TRAIN_TOP1 = 95.89  # percent, of augmented images, over the last epoch
TEST_TOP1 = 44.80  # percent
TEST_LOSS = 2.680  # nats
GAP = round(TRAIN_TOP1 - TEST_TOP1, 2)  # points

# Its model and recipe by dotted parameter name: as its text has them, and as its notebook where the text is silent.
RECIPE: dict[str, Any] = {
    "model.name": "coatnet",
    "model.variant": "table",
    "model.image_size": 224,
    "model.layout": "CCTT",
    "model.blocks": [1, 1, 1, 1],
    "model.dims": [96, 192, 192, 384],
    "model.stem_width": 64,
    "model.stem_stride": 2,
    "model.strides": 2,
    "model.kernel": 3,
    "model.expansion": 4,
    "model.se_ratio": 0.25,
    "model.table.heads": 12,
    "augment.interpolation": "bilinear",
    "augment.crop_scale": [0.08, 1.0],
    "augment.crop_ratio": [0.75, 1.3333333333333333],
    "augment.flip": 0.5,
    "augment.policy": "autoaugment-imagenet",
    "augment.mixup.probability": 0.25,
    "augment.mixup.alpha": 0.2,
    "augment.cutmix.probability": 0.25,
    "augment.cutmix.alpha": 0.2,
    "augment.erase.probability": 0.25,
    "augment.erase.area": [0.02, 0.33],
    "augment.erase.ratio": [0.3, 3.3],
    "augment.erase.value": "zero",
    "augment.label_smoothing": 0.1,
    "augment.passes": None,
    "train.epochs": 80,
    "train.batch_size": 128,
    "train.accumulation": 1,
    "train.optimizer": "adamw",
    "train.lr": 5.0e-4,
    "train.final_lr": 0.01,
    "train.warmup_epochs": 0.0,
    "train.schedule": "cosine",
    "train.weight_decay": 0.05,
    "train.clip_norm": None,
    "train.ema": None,
    "train.image_size": None,
}
