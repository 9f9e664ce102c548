"""One small data set for all of these tests, and runs on it."""

import sys

import pytest
import torch

from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.machine.processes import World
from coatnet.training.engine import Trainer

if sys.platform == "win32":
    collect_ignore = ["test_long_runs.py", "test_processes.py"]  # they fork and kill, as only Unix can


@pytest.fixture(scope="session")
def data(tiny, tmp_path_factory):
    """The folder of the shards."""
    folder = tmp_path_factory.mktemp("data")
    write_synthetic(tiny().data.synthetic, folder / "archive.zip")
    write_shards(folder / "archive.zip", folder / "shards")
    return folder / "shards"


@pytest.fixture(scope="session")
def shards(data):
    return Shards(data)


@pytest.fixture
def folder(data, tmp_path):
    """An empty folder but for `shards`, for processes that get no fixture."""
    (tmp_path / "shards").symlink_to(data)
    return tmp_path


@pytest.fixture(scope="session")
def world():
    return World(0, 1, torch.device("cpu"))


@pytest.fixture
def train(shards, world, tmp_path):
    """`train(params)` runs to the end, from `tmp_path / "progress"` where that exists."""
    return lambda params: Trainer(params, shards, world, tmp_path / "progress").run()


@pytest.fixture
def stop(train, monkeypatch):
    """`stop(params, at, act, error)`: a run that `act`, before the step `at`, (epoch, step), ends with `error`."""

    def run(params, at, act, error):
        step = Trainer.train_step

        def acting(self, batch):
            if (batch.epoch, batch.step) == at:
                act()
            step(self, batch)

        with monkeypatch.context() as patch, pytest.raises(error) as ended:
            patch.setattr(Trainer, "train_step", acting)
            train(params)
        return ended.value

    return run


@pytest.fixture
def kill(stop):
    """`kill(params, at)`: as a kill does, which no handler sees."""

    class Killed(BaseException):
        pass

    def die():
        raise Killed

    return lambda params, at: stop(params, at, die, Killed)


@pytest.fixture
def unbroken_and_resumed(train, kill, tmp_path):
    """`unbroken_and_resumed(params, at)`: what a run gives that nothing stops, and one killed before the step `at`."""

    def run(params, at):
        unbroken = train(params)
        (tmp_path / "progress").unlink()
        kill(params, at)
        return unbroken, train(params)

    return run
