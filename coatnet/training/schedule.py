"""What changes from step to step or from epoch to epoch, as a function of these alone.

torch's schedulers have state, which a resumed run would have to restore.
"""

import math

from ..params import TrainParams


def learning_rate(train: TrainParams, step: int, steps_per_epoch: int) -> float:
    """The rate of `step` (from 0): linear warm-up from 0 to `lr`, then down to `final_lr * lr` on the last step.

    `cosine` follows half a period; `linear` falls evenly; `trapezoid` stays at `lr` and falls linearly over the last
    fifth of the steps after warm-up.
    """
    last, warmup = train.epochs * steps_per_epoch - 1, train.warmup_epochs * steps_per_epoch
    if step < warmup:
        return train.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, last - warmup)
    match train.schedule:
        case "cosine":
            height = (1 + math.cos(math.pi * done)) / 2
        case "linear":
            height = 1 - done
        case "trapezoid":
            height = min(1.0, (1 - done) / 0.2)
    return train.lr * (train.final_lr + (1 - train.final_lr) * height)


def image_size(train: TrainParams, epoch: int, final: int) -> int:
    """Pixels trained at in `epoch` (from 0): of `train.image_size`'s last entry not after it; `final` without any."""
    return next((size for start, size in reversed(train.image_size or ()) if epoch >= start), final)
