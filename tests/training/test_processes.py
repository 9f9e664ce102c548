"""Two processes on one machine, through torch's own launcher."""

import time

import psutil
import pytest
import torch

from coatnet import UserError
from coatnet.data import write_shards, write_synthetic
from coatnet.machine.processes import launch
from tests.forks import fork

from . import workers
from .test_engine import PLAIN

pytestmark = pytest.mark.slow


# Mixing takes its partner from the process's own share, and parts are drawn by their own place in it; all else is drawn
# by the place in the global batch.
@pytest.mark.parametrize(
    "options",
    [
        {"augment__mixup__probability": 0.0, "augment__cutmix__probability": 0.0},
        {**PLAIN, "train__accumulation": 2, "train__optimizer": "muon", "train__muon__head": True},
    ],
    ids=["whole", "accumulated"],
)
def test_two_processes_train_as_one(tiny, tmp_path, options):
    # 15 test images: one process has one more of them than the other.
    uneven = {"data__synthetic__classes": 3, "data__synthetic__test_per_class": 5}
    params = tiny(**options, **uneven, train__epochs=2, train__lr=3e-3)
    write_synthetic(params.data.synthetic, tmp_path / "archive.zip")
    write_shards(tmp_path / "archive.zip", tmp_path / "shards")
    for processes in (1, 2):
        workers.launch(workers.exact, params, tmp_path, processes=processes)
    (one, history_one), (two, history_two) = (torch.load(tmp_path / f"result-{n}") for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-10, msg=name)
    assert history_one == history_two


def test_a_killed_process_ends_all_and_the_run_goes_on(tiny, folder):
    params = tiny(train__epochs=2)
    with pytest.raises(UserError, match=r"process 1 of 2 died \(SIGKILL\), so all were stopped: run again"):
        launch(workers.dying, params, folder, processes=2)
    assert torch.load(folder / "progress")["epoch"] == 1
    (folder / "mercy").touch()
    workers.launch(workers.dying, params, folder, processes=2)
    assert "Going on after epoch 1" in (folder / "said").read_text()
    assert torch.load(folder / "progress")["epoch"] == 2


def test_a_terminated_launcher_ends_all(tmp_path):
    launcher = fork.Process(target=workers.launch, args=(workers.waiting, tmp_path), kwargs={"processes": 2})
    launcher.start()
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 2:
            assert launcher.is_alive() and time.monotonic() < deadline
            time.sleep(0.05)
        launcher.terminate()
        launcher.join(60)
        assert launcher.exitcode == 128 + 15
    finally:
        launcher.kill()
    assert not [path.name for path in tmp_path.iterdir() if psutil.pid_exists(int(path.name))]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"train\.processes=3 but this machine has 2 GPUs: give at most 2, or auto"):
        launch(print, processes=3)


def test_what_torchrun_started_starts_no_more(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    called = []
    launch(called.append, "here", processes=2)
    assert called == ["here"]


def test_what_one_process_refuses_is_said_once(tiny, folder):
    with pytest.raises(UserError, match=r"^the second process says no$"):
        launch(workers.refusing, tiny(), folder, processes=2)
