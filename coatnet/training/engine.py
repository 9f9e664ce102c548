"""The training loop: `Trainer.run` reads top to bottom, what it calls stands below it or in a file beside this one.

Nothing is random but by (seed, epoch, step): a run that goes on from its progress gives the bits of an unbroken one.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ..augment import BatchAugment, EvalTransform
from ..data import Batches, Shards
from ..errors import UserError
from ..machine.devices import widest_float
from ..machine.display import Display
from ..machine.memory import free_memory, is_out_of_memory, keep_freed_memory
from ..machine.processes import World
from ..models import check_image_sizes, create_model
from ..params import Params
from ..seeds import derive_seed
from .evaluation import predict
from .optim import Ema, adamw, learning_rate
from .progress import fingerprint, load_progress, save_progress

NEVER = 2**62  # a step that no run reaches
BACKWARD = 1.4  # peak memory of a step, over what its forward pass keeps: measured with the table model on a CPU


@dataclass(frozen=True)
class Trained:
    model: nn.Module  # the moving average where there is one, else the last weights
    history: list[dict[str, float]]  # one row an epoch
    images_per_second: float  # of training steps, over all processes; neither start-up nor the curve's evaluations
    minutes: float  # of training and evaluations, pauses between interrupted runs left out
    startup_seconds: float  # the first step: memory, autotuning, compilation


class Trainer:
    """Trains `params.model` on the training images of `shards`; `run` does it all.

    Args:
        world: this process's place among those that train together, and its device.
        progress_file: where the run is kept after each epoch, and taken up again.
    """

    def __init__(self, params: Params, shards: Shards, world: World, progress_file: Path):
        self.params, self.shards, self.world, self.progress_file = params, shards, world, progress_file
        train, device, holdout = params.train, world.device, params.data.holdout
        if train.batch_size % (world.size * train.accumulation):
            raise UserError(
                f"train.batch_size={train.batch_size} cannot be cut into train.accumulation={train.accumulation} parts "
                f"in each of {world.size} processes: make it a multiple of {world.size * train.accumulation}"
            )
        _configure(train.deterministic)
        bf16 = train.precision == "bf16" or (train.precision == "auto" and device.type == "cuda")
        self.dtype = torch.bfloat16 if bf16 else torch.float32

        images, labels = (t.to(device) for t in shards.load("train", holdout=holdout))
        share = {"rank": world.rank, "world": world.size}
        self.batches = Batches(images, labels, batch_size=train.batch_size, seed=params.seed, **share)
        self.passes = params.augment.passes or (None,)
        self.steps = len(self.batches) * len(self.passes)  # an epoch
        if train.evaluate_every:
            held = shards.load("holdout" if holdout else "test", holdout=holdout)
            self.curve_data = tuple(t[world.rank :: world.size].to(device) for t in held)

        torch.manual_seed(params.seed)
        model = create_model(params.model, shards.num_classes)
        check_image_sizes(model, params.model, train.image_sizes)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
        self.optimizer = adamw(self.model, train)
        self.ema = Ema(self.model, train.ema) if train.ema else None
        self.forward = self._parallel_and_compiled()
        self.augment = self._augmentation(train.image_size_at(0, params.model.image_size))
        self.meter = Meter(device)
        self.history: list[dict[str, float]] = []
        self.display = Display(params, self.steps, world)

    def run(self) -> Trained:
        """Trains from the start, or from the progress file of the same run, to the last epoch.

        Raises:
            UserError: the loss is not finite, the memory does not hold the batch, or the disk not the progress.
            SystemExit: SIGTERM or Ctrl-C came; the progress was written after the step under way.
        """
        train = self.params.train
        first_epoch, first_step = self._resume()
        if self.world.device.type == "cpu":
            self._check_memory()
        with _signals() as stop:
            for epoch in range(first_epoch, train.epochs):
                self._start_epoch(epoch)
                for step, only, images, labels in self._epoch_steps(epoch, first_step):
                    self._step(epoch, step, only, images, labels)
                    # About once a second: the only wait for the device inside an epoch.
                    if self.display.is_due() or stop:
                        self._check_finite()
                        self.display.show(epoch, *self.meter.read())
                    if stop:
                        if self.world.size == 1:  # else the others' sums are not here: the last epoch's progress stays
                            self._save(epoch, step + 1)
                        self.display.stopped()
                        raise SystemExit(128 + stop[0])
                first_step = 0
                self._end_epoch(epoch)
                self._save(epoch + 1, 0)
        self.display.close()
        clock = self.display.clock()
        return Trained(
            self.averaged, self.history, self.display.rate(), clock["seconds"] / 60, clock["startup_seconds"]
        )

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate and keep."""
        return self.ema.module if self.ema else self.model

    def _start_epoch(self, epoch: int) -> None:
        self.model.train()
        size = self.params.train.image_size_at(epoch, self.params.model.image_size)
        if self.augment.image_size != size:  # not each epoch: a new one waits for its tables to reach the device
            self.augment = self._augmentation(size)

    def _augmentation(self, image_size: int) -> BatchAugment:
        return BatchAugment(
            self.params.augment,
            image_size=image_size,
            num_classes=self.shards.num_classes,
            mean=self.shards.mean,
            std=self.shards.std,
            seed=self.params.seed,
        )

    def _epoch_steps(self, epoch: int, first_step: int) -> Iterator[tuple[int, str | None, Tensor, Tensor]]:
        """Yields (step in the epoch, the augmentation to use alone or None, uint8 images, labels)."""
        for number, only in enumerate(self.passes):
            for step, images, labels in self.batches.epoch(epoch * len(self.passes) + number):
                step += number * len(self.batches)
                if step >= first_step:
                    yield step, only, images, labels

    def _step(self, epoch: int, step: int, only: str | None, images: Tensor, labels: Tensor) -> None:
        """One step of the optimizer, in `accumulation` parts."""
        train = self.params.train
        total_step = epoch * self.steps + step
        # Dropped paths draw from torch's own generator: it starts each step afresh, so that no state is to be kept.
        torch.manual_seed(derive_seed("dropped paths", self.params.seed, total_step, self.world.rank))
        for group in self.optimizer.param_groups:
            group["lr"].fill_(learning_rate(train, total_step, self.steps))
        parts = list(zip(images.chunk(train.accumulation), labels.chunk(train.accumulation), strict=True))
        for i, part in enumerate(parts):
            gradients_stay_here = self.world.size > 1 and i + 1 < len(parts)
            try:
                with self.forward.no_sync() if gradients_stay_here else nullcontext():  # type: ignore[operator] # DDP's
                    loss, logits_bk, targets_bk = self._backward(
                        *part, epoch=epoch, step=step * len(parts) + i, only=only
                    )
            except RuntimeError as error:
                if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    raise UserError(f"torch.compile failed ({error}): train.compile=false trains without it") from error
                if not is_out_of_memory(error):
                    raise
                memory_error = error
            else:
                self.meter.add(loss, logits_bk, targets_bk, total_step)
                continue
            # Out of the except block, whose traceback still holds the step's tensors.
            raise UserError(self._memory_advice(images, labels)) from memory_error
        if train.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), train.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model, total_step)

    def _backward(
        self, images: Tensor, labels: Tensor, *, epoch: int, step: int, only: str | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Adds one part's share to the gradients; returns its mean loss, logits and targets."""
        x_bchw, targets_bk = self.augment(images, labels, epoch=epoch, step=step, rank=self.world.rank, only=only)
        x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.world.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits_bk = self.forward(x_bchw)
        logits_bk = logits_bk.to(targets_bk.dtype)
        loss = F.cross_entropy(logits_bk, targets_bk)
        (loss / self.params.train.accumulation).backward()
        return loss.detach(), logits_bk.detach(), targets_bk

    def _check_memory(self) -> None:
        """Refuses a batch that this machine cannot hold: the kernel would kill the process without a word.

        Where there is twice the memory, speed is worth some of it.
        """
        train, stored = self.params.train, {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
            return tensor

        size = max(train.image_sizes or [self.params.model.image_size])
        x_bchw = torch.zeros(2, 3, size, size).contiguous(memory_format=torch.channels_last)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self.model.eval()(x_bchw)
        weights = sum(p.numel() * p.element_size() for p in self.model.parameters())
        an_image = BACKWARD * max(1, sum(stored.values()) - weights) / 2
        part = train.batch_size // (self.world.size * train.accumulation)
        free = free_memory() / self.world.local_size
        if an_image * part < free:
            if 2 * an_image * part < free:
                keep_freed_memory()
            return
        start = time.perf_counter()
        with torch.no_grad():
            self.model(x_bchw)
        # A backward pass takes two forward passes' time.
        days = self.display.days_advice(self.world.size * 2 / 3 / (time.perf_counter() - start))
        fitting = [n for n in range(1, part) if part % n == 0 and an_image * n < free]
        advice = (
            f"{fitting[-1]} fit: add -S train.accumulation={train.accumulation * part // fitting[-1]}, which keeps "
            "train.batch_size"
            if fitting
            else "lower model.image_size or the model's dims"
        )
        raise UserError(
            f"{part} images a step need about {an_image * part / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
            f"free: {advice}. {days}".rstrip(". ")
        )

    def _memory_advice(self, images: Tensor, labels: Tensor) -> str:
        """Tries ever smaller parts of the batch that did not fit, and says which one does."""
        train = self.params.train
        problem = f"the memory does not hold {len(images) // train.accumulation} images a step"
        if self.world.size > 1:  # the others would wait for this one's trials for ever
            return f"{problem}: add -S train.accumulation={2 * train.accumulation}, which keeps train.batch_size"
        for parts in range(train.accumulation + 1, len(images) + 1):
            if len(images) % parts:
                continue
            self.optimizer.zero_grad()
            if self.world.device.type != "cpu":
                torch.accelerator.empty_cache()
            share = len(images) // parts
            try:
                self._backward(images[:share], labels[:share], epoch=0, step=0, only=None)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            else:
                return f"{problem}, but {share} fit: add -S train.accumulation={parts}, which keeps train.batch_size"
        return f"{problem}, nor a single one: lower model.image_size or the model's dims"

    def _end_epoch(self, epoch: int) -> None:
        """Adds the epoch's row to the history, with a point of the accuracy curve where one is due."""
        self.world.sum(self.meter.totals)
        # The loss tells of the weights before the last step.
        if not nn.utils.get_total_norm(self.model.parameters()).isfinite():
            self.meter.first_bad_step.clamp_(max=(epoch + 1) * self.steps - 1)
        self._check_finite()
        loss, top1 = self.meter.read()
        self.display.show(epoch, loss, top1)
        rate = learning_rate(self.params.train, (epoch + 1) * self.steps - 1, self.steps)
        row = {"epoch": epoch + 1, "lr": rate, "train_loss": loss, "train_top1": top1}
        self.meter.reset()
        every = self.params.train.evaluate_every
        if every and ((epoch + 1) % every == 0 or epoch + 1 == self.params.train.epochs):
            with self.display.pause():
                row |= self._curve_point()
        # Fixed rounding: equal runs give equal files.
        self.history.append({name: float(f"{value:.6g}") for name, value in row.items()})
        self.display.epoch_done(self.history[-1])

    def _curve_point(self) -> dict[str, float]:
        """Loss and accuracy (percent) on the test set, or the held-out images; each process does its share."""
        images, labels = self.curve_data
        transform = EvalTransform(image_size=self.params.model.image_size, mean=self.shards.mean, std=self.shards.std)
        logits = predict(self.averaged, images, transform, batch_size=self.params.train.batch_size, dtype=self.dtype)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        hits = (logits.argmax(1) == labels).sum()
        sums = torch.stack([loss, hits, torch.full_like(loss, len(labels))]).to(widest_float(loss.device))
        loss, hits, count = self.world.sum(sums).tolist()
        return {"eval_loss": loss / count, "eval_top1": 100 * hits / count}

    def _parallel_and_compiled(self) -> nn.Module:
        forward, device, wanted = self.model, self.world.device, self.params.train.compile
        if self.world.size > 1:
            if device.type == "cuda":
                self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
            forward = DistributedDataParallel(self.model, device_ids=[device] if device.type == "cuda" else None)
        if wanted is True or (wanted == "auto" and device.type == "cuda"):
            forward = torch.compile(forward, dynamic=False)
        return forward

    def _save(self, epoch: int, step: int) -> None:
        """Writes what the next step, `step` of `epoch` (both from 0), needs."""
        if not self.world.is_main:
            return
        state = {
            "epoch": epoch,
            "step": step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "totals": self.meter.totals,
            "history": self.history,
            "clock": self.display.clock(),
        }
        save_progress(self.progress_file, self._stamp(), state)

    def _resume(self) -> tuple[int, int]:
        """Takes up an earlier run; returns the epoch and the step to go on with."""
        found = load_progress(self.progress_file, self._stamp()) if self.world.is_main else None
        state, why_not = self.world.share(found)  # another machine has no such file
        self.display.start(why_not)
        if state is None:
            return 0, 0
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"].to(self.world.device)  # load_state_dict leaves it on the CPU
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        self.meter.totals.copy_(state["totals"])
        self.history = state["history"]
        self.display.resume(state["epoch"], state["step"], state["clock"])
        return state["epoch"], state["step"]

    def _stamp(self) -> str:
        return fingerprint(self.params, self.shards.digest("train") + self.shards.digest("test"))

    def _check_finite(self) -> None:
        bad = int(self.meter.first_bad_step)
        if bad == NEVER:
            return
        epoch, step = divmod(bad, self.steps)
        path = self.progress_file
        kept = f"the progress before it is in {path}" if path.exists() else "nothing was saved before it"
        raise UserError(
            f"the loss is not finite in epoch {epoch + 1}, step {step + 1}, at learning rate "
            f"{learning_rate(self.params.train, bad, self.steps):.3g} ({kept}): lower train.lr, raise "
            "train.warmup_epochs or set train.clip_norm=1.0, with which the run starts afresh"
        )


class Meter:
    """Running sums kept on the device, so that adding to them waits for nothing."""

    def __init__(self, device: torch.device):
        self.totals = torch.zeros(3, dtype=widest_float(device), device=device)  # loss, hits, images
        self.first_bad_step = torch.full((), NEVER, device=device)

    def reset(self) -> None:
        self.totals.zero_()

    def add(self, loss: Tensor, logits_bk: Tensor, targets_bk: Tensor, step: int) -> None:
        count = len(logits_bk)
        hits = (logits_bk.argmax(1) == targets_bk.argmax(1)).sum()
        added = [loss.to(self.totals.dtype) * count, hits, torch.full_like(loss, count)]
        self.totals += torch.stack(added)
        self.first_bad_step.clamp_(max=torch.where(loss.isfinite(), NEVER, step))

    def read(self) -> tuple[float, float]:
        """Mean loss, and the percentage of augmented images whose largest target was the model's answer."""
        loss, hits, images = self.totals.tolist()
        return loss / images, 100 * hits / images


def _configure(deterministic: bool) -> None:
    torch.set_float32_matmul_precision("high")  # TF32 where float32 was asked for on a GPU
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT while open, so that the step under way ends first; a second one ends at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    former: dict[int, Any] = {}

    def remember(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, former[number])

    for caught in (signal.SIGTERM, signal.SIGINT):
        former[caught] = signal.signal(caught, remember)
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
