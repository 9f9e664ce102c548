"""What the processes of test_processes.py run; in a module of its own, since new processes import it."""

import os
import signal
from pathlib import Path

import torch
from torch import nn

from coatnet import Params, UserError
from coatnet.data import Shards
from coatnet.training import engine
from coatnet.training.engine import Trainer
from coatnet.training.processes import join_world


def exact(params: Params, folder: Path) -> None:
    """Trains in float64 with batch norm in eval mode; the first process saves weights and history."""
    torch.set_num_threads(1)
    create, augment = engine.create_model, engine.BatchAugment.__call__
    engine.create_model = lambda *args, **kwargs: create(*args, **kwargs).double()
    engine.BatchAugment.__call__ = lambda *args, **kwargs: tuple(t.double() for t in augment(*args, **kwargs))
    engine.predict = lambda model, images, transform, **_: model.eval()(transform(images).double())
    start = Trainer._start_epoch

    def frozen(trainer: Trainer, epoch: int) -> None:
        start(trainer, epoch)
        for module in trainer.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    Trainer._start_epoch = frozen
    world = join_world()
    trained = Trainer(params, Shards(folder / "shards"), world, folder / f"progress-{world.size}").run()
    if world.is_main:
        torch.save((trained.model.state_dict(), trained.history), folder / f"result-{world.size}")


def dying(params: Params, folder: Path) -> None:
    """The second process kills itself in the second epoch, unless the file `mercy` is there."""
    torch.set_num_threads(1)
    world = join_world()
    step = Trainer._step

    def fatal(trainer: Trainer, epoch: int, *rest: object) -> None:
        if epoch == 1 and world.rank == 1 and not (folder / "mercy").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        step(trainer, epoch, *rest)

    Trainer._step = fatal
    Trainer(params, Shards(folder / "shards"), world, folder / "progress").run()


def refusing(_: Params, __: Path) -> None:
    if join_world().rank == 1:
        raise UserError("the second process says no")
