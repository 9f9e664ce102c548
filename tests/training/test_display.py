import re
import time

import pytest

from coatnet import load_params
from coatnet.training import display
from coatnet.training.display import Display
from stages.presets import read_overrides, read_preset

SLOW = 1.0  # images/s


@pytest.mark.parametrize("preset", [None, "laptop", "flagship", "seed-published"])
def test_what_to_type_instead_of_days_is_accepted(preset, world):
    overrides = read_preset(preset) if preset else {}
    advice = Display(load_params(overrides=overrides), 781, world).days_advice(SLOW)
    params = load_params(overrides=overrides | read_overrides(re.findall(r"-S (\S+)", advice)))
    assert (params.model.image_size, params.train.epochs) == (32, 1)


def test_a_first_step_of_minutes_does_not_keep_it_waiting(tiny, world, monkeypatch, capsys):
    monkeypatch.setattr(display, "SLOW_START", 0.01)
    params = tiny(train__epochs=10**6)
    shown = Display(params, 781, world)
    shown.start("")
    time.sleep(0.2)
    shown.close()
    assert "this run takes" in capsys.readouterr().out


def test_a_stop_of_many_processes_goes_on_after_the_last_epoch(tiny, world, capsys):
    shown = Display(tiny(), 6, type(world)(0, 2, world.device))
    shown.start("")
    shown.stopped()
    assert "goes on after the last epoch" in capsys.readouterr().out
