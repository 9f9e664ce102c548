"""Two processes on one machine, through torch's own launcher."""

import pytest
import torch

from coatnet import UserError
from coatnet.data import write_shards, write_synthetic
from coatnet.training.processes import launch

from . import workers

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tiny, tmp_path):
    write_synthetic(tiny().data.synthetic, tmp_path / "archive.zip")
    write_shards(tmp_path / "archive.zip", tmp_path / "shards")
    return tmp_path


def test_two_processes_train_as_one(tiny, folder):
    # Mixing takes its partner from the process's own share; all else is drawn by the place in the global batch.
    mixing = {"augment__mixup__probability": 0.0, "augment__cutmix__probability": 0.0}
    params = tiny(**mixing, train__epochs=4, train__accumulation=1, data__synthetic__test_per_class=5)
    workers_run = [launch(workers.exact, params, folder, processes=n) for n in (1, 2)]
    assert workers_run == [None, None]
    (one, history_one), (two, history_two) = (torch.load(folder / f"result-{n}") for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-10, msg=name)
    assert history_one == history_two


def test_a_killed_process_ends_all_and_the_run_goes_on(tiny, folder, capfd):
    params = tiny(train__epochs=2)
    with pytest.raises(UserError, match=r"process 1 of 2 died \(SIGKILL\), so all were stopped: run again"):
        launch(workers.dying, params, folder, processes=2)
    assert torch.load(folder / "progress")["epoch"] == 1
    (folder / "mercy").touch()
    launch(workers.dying, params, folder, processes=2)
    assert "Going on after epoch 1" in capfd.readouterr().out
    assert torch.load(folder / "progress")["epoch"] == 2


def test_what_one_process_refuses_is_said_once(tiny, folder):
    with pytest.raises(UserError, match=r"^the second process says no$"):
        launch(workers.refusing, tiny(), folder, processes=2)
