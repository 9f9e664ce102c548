"""What the train stage leaves while it runs."""

import pandas as pd
import pytest

from coatnet import UserError
from coatnet.data import write_shards, write_synthetic
from coatnet.machine import loggers
from coatnet.machine.status import Status
from coatnet.training.engine import Trainer
from stages import ARCHIVE, PROGRESS, SHARDS, train

STATUS = PROGRESS.with_suffix(".json")


class Killed(BaseException):
    pass


@pytest.fixture
def workspace(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_synthetic(tiny().data.synthetic, ARCHIVE)
    write_shards(ARCHIVE, SHARDS)


@pytest.fixture
def before_step(monkeypatch):
    """`before_step(act)`: `act(epoch, step)` is called before each step."""
    step = Trainer.train_step

    def install(act):
        def acting(self, batch):
            act(batch.epoch, batch.step)
            step(self, batch)

        monkeypatch.setattr(Trainer, "train_step", acting)

    return install


def rows():
    return len(pd.read_csv(train.HISTORY)) if train.HISTORY.exists() else 0


def test_the_history_grows_with_each_epoch_also_after_a_kill(tiny, workspace, before_step):
    params, seen = tiny(train__epochs=3), []
    train.main(params)
    whole = train.HISTORY.read_bytes()
    assert not PROGRESS.exists() and not STATUS.exists()

    def kill(epoch, step):
        seen.append((epoch, rows()))
        if (epoch, step) == (2, 1):
            raise Killed

    before_step(kill)
    with pytest.raises(Killed):
        train.main(params)
    assert {(0, 0), (1, 1), (2, 2)} == set(seen)  # the former run's is gone, too
    assert whole.startswith(train.HISTORY.read_bytes())

    train.HISTORY.unlink()  # as DVC does before it runs the stage
    seen.clear()
    before_step(lambda epoch, step: seen.append((epoch, rows())))
    train.main(params)
    assert set(seen) == {(2, 2)}
    assert train.HISTORY.read_bytes() == whole


def test_the_status_is_of_the_run_while_it_lasts(tiny, workspace, before_step):
    found = []
    before_step(lambda epoch, step: found.append(Status.read(STATUS)))
    train.main(tiny())
    status = found[-1]
    assert status.is_alive
    assert (status.epochs, status.split, status.total) == (2, "test", 2 * 96)
    assert 0 < status.done < status.total
    assert not STATUS.exists()


def test_a_missing_logger_is_named_before_the_data_are_touched(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(loggers.CHOICE, "nothing")
    with pytest.raises(UserError, match="COATNET_LOG=nothing is no logger"):
        train.main(tiny())  # there are no data
