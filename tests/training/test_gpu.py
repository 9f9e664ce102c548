"""The loop on a CUDA device, as users get it: bf16, compiled, the data resident."""

import pytest
import torch

from coatnet.machine.processes import World
from coatnet.training.engine import Trainer

from .test_engine import ALL_ON, same

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.fixture(scope="module")
def tiny(tiny):
    return lambda **overrides: tiny(train__precision="auto", **overrides)


@pytest.fixture(scope="session")
def world():
    return World(0, 1, torch.device("cuda", 0))


def test_it_learns_compiled_and_in_bf16(tiny, train):
    params = tiny(train__epochs=12, train__lr=3e-3, augment__policy="none", augment__crop_scale=[0.6, 1.0])
    trained = train(params)
    assert trained.history[-1]["eval_top1"] >= 50  # chance is 25
    assert all(p.dtype == torch.float32 and p.is_cuda for p in trained.model.parameters())


def test_deterministic_runs_are_equal_also_when_resumed(tiny, unbroken_and_resumed, capsys):
    params = tiny(**ALL_ON, train__deterministic=True, train__compile=False)
    unbroken, again = unbroken_and_resumed(params, (1, 3))
    assert "Going on after epoch 1\n" in capsys.readouterr().out
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history


def test_an_epoch_waits_for_the_device_only_to_draw_the_bar(tiny, train, monkeypatch):
    """Any other synchronisation inside the steps raises."""
    step = Trainer.train_step

    def strict(self, batch):
        torch.cuda.set_sync_debug_mode("error" if self.display.first is False else "default")
        try:
            step(self, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "train_step", strict)
    train(tiny(train__compile=False, train__clip_norm=1.0, train__ema=0.9))
