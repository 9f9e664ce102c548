"""What a person sees of a training run: one bar over all of it, a line an epoch, and a word when it would take days."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from tqdm import tqdm

from ..params import Params
from .devices import device_name
from .processes import World
from .status import Status, under_its_name

DAY = 24 * 3600  # seconds
SLOW_START = 45  # seconds of a first step after which a day's work is foreseen, within the first minute


class Display:
    """Progress and clock of a run. The clock leaves out the first step (start-up) and every `pause`."""

    def __init__(self, params: Params, steps: int, world: World, status: Path):
        self.params, self.steps, self.world, self.status = params, steps, world, status
        self.batch = params.train.batch_size
        self.total = params.train.epochs * steps * self.batch  # images
        self.done = 0  # images, those of an earlier process included
        self.timed_images, self.timed_seconds, self.startup_seconds, self.earlier_seconds = 0, 0.0, 0.0, 0.0
        self.unshown = 0  # images since the last `show`
        self.loss: float | None = None  # what was last shown
        self.top1: float | None = None
        self.warned = False
        self.slow_start: threading.Timer | None = None

    def start(self, precision: str, why_not_resumed: str) -> None:
        self.started = self.mark = time.perf_counter()
        self.first = True
        self.say(
            f"Training {self.params.model.name} in {precision} on {_name(self.world.device)}"
            + (f" and {self.world.size - 1} more" if self.world.size > 1 else "")
            + f": {self.params.train.epochs} epochs of {self.steps:,} steps of {self.batch} images"
        )
        self.say(why_not_resumed)
        if self.world.device.type == "cpu" and self.params.train.compile is not True:
            self.slow_start = threading.Timer(SLOW_START, self._slow_start)
            self.slow_start.daemon = True
            self.slow_start.start()
        # disable=None: no bar where standard error is no terminal; the lines an epoch remain.
        self.bar = tqdm(total=self.total, unit=" images", unit_scale=True, disable=None if self.world.is_main else True)
        self._tell("starting")

    def resume(self, epoch: int, step: int, clock: dict[str, float]) -> None:
        self.done = self.bar.n = self.bar.initial = (epoch * self.steps + step) * self.batch
        self.timed_images, self.timed_seconds = int(clock["timed_images"]), clock["timed_seconds"]
        self.startup_seconds, self.earlier_seconds = clock["startup_seconds"], clock["seconds"]
        self.say(f"Going on after step {step} of epoch {epoch + 1}" if step else f"Going on after epoch {epoch}")
        self._tell("starting")

    def is_due(self) -> bool:
        """Counts a step; whether it is time for `show`: after the very first step, then once a second."""
        self.unshown += self.batch
        return self.first or time.perf_counter() - self.mark >= 1

    def show(self, epoch: int, loss: float, top1: float) -> None:
        """Takes the time, the device having been waited for, and redraws the bar."""
        now = time.perf_counter()
        if self.first:
            self.startup_seconds += now - self.started
            self.first = False
            if self.slow_start:
                self.slow_start.cancel()
        else:
            self.timed_images += self.unshown
            self.timed_seconds += now - self.mark
        self.done += self.unshown
        self.bar.set_description_str(f"epoch {epoch + 1}/{self.params.train.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}, top-1 {top1:.1f}%", refresh=False)
        self.bar.update(self.unshown)
        self.unshown, self.mark = 0, now
        self.loss, self.top1 = loss, top1
        self._tell("training")
        if not self.warned and now - self.started >= 5 and self.rate():
            self._warn(self.rate())

    @contextmanager
    def pause(self, doing: str) -> Iterator[None]:
        """What happens inside does not count as training; those who watch are told what it is."""
        self._tell(doing)
        yield
        self.mark = time.perf_counter()

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """An error's sentence gets a line of its own, and no status is left that promises that the run goes on."""
        try:
            yield
        except Exception:
            self.close()
            raise

    def epoch_done(self, row: dict[str, float]) -> None:
        rate, left = self.rate(), self.seconds_left()
        curve = f", evaluated: loss {row['eval_loss']:.3f}, top-1 {row['eval_top1']:.2f}%" if "eval_loss" in row else ""
        self.say(
            f"epoch {row['epoch']:.0f}/{self.params.train.epochs}: loss {row['train_loss']:.3f}, "
            f"top-1 {row['train_top1']:.2f}%{curve}, {rate:,.0f} images/s, {tqdm.format_interval(left)} left"
        )

    def stopped(self) -> None:
        """The status stays: of a process that is no more, it tells that the run was stopped."""
        self._close_bar()
        where = "from here" if self.world.size == 1 else "after the last epoch"
        self.say(f"Stopped; the same command{under_its_name(self.status.stem)} goes on {where}.")

    def close(self) -> None:
        self._close_bar()
        if self.world.is_main:
            with suppress(OSError):  # Windows keeps a file that is being read
                self.status.unlink(missing_ok=True)

    def _close_bar(self) -> None:
        if self.slow_start:
            self.slow_start.cancel()
        self.bar.close()

    def say(self, line: str) -> None:
        if line and self.world.is_main:
            tqdm.write(line)
            sys.stdout.flush()

    def rate(self) -> float:
        """Training images a second, over all processes; 0 before the second step."""
        return self.timed_images / self.timed_seconds if self.timed_seconds else 0.0

    def seconds_left(self) -> float:
        """Of training at this rate; 0 before the second step."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate else 0.0

    def clock(self) -> dict[str, float]:
        """What `resume` takes up."""
        return {
            "timed_images": self.timed_images,
            "timed_seconds": self.timed_seconds,
            "startup_seconds": self.startup_seconds,
            "seconds": self.earlier_seconds + time.perf_counter() - self.started,
        }

    def summary(self) -> dict[str, float]:
        """Speed, minutes in all (pauses between interrupted runs left out) and seconds of start-up."""
        clock = self.clock()
        return {
            "images_per_second": self.rate(),
            "minutes": clock["seconds"] / 60,
            "startup_seconds": clock["startup_seconds"],
        }

    def _tell(self, doing: str) -> None:
        """Writes the status, for those who watch."""
        if not self.world.is_main:
            return
        data = self.params.data
        Status(
            folder=str(Path.cwd()),
            doing=doing,
            epochs=self.params.train.epochs,
            done=self.done,
            total=self.total,
            images_per_second=self.rate(),
            seconds_left=self.seconds_left(),
            loss=self.loss,
            top1=self.top1,
            split="holdout" if data.holdout else "test",
            like_original=data.like_original,
        ).write(self.status)

    def _slow_start(self) -> None:
        """Called while the first step is still under way, so its end is no news for some minutes more."""
        self._warn(self.batch / SLOW_START)

    def _warn(self, rate: float) -> None:
        self.warned = True
        self.say(self.days_advice(rate))

    def days_advice(self, rate: float) -> str:
        """Where `rate` images a second make what remains more than a day's work: how much, and what to type instead."""
        seconds = (self.total - self.done) / rate
        if seconds < DAY:
            return ""
        model, train = self.params.model, self.params.train
        unit = model.total_stride if model.name == "coatnet" else 32
        size = min(model.image_size, -(-32 // unit) * unit)
        epochs = int(3600 * rate * (model.image_size / size) ** 2 / (self.steps * self.batch))
        smaller: dict[str, float | str] = {"model.image_size": size, "train.epochs": min(max(1, epochs), train.epochs)}
        if train.image_size:
            smaller["train.image_size"] = "null"
        if train.warmup_epochs:
            smaller["train.warmup_epochs"] = 0.0
        return (
            f"At about {rate:,.{0 if rate >= 10 else 1}f} images/s this run takes {seconds / DAY:.1f} days here; for a "
            f"first result within an hour or so: dvc exp run {' '.join(f'-S {k}={v}' for k, v in smaller.items())}"
        )


def _name(device: torch.device) -> str:
    if device.type == "cpu":
        return f"the CPU ({torch.get_num_threads()} threads; no GPU was found)"
    return f"one {device_name(device)}"
