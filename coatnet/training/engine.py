"""The training loop: `Trainer.run` reads top to bottom; each of its steps stands below it or in a file beside this one.

Nothing is random but by (seed, epoch, step): a run that goes on from its progress gives the bits of an unbroken one.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..augment import BatchAugment
from ..data import Batches, Shards
from ..errors import UserError, one_line
from ..machine.display import Display
from ..machine.memory import check_batch, is_out_of_memory, smaller_parts
from ..machine.processes import World
from ..machine.signals import deferred_signals
from ..params import Params
from ..seeds import derive_seed
from .batch import Batch, check_parts
from .curve import Curve
from .init import initial_model
from .kernels import PRECISIONS, autocast, autocast_dtype, configure_kernels, parallel_and_compiled
from .meter import Meter
from .optim import Ema, optimizers, set_rate
from .progress import Progress, fingerprint
from .schedule import image_size, learning_rate


@dataclass(frozen=True)
class Trained:
    model: nn.Module  # the moving average where there is one, else the last weights
    history: list[dict[str, float]]  # one row an epoch
    images_per_second: float  # of training steps alone, over all processes; start-up, evaluations and saving left out
    minutes: float  # of training and evaluations, pauses between interrupted runs left out
    startup_seconds: float  # the first step: memory, autotuning, compilation
    precision: str  # bf16 or float32


class Trainer:
    """Trains `params.model` on the training images of `shards`.

    `run` does it all. Its parts, for loops of one's own: `start_epoch`, then `train_step` for each batch of
    `epoch_batches`, then `end_epoch`.

    Args:
        world: this process's place among those that train together, and its device.
        progress_file: where the run is kept after each epoch, and taken up again.

    Attributes:
        model: in training; `averaged` is the one to evaluate.
        history: a row for each epoch so far.

    Raises:
        UserError: the batch cannot be cut into the parts or processes asked for, or holds more images than there are,
            or the weights to start from are not there or do not fit.
    """

    def __init__(self, params: Params, shards: Shards, world: World, progress_file: Path):
        self.params, self.shards, self.world = params, shards, world
        self.progress = Progress(progress_file, fingerprint(params, shards), world)
        train, device = params.train, world.device
        check_parts(train, world)
        configure_kernels(train.deterministic)
        self.dtype = autocast_dtype(train, device)

        trained_on = shards.load("train", holdout=params.data.holdout, fraction=params.data.fraction)
        images, labels = (t.to(device) for t in trained_on)
        place = {"rank": world.rank, "world": world.size}
        self.batches = Batches(images, labels, batch_size=train.batch_size, seed=params.seed, **place)
        self.passes = params.augment.passes or (None,)
        self.steps = len(self.batches) * len(self.passes)  # an epoch
        if train.evaluate_every:
            self.curve = Curve(params, shards, world)

        model = initial_model(params, shards, world)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
        self.optimizers = optimizers(self.model, train)
        self.ema = Ema(self.model, train.ema) if train.ema else None
        self.model, self.forward = parallel_and_compiled(self.model, train, world)
        self.augment = BatchAugment.of(params, shards, image_size(train, 0, params.model.image_size))
        self.meter = Meter(device)
        self.history: list[dict[str, float]] = []
        self.display = Display(params, self.steps, world, progress_file.with_suffix(".json"))

    def run(self, on_history: Callable[["Trainer"], object] = lambda trainer: None) -> Trained:
        """Trains from the start, or from the progress file of the same run, to the last epoch.

        Args:
            on_history: called with this trainer before the first step, and once an epoch's row is in `history`.

        Raises:
            UserError: the loss is not finite, the memory does not hold the batch, or the disk not the progress.
            SystemExit: SIGTERM or Ctrl-C came; the progress was written after the step under way.
        """
        train = self.params.train
        first_epoch, first_step = self._resume()
        with self.display.closed_on_error(), deferred_signals() as stop:
            on_history(self)
            if self.world.device.type == "cpu":
                with autocast(self.world.device, self.dtype):
                    check_batch(self.model, self.params, self.world, self.display.days_advice)
            for epoch in range(first_epoch, train.epochs):
                self.start_epoch(epoch)
                for batch in self.epoch_batches(epoch, first_step):
                    self.train_step(batch)
                    # About once a second: the only wait for the device inside an epoch.
                    if self.display.is_due() or stop:
                        self._check_finite()
                        self.display.show(epoch, *self.meter.read())
                    if stop:
                        if self.world.size == 1:  # else the others' sums are not here: the last epoch's progress stays
                            self._save(epoch, batch.step + 1)
                        self.display.stopped()
                        raise SystemExit(128 + stop[0])
                first_step = 0
                self.end_epoch(epoch)
                with self.display.pause("saving"):
                    on_history(self)
                    self._save(epoch + 1, 0)
        self.display.close()
        return Trained(self.averaged, self.history, **self.display.summary(), precision=PRECISIONS[self.dtype])

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate and keep."""
        return self.ema.module if self.ema else self.model

    def start_epoch(self, epoch: int) -> None:
        """Sets what holds for a whole epoch (from 0): the model's mode, and augmentation to the epoch's image size."""
        self.model.train()
        size = image_size(self.params.train, epoch, self.params.model.image_size)
        if self.augment.image_size != size:  # not each epoch: a new one waits for its tables to reach the device
            self.augment = BatchAugment.of(self.params, self.shards, size)

    def epoch_batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This process's batches of an epoch, from `first_step` on; `augment.passes` go over the data one by one."""
        for number, only in enumerate(self.passes):
            for step, images, labels in self.batches.epoch(epoch * len(self.passes) + number):
                step += number * len(self.batches)
                if step >= first_step:
                    yield Batch(epoch, step, only, images, labels)

    def train_step(self, batch: Batch) -> None:
        """One step of the optimizer, in `train.accumulation` parts.

        Raises:
            UserError: the memory does not hold the batch, or compilation failed.
        """
        train, total_step = self.params.train, batch.epoch * self.steps + batch.step
        # Dropped paths draw from torch's own generator: it starts each step afresh, so that no state is to be kept.
        torch.manual_seed(derive_seed("dropped paths", self.params.seed, total_step, self.world.rank))
        set_rate(self.optimizers, train, learning_rate(train, total_step, self.steps))
        memory_error = None
        try:
            self._accumulate(batch, total_step)
        except RuntimeError as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                said = one_line(error)
                raise UserError(f"torch.compile failed ({said}): train.compile=false trains without it") from error
            if not is_out_of_memory(error):
                raise
            memory_error = error.with_traceback(None)  # the traceback holds the step's tensors
        if memory_error:
            self.model.zero_grad()
            advice = smaller_parts(train, self.world, len(batch.images), lambda n: self._backward(next(batch.parts(n))))
            raise UserError(advice) from memory_error
        if train.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), train.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad()
        if self.ema:
            self.ema.update(self.model, total_step)

    def _accumulate(self, batch: Batch, total_step: int) -> None:
        """Gradients of the whole batch, part by part."""
        parts = self.params.train.accumulation
        for i, part in enumerate(batch.parts(parts), 1):
            gradients_stay_here = self.world.size > 1 and i < parts
            with self.forward.no_sync() if gradients_stay_here else nullcontext():
                self.meter.add(*self._backward(part), total_step)

    def _backward(self, part: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Adds one part's gradients to those of the others; returns its mean loss, logits and targets."""
        place = {"epoch": part.epoch, "step": part.step, "rank": self.world.rank}
        x_bchw, targets_bk = self.augment(part.images, part.labels, only=part.only, **place)
        x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
        with autocast(self.world.device, self.dtype):
            logits_bk = self.forward(x_bchw)
        logits_bk = logits_bk.to(targets_bk.dtype)
        loss = F.cross_entropy(logits_bk, targets_bk)
        (loss / self.params.train.accumulation).backward()
        return loss.detach(), logits_bk.detach(), targets_bk

    def end_epoch(self, epoch: int) -> None:
        """Adds the epoch's row to the history, with a point of the accuracy curve where one is due.

        Raises:
            UserError: a loss or a weight is not finite.
        """
        self.world.all_reduce(self.meter.totals)
        self.meter.add_weights(self.model, (epoch + 1) * self.steps - 1)
        self._check_finite()
        loss, top1 = self.meter.read()
        self.display.show(epoch, loss, top1)
        rate = learning_rate(self.params.train, (epoch + 1) * self.steps - 1, self.steps)
        row = {"epoch": epoch + 1, "lr": rate, "train_loss": loss, "train_top1": top1}
        self.meter.reset()
        every = self.params.train.evaluate_every
        if every and ((epoch + 1) % every == 0 or epoch + 1 == self.params.train.epochs):
            with self.display.pause("evaluating"):
                row |= self.curve.point(self.averaged, self.dtype)
        # Fixed rounding: equal runs give equal files.
        self.history.append({name: float(f"{value:.6g}") for name, value in row.items()})
        self.display.epoch_done(self.history[-1])

    def _check_finite(self) -> None:
        self.meter.check_finite(self.params.train, self.steps, self.progress.path if self.progress.kept else None)

    def _save(self, epoch: int, step: int) -> None:
        """Keeps what the next step, `step` of `epoch` (both from 0), needs."""
        self.progress.save(
            {
                "epoch": epoch,
                "step": step,
                "model": self.model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "ema": self.ema.module.state_dict() if self.ema else None,
                "totals": self.meter.totals,
                "history": self.history,
                "clock": self.display.clock(),
            }
        )

    def _resume(self) -> tuple[int, int]:
        """Takes up an earlier run; returns the epoch and the step to go on with."""
        state, why_not = self.progress.load()
        self.display.start(PRECISIONS[self.dtype], why_not)
        if state is None:
            return 0, 0
        self.model.load_state_dict(state["model"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
            for group in optimizer.param_groups:
                group["lr"] = group["lr"].to(self.world.device)  # load_state_dict leaves it on the CPU
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.meter.totals.copy_(state["totals"])
        self.history = state["history"]
        self.display.resume(state["epoch"], state["step"], state["clock"])
        return state["epoch"], state["step"]
