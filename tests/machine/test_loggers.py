"""The loggers, with stand-ins for packages that need not be installed."""

import sys
from types import ModuleType

import pytest

from coatnet import UserError
from coatnet.machine import loggers
from coatnet.machine.loggers import check_log, open_log

HISTORY = [{"epoch": epoch, "train_loss": 5.0 - epoch} for epoch in (1, 2, 3)]


class Recorder:
    """Whatever is called on it."""

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


@pytest.mark.parametrize("choice", loggers.LOGGERS)
def test_each_row_is_logged_once_and_none_from_before_a_stop(installed, tiny, choice):
    calls = installed(choice)
    with open_log(tiny(), "name") as log:
        log(HISTORY[:1])  # as a run that goes on begins
        log(HISTORY[:2])
        log(HISTORY)
    assert logged(calls) == [(2, 3.0), (3, 2.0)]
    assert calls[-1][0] in ("close", "closed")


@pytest.mark.parametrize(
    ("choice", "fails"),
    [("tensorboard", "add_scalar"), ("tensorboard", "close"), ("wandb", "log"), ("dvclive", "log_params")],
)
def test_a_logger_that_fails_is_told_once_and_stops_nothing(installed, tiny, capsys, choice, fails):
    installed(choice, fails)
    with open_log(tiny(), "name") as log:
        for end in range(4):
            log(HISTORY[:end])
    said = f"{choice} failed, and the run goes on without it: no network"
    assert capsys.readouterr().out.count(said) == 1


def test_an_error_of_training_is_not_swallowed(installed, tiny):
    installed("wandb")
    with pytest.raises(UserError, match="not finite"), open_log(tiny(), "name"):
        raise UserError("not finite")


def test_without_a_choice_nothing_is_asked_for(monkeypatch, tiny):
    monkeypatch.delenv(loggers.CHOICE, raising=False)
    check_log()
    with open_log(tiny(), "name") as log:
        log(HISTORY)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("tensorbord", "is no logger: choose tensorboard, wandb, dvclive"),
        ("wandb", "needs the package wandb: pip install"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(monkeypatch, choice, sentence):
    monkeypatch.setenv(loggers.CHOICE, choice)
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=sentence):
        check_log()
