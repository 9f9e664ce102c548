import re
import time

import pytest

from coatnet import load_params
from coatnet.command.presets import read_overrides, read_preset
from coatnet.machine import display
from coatnet.machine.display import Display

SLOW = 1.0  # images/s


@pytest.mark.parametrize(("epochs", "warns"), [(80, True), (1, False)])
def test_a_run_of_days_says_so_and_what_to_type(tiny, world, monkeypatch, capsys, epochs, warns, tmp_path):
    clock = iter(range(0, 10**6, 10))  # ten seconds between any two looks
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    display = Display(
        tiny(train__epochs=epochs, model__image_size=224, train__batch_size=128), 781, world, tmp_path / "status"
    )
    display.start("float32", "")
    for step in range(3):
        assert display.is_due() or step == 0
        display.show(0, 5.3, 0.5)
    said = capsys.readouterr().out
    assert ("days here; for a first result" in said) == warns
    if warns:
        assert "dvc exp run -S model.image_size=32 -S train.epochs=" in said


@pytest.mark.parametrize("preset", [None, "two-cores", "overnight", "flagship", "original-published"])
def test_what_to_type_instead_of_days_is_accepted(preset, world, tmp_path):
    overrides = read_preset(preset) if preset else {}
    advice = Display(load_params(overrides=overrides), 781, world, tmp_path / "status").days_advice(SLOW)
    params = load_params(overrides=overrides | read_overrides(re.findall(r"-S (\S+)", advice)))
    assert (params.model.image_size, params.train.epochs) == (32, 1)


def test_a_first_step_of_minutes_does_not_keep_it_waiting(tiny, world, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(display, "SLOW_START", 0.01)
    params = tiny(train__epochs=10**6)
    shown = Display(params, 781, world, tmp_path / "status")
    shown.start("float32", "")
    time.sleep(0.2)
    shown.close()
    assert "this run takes" in capsys.readouterr().out


def test_a_stop_of_many_processes_goes_on_after_the_last_epoch(tiny, world, capsys, tmp_path):
    shown = Display(tiny(), 6, type(world)(0, 2, world.device), tmp_path / "status")
    shown.start("float32", "")
    shown.stopped()
    assert "goes on after the last epoch" in capsys.readouterr().out


@pytest.mark.parametrize(("run", "words"), [("train", ""), ("deeper", " under the name deeper")])
def test_a_stopped_run_says_what_goes_on_with_it(tiny, world, capsys, tmp_path, run, words):
    shown = Display(tiny(), 6, world, tmp_path / f"{run}.json")
    shown.start("float32", "")
    shown.stopped()
    assert f"Stopped; the same command{words} goes on from here.\n" in capsys.readouterr().out
