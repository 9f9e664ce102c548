"""What the processes of these tests run; in a module of its own, since new processes import it."""

import functools
import os
import random
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.launcher.api import LaunchConfig

from coatnet import Params, UserError
from coatnet.data import Shards
from coatnet.machine import processes
from coatnet.machine.processes import World, join_world
from coatnet.training import curve, engine, init, progress
from coatnet.training.batch import Batch
from coatnet.training.checkpoint import Checkpoint, save_checkpoint
from coatnet.training.engine import Trainer


def launch(*args: object, **kwargs: object) -> None:
    """`coatnet`'s, but forked in that way too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "LaunchConfig", functools.partial(LaunchConfig, start_method="forkserver"))
        processes.launch(*args, **kwargs)


def exact(params: Params, folder: Path) -> None:
    """Trains in float64 with batch norm in eval mode; the first process saves weights and history."""
    torch.set_num_threads(1)
    create, augment, start = init.create_model, engine.BatchAugment.__call__, Trainer.start_epoch

    def exact_augment(*args: object, **kwargs: object) -> tuple[torch.Tensor, ...]:
        return tuple(t.double() for t in augment(*args, **kwargs))

    def frozen(trainer: Trainer, epoch: int) -> None:
        start(trainer, epoch)
        for module in trainer.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    with pytest.MonkeyPatch.context() as patch:  # a single process is the tests' own
        patch.setattr(init, "create_model", lambda *args, **kwargs: create(*args, **kwargs).double())
        patch.setattr(engine.BatchAugment, "__call__", exact_augment)
        patch.setattr(curve, "predict", lambda model, x, transform, **_: model.eval()(transform(x).double()))
        patch.setattr(engine, "check_batch", lambda *_: None)  # it tries the model on float32
        patch.setattr(Trainer, "start_epoch", frozen)
        world = join_world()
        trained = Trainer(params, Shards(folder / "shards"), world, folder / f"progress-{world.size}").run()
    if world.is_main:
        torch.save((trained.model.state_dict(), trained.history), folder / f"result-{world.size}")


def dying(params: Params, folder: Path) -> None:
    """The second process kills itself in the second epoch, unless the file `mercy` is there.

    What the first prints is added to `folder / "said"`.
    """
    torch.set_num_threads(1)
    world = join_world()
    if world.is_main:
        sys.stdout = open(folder / "said", "a", buffering=1)  # noqa: SIM115 (open as long as the process lives)
    step = Trainer.train_step

    def fatal(trainer: Trainer, batch: Batch) -> None:
        if batch.epoch == 1 and world.rank == 1 and not (folder / "mercy").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        step(trainer, batch)

    Trainer.train_step = fatal
    Trainer(params, Shards(folder / "shards"), world, folder / "progress").run()


def refusing(_: Params, __: Path) -> None:
    world = join_world()
    dist.barrier()  # else the first could be gone before the second has found it
    if world.rank == 1:
        raise UserError("the second process says no")
    dist.barrier()  # which the second's end breaks


def waiting(folder: Path) -> None:
    """Says by a file that it is there."""
    (folder / str(os.getpid())).touch()
    time.sleep(120)


def train_alone(
    params: Params, folder: Path, checkpoint: str, *, kill: str | None = None, seed: int = 0, steps: int = 0
) -> None:
    """Trains to the end and saves a checkpoint, unless it kills itself before, at a moment drawn by `seed`.

    `kill` is None, "saving" (in the middle of writing progress), "SIGKILL" or "SIGTERM" (after at most `steps` steps).
    What it prints is added to `folder / "said"`.
    """
    torch.set_num_threads(1)
    sys.stdout = open(folder / "said", "a", buffering=1)  # noqa: SIM115 (open as long as the process lives)
    drawn = random.Random(seed)
    if kill == "saving":
        save, left = torch.save, drawn.randint(1, 2)

        def cut_off(values: object, path: Path) -> None:
            nonlocal left
            save(values, path)
            left -= 1
            if not left:
                os.truncate(path, drawn.randint(0, path.stat().st_size))
                os.kill(os.getpid(), signal.SIGKILL)

        progress.torch.save = cut_off
    elif kill:
        step, left = Trainer.train_step, drawn.randint(0, steps)

        def at_any_moment() -> None:
            time.sleep(drawn.uniform(0, 0.05))
            os.kill(os.getpid(), signal.Signals[kill])

        def counted(trainer: Trainer, batch: Batch) -> None:
            nonlocal left
            if left == 0:
                threading.Thread(target=at_any_moment, daemon=True).start()
            left -= 1
            step(trainer, batch)

        Trainer.train_step = counted
    shards = Shards(folder / "shards")
    trained = Trainer(params, shards, World(0, 1, torch.device("cpu")), folder / "progress").run()
    whole = Checkpoint(trained.model, params.model_dump(mode="json"), shards.classes, shards.mean, shards.std)
    save_checkpoint(folder / checkpoint, whole)


def watch_memory(params: Params, folder: Path) -> None:
    """Writes the peak memory in KiB after each epoch, a line each."""
    torch.set_num_threads(1)

    def note(trainer: Trainer) -> None:
        if not trainer.history:
            return
        with open(folder / "memory", "a") as file:
            file.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")

    Trainer(params, Shards(folder / "shards"), World(0, 1, torch.device("cpu")), folder / "progress").run(note)
