"""The loggers, with stand-ins for packages that need not be installed."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from coatnet import UserError
from coatnet.machine import loggers
from coatnet.machine.loggers import check_log, open_log

HISTORY = [{"epoch": epoch, "train_loss": 5.0 - epoch} for epoch in (1, 2, 3)]


class Recorder:
    """Whatever is called on it."""

    id = "drawn-by-wandb"

    def __init__(self, calls, fails=None):
        self.calls, self.fails, self.step = calls, fails, 0

    def __getattr__(self, name):
        def call(*args, **kwargs):
            if name == self.fails:
                raise ConnectionError("no network")
            self.calls.append((name, self.step, args, kwargs))
            return self

        return call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calls.append(("closed", self.step, (), {}))


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """`installed(choice, fails)`: that logger, chosen; returns the calls that it gets."""
    monkeypatch.chdir(tmp_path)

    def install(choice, fails=None):
        calls = []
        module, name = {
            "tensorboard": ("torch.utils.tensorboard", "SummaryWriter"),
            "wandb": ("wandb", "init"),
            "dvclive": ("dvclive", "Live"),
        }[choice]
        fake = ModuleType(module)

        def make(*args, **kwargs):
            if name == fails:
                raise ConnectionError("no network")
            calls.append(("made", 0, args, kwargs))
            return Recorder(calls, fails)

        setattr(fake, name, make)
        monkeypatch.setitem(sys.modules, module, fake)
        monkeypatch.setenv(loggers.CHOICE, choice)
        return calls

    return install


def logged(calls):
    """(epoch, loss) of each row."""
    found = []
    for name, step, args, kwargs in calls:
        match name:
            case "add_scalar" if args[0] == "train_loss":
                found.append((args[2], args[1]))
            case "log":
                found.append((kwargs["step"], args[0]["train_loss"]))
            case "log_metric" if args[0] == "train_loss":
                found.append((step, args[1]))
    return found


def options(calls):
    """Those that tell a new log from one that goes on."""
    made = calls[0][3]
    return {key: made[key] for key in ("purge_step", "resume", "id") if key in made}


def run(params, *histories):
    """One that has these histories, one after the other."""
    with open_log(params, Path("logs"), "train") as log:
        for rows in histories:
            log(rows, 870.0)


NEW = {"tensorboard": {"purge_step": 1}, "wandb": {}, "dvclive": {"resume": False}}
GOES_ON = {
    "tensorboard": {"purge_step": 2},
    "wandb": {"id": "drawn-by-wandb", "resume": "allow"},
    "dvclive": {"resume": True},
}


@pytest.mark.parametrize("choice", loggers.LOGGERS)
def test_each_row_is_logged_once_also_after_a_stop_and_a_new_run_begins_anew(installed, tiny, choice):
    calls = installed(choice)
    run(tiny(), [], HISTORY[:1])
    assert options(calls) == NEW[choice]
    assert logged(calls) == [(1, 4.0)]
    assert str(tiny().train.batch_size) in str(calls[:2])  # the parameters
    assert "870.0" in str(calls)
    assert calls[-1][0] in ("close", "closed")
    calls.clear()
    run(tiny(), HISTORY[:1], HISTORY[:2], HISTORY)
    assert options(calls) == GOES_ON[choice]
    assert logged(calls) == [(2, 3.0), (3, 2.0)]
    calls.clear()
    run(tiny(), [], HISTORY[:1])
    assert options(calls) == NEW[choice]


@pytest.mark.parametrize("choice", loggers.LOGGERS)
def test_a_logger_chosen_only_after_a_stop_gets_all_there_was(installed, tiny, choice):
    calls = installed(choice)
    run(tiny(), HISTORY[:2], HISTORY)
    assert options(calls) == NEW[choice]
    assert logged(calls) == [(1, 4.0), (2, 3.0), (3, 2.0)]


def test_the_environment_of_wandb_comes_first(installed, tiny, monkeypatch):
    calls = installed("wandb")
    run(tiny(), [])
    assert calls[0][3]["project"] == "coatnet" and calls[0][3]["name"] == "train"
    calls.clear()
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    run(tiny(), [])
    assert "project" not in calls[0][3]


@pytest.mark.parametrize(
    ("choice", "fails"),
    [
        ("tensorboard", "SummaryWriter"),
        ("tensorboard", "add_scalar"),
        ("tensorboard", "close"),
        ("wandb", "log"),
        ("dvclive", "log_params"),
    ],
)
def test_a_logger_that_fails_is_told_once_and_stops_nothing(installed, tiny, capsys, choice, fails):
    installed(choice, fails)
    run(tiny(), *(HISTORY[:end] for end in range(4)))
    said = f"{choice} failed, and the run goes on without it: ConnectionError: no network"
    assert capsys.readouterr().out.count(said) == 1


def test_an_error_of_training_is_not_swallowed_nor_kept_waiting_for_a_network(installed, tiny):
    calls = installed("wandb")
    with pytest.raises(UserError, match="not finite"), open_log(tiny(), Path("logs"), "train") as log:
        log([], 0.0)
        raise UserError("not finite")
    assert [name for name, *_ in calls] == ["made"]


def test_without_a_choice_nothing_is_asked_for(monkeypatch, tiny):
    monkeypatch.delenv(loggers.CHOICE, raising=False)
    check_log()
    run(tiny(), HISTORY)
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("tensorbord", "is none of tensorboard, wandb, dvclive, or unset; did you mean tensorboard?"),
        ("wandb", "does not work here .*wandb.*: pip install wandb"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(monkeypatch, choice, sentence):
    monkeypatch.setenv(loggers.CHOICE, choice)
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UserError, match=f"COATNET_LOG={choice} {sentence}"):
        check_log()
