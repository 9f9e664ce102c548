"""The loop on a CUDA device, as users get it: bf16, compiled, the data resident."""

import pytest
import torch

from coatnet.training.engine import Trainer
from coatnet.training.processes import World

from .test_engine import ALL_ON, same, shards  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.fixture
def train(shards, tmp_path):  # noqa: F811
    world = World(0, 1, torch.device("cuda", 0))
    return lambda params: Trainer(params, shards, world, tmp_path / "progress").run()


def test_it_learns_compiled_and_in_bf16(tiny, train):
    params = tiny(train__epochs=12, train__lr=3e-3, augment__policy="none", augment__crop_scale=[0.6, 1.0])
    trained = train(params)
    assert trained.history[-1]["eval_top1"] >= 50  # chance is 25
    assert all(p.dtype == torch.float32 and p.is_cuda for p in trained.model.parameters())


def test_deterministic_runs_are_equal_also_when_resumed(tiny, train, tmp_path):
    on = {**ALL_ON, "train__deterministic": True, "train__compile": False}
    unbroken = train(tiny(**on))
    (tmp_path / "progress").unlink()
    step = Trainer._step

    def dies(self, epoch, number, *rest):
        if (epoch, number) == (1, 3):
            raise KeyboardInterrupt
        step(self, epoch, number, *rest)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_step", dies)
        train(tiny(**on))
    again = train(tiny(**on))
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history


def test_an_epoch_waits_for_the_device_only_to_draw_the_bar(tiny, train, monkeypatch):
    """Any other synchronisation inside the steps raises."""
    step = Trainer._step

    def strict(self, *args):
        torch.cuda.set_sync_debug_mode("error" if self.display.first is False else "default")
        try:
            step(self, *args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "_step", strict)
    train(tiny(train__compile=False, train__clip_norm=1.0, train__ema=0.9))
