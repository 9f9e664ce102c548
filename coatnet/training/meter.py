"""Loss and accuracy of a run under way."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..machine.devices import widest_float
from ..params import TrainParams
from .schedule import learning_rate

NEVER = 2**62  # a step that no run reaches


class Meter:
    """Running sums kept on the device, so that adding to them waits for nothing."""

    def __init__(self, device: torch.device):
        self.totals = torch.zeros(3, dtype=widest_float(device), device=device)  # loss, hits, images
        self.first_bad_step = torch.full((), NEVER, device=device)

    def reset(self) -> None:
        self.totals.zero_()

    def add(self, loss: Tensor, logits_bk: Tensor, targets_bk: Tensor, step: int) -> None:
        """Adds a batch, or a part of one, by its mean loss; `step` is counted from the start of the run."""
        count = len(logits_bk)
        hits = (logits_bk.argmax(1) == targets_bk.argmax(1)).sum()
        added = [loss.to(self.totals.dtype) * count, hits, torch.full_like(loss, count)]
        self.totals += torch.stack(added)
        self.first_bad_step.clamp_(max=torch.where(loss.isfinite(), NEVER, step))

    def add_weights(self, model: nn.Module, step: int) -> None:
        """Notes whether the weights are finite after `step`, of which its own loss does not tell."""
        finite = nn.utils.get_total_norm(model.parameters()).isfinite()
        self.first_bad_step.clamp_(max=torch.where(finite, NEVER, step))

    def read(self) -> tuple[float, float]:
        """Mean loss, and the percentage of augmented images whose largest target was the model's answer."""
        loss, hits, images = self.totals.tolist()
        return loss / images, 100 * hits / images

    def check_finite(self, train: TrainParams, steps_per_epoch: int, kept: Path | None) -> None:
        """Raises `UserError` where a loss was not finite so far; names the step. Waits for the device.

        Args:
            kept: the file of this run's progress, if there is any.
        """
        bad = int(self.first_bad_step)
        if bad == NEVER:
            return
        epoch, step = divmod(bad, steps_per_epoch)
        where = f"the progress before it is in {kept}" if kept else "nothing was saved before it"
        raise UserError(
            f"the loss is not finite in epoch {epoch + 1}, step {step + 1}, at learning rate "
            f"{learning_rate(train, bad, steps_per_epoch):.3g} ({where}): lower train.lr, raise train.warmup_epochs "
            "or set train.clip_norm=1.0, with which the run starts afresh"
        )
