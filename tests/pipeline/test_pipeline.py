"""The real DVC on the real dvc.yaml."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from .conftest import ENVIRONMENT

pytestmark = pytest.mark.slow


def test_the_first_run_leaves_every_out(repository):
    reports = repository.folder / "reports"
    metrics = repository.report("metrics")
    assert metrics["top1_low"] <= metrics["top1"] <= metrics["top1_high"]
    assert metrics["gap"] == pytest.approx(metrics["train_top1"] - metrics["top1"], abs=0.01)
    assert (metrics["images"], metrics["split"]) == (24, "test")
    answers = pd.read_csv(reports / "predictions.csv")
    assert 100 * (answers.actual == answers.predicted).mean() == pytest.approx(metrics["top1"], abs=0.01)
    assert list(pd.read_csv(reports / "history.csv").epoch) == [1, 2]
    for name in ("loss", "accuracy", "confusion", "classes", "augmented"):
        assert (reports / "figures" / f"{name}.png").stat().st_size > 5000
    assert {"metrics.json", "train.json", "data.json"} <= {path.name for path in reports.iterdir()}
    assert (repository.folder / "models" / "model.safetensors").exists()


def test_with_nothing_to_do_nothing_is_done(repository):
    assert "up to date" in repository.dvc("status").stdout
    assert repository.stages_run("repro") == []
    assert repository.run("git", "status", "--porcelain").stdout == ""

    def seconds(*arguments: str) -> float:
        start = time.monotonic()
        repository.dvc(*arguments)
        return time.monotonic() - start

    # The least of three, since the machine does other things too.
    assert min(seconds("repro") for _ in range(3)) < min(seconds("status") for _ in range(3)) + 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_training_goes_on_and_ends_with_the_same_model(repository, number):
    model = repository.folder / "models" / "model.safetensors"
    history = repository.folder / "reports" / "history.csv"
    expected = model.read_bytes(), history.read_bytes()
    for file in (model, history):
        file.unlink()
    progress = repository.folder / ".progress" / "train.pt"
    training = subprocess.Popen(
        [sys.executable, "-m", "stages.train"], cwd=repository.folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    while not progress.exists() and training.poll() is None:
        time.sleep(0.01)
    training.send_signal(number)
    assert training.wait() != 0
    assert not model.exists()
    assert "Going on after epoch 1" in repository.run(sys.executable, "-m", "stages.train").stdout
    assert (model.read_bytes(), history.read_bytes()) == expected
    assert not progress.exists()


def test_a_wrong_parameter_stops_before_any_work(repository):
    failed = repository.dvc("exp", "run", "-S", "model.blocks=[1,1,3]", check=False)
    assert failed.returncode
    assert "error: params.yaml: model.blocks has 3 entries but model.layout=CCTT has 4 stages" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("stage", ["preprocess", "train", "evaluate"])
def test_a_stage_without_its_input_says_so_in_one_sentence(repository, stage):
    for folder in ("data", "models"):
        (repository.folder / folder).rename(repository.folder / f"{folder}-elsewhere")
    failed = repository.run(sys.executable, "-m", f"stages.{stage}", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert len(failed.stderr.splitlines()) == 1
    assert not (repository.folder / "models").exists()
