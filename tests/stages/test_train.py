"""What the train stage leaves while it runs."""

import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest

import stages
from coatnet import UserError
from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.machine import files, loggers
from coatnet.machine.status import Status
from coatnet.training.checkpoint import load_checkpoint
from coatnet.training.engine import Trainer
from stages import ARCHIVE, CHECKPOINT, PROGRESS, REPORTS, SHARDS, evaluate, train

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


def test_the_checkpoint_and_the_report_are_of_the_run(tiny, workspace):
    params = tiny(augment__policy="none")
    train.main(params)
    shards, checkpoint, last = Shards(SHARDS), load_checkpoint(CHECKPOINT), pd.read_csv(train.HISTORY).iloc[-1]
    assert (checkpoint.mean, checkpoint.std) == (tuple(shards.mean), tuple(shards.std))
    assert (checkpoint.params, checkpoint.classes) == (params.model_dump(mode="json"), shards.classes)
    report = json.loads((REPORTS / "train.json").read_text())
    assert (report["loss"], report["augmented_top1"]) == (last.train_loss, round(last.train_top1, 2))
    evaluate.main(params)
    metrics = json.loads((REPORTS / "metrics.json").read_text())
    assert metrics["top1"] == pytest.approx(last.eval_top1, abs=0.01)


def test_the_status_is_of_the_run_while_it_lasts(tiny, workspace, before_step):
    found = []
    before_step(lambda epoch, step: found.append(Status.read(STATUS)))
    train.main(tiny())
    assert found[0].doing == "starting" and found[0].loss is None
    status = found[-1]
    assert status.is_alive
    assert (status.epochs, status.split, status.total) == (2, "test", 2 * 96)
    assert 0 < status.done < status.total
    assert not STATUS.exists()


def test_a_missing_logger_is_named_before_the_data_are_touched(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(loggers.CHOICE, "nothing")
    with pytest.raises(UserError, match="COATNET_LOG=nothing is none of"):
        train.main(tiny())  # there are no data


def test_the_status_of_a_run_that_was_stopped_stays(tiny, workspace, before_step):
    before_step(lambda epoch, step: (epoch, step) == (1, 1) and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        train.main(tiny())
    assert Status.read(STATUS).done == 6 * 16 + 2 * 16


def test_columns_are_there_from_the_first_epoch(tiny, workspace, before_step):
    seen = []
    before_step(lambda epoch, step: epoch and seen.append(list(pd.read_csv(train.HISTORY).columns)))
    train.main(tiny(train__evaluate_every=2))
    assert seen[0] == list(pd.read_csv(train.HISTORY).columns)
    assert seen[0][-2:] == ["eval_loss", "eval_top1"]


def test_a_history_that_someone_has_open_does_not_end_the_run(tiny, workspace, before_step, monkeypatch, capsys):
    """On Windows no file that is open can be replaced."""
    replace, is_open = os.replace, True

    def refusing(source, target):
        if is_open and Path(target).name == train.HISTORY.name:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    def close(epoch, step):
        nonlocal is_open
        is_open = epoch < 1

    monkeypatch.setattr(files.os, "replace", refusing)
    before_step(close)
    train.main(tiny())
    assert "history.csv cannot be written: Permission denied (tried again" in capsys.readouterr().out
    assert rows() == 2


def test_a_log_gets_each_epoch_and_ends_after_the_model_is_saved(tiny, workspace, monkeypatch):
    got = []

    @loggers.contextmanager
    def logger(params, folder, epochs):
        got.append((folder.parts[:2], epochs))
        yield lambda epoch, row: got.append((epoch, row["train_loss"] > 0, "images_per_second" in row))
        got.append(CHECKPOINT.exists())

    monkeypatch.setitem(loggers.LOGGERS, "dvclive", logger)
    monkeypatch.setenv(loggers.CHOICE, "dvclive")
    monkeypatch.setattr(train, "check_log", lambda: None)  # the package need not be here
    train.main(tiny())
    assert got == [(("logs", "dvclive"), 0), (1, True, True), (2, True, True), True]


def test_what_outlives_a_run_lies_where_it_was_started_from(tmp_path, monkeypatch):
    temporary = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    temporary.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "deeper")
    monkeypatch.chdir(tmp_path)
    assert stages.kept() == (Path(), "train")
    monkeypatch.chdir(temporary)
    assert stages.kept() == (tmp_path, "deeper")
