"""The accuracy curve of a run under way."""

import torch
from torch import nn
from torch.nn import functional as F

from ..data import Shards
from ..data.transform import EvalTransform
from ..machine.devices import widest_float
from ..machine.processes import World
from ..params import Params
from .evaluation import predict


class Curve:
    """Loss and accuracy on the test set, or the held-out images, while a model trains."""

    def __init__(self, params: Params, shards: Shards, world: World):
        held_out = params.data.holdout
        images_and_labels = shards.load(shards.evaluated(held_out), holdout=held_out)
        # Each process evaluates some of the images.
        self.images, self.labels = (t[world.rank :: world.size].to(world.device) for t in images_and_labels)
        self.transform = EvalTransform(image_size=params.model.image_size, mean=shards.mean, std=shards.std)
        self.batch_size, self.world = params.train.batch_size, world

    def point(self, model: nn.Module, dtype: torch.dtype) -> dict[str, float]:
        """`eval_loss` (nats) and `eval_top1` (percent), over all processes' images. Waits for the device."""
        logits = predict(model, self.images, self.transform, batch_size=self.batch_size, dtype=dtype)
        loss = F.cross_entropy(logits, self.labels, reduction="sum")
        hits = (logits.argmax(1) == self.labels).sum()
        sums = torch.stack([loss, hits, torch.full_like(loss, len(logits))]).to(widest_float(loss.device))
        loss, hits, count = self.world.all_reduce(sums).tolist()
        return {"eval_loss": loss / count, "eval_top1": 100 * hits / count}
