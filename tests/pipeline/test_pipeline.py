"""The real DVC on the real dvc.yaml."""

import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from .conftest import ENVIRONMENT

pytestmark = pytest.mark.slow
ALL = ["download", "preprocess", "train", "evaluate", "plot"]


def test_the_first_run_leaves_every_out(repository):
    reports = repository.folder / "reports"
    metrics = json.loads((reports / "metrics.json").read_text())
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


def test_an_experiment_runs_what_it_touches(repository):
    assert repository.stages_run("exp", "run", "-S", "model.blocks=[1,1,3,1]") == ALL[2:]
    assert repository.stages_run("repro") == []


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ("seed=1", ALL[2:]),
        ("data.holdout=0.25", ALL[2:]),
        ("augment.flip=0.1", ALL[2:]),
        ("train.lr=1e-3", ALL[2:]),
        ("evaluate.flip=true", ALL[3:]),
        ("plot.dpi=60", ALL[4:]),
        ("data.synthetic.seed=1", ALL),
        ("data.urls=[http://127.0.0.1/elsewhere.zip]", []),
    ],
)
def test_a_parameter_reruns_its_stages(repository, change, stages):
    assert repository.stages_run("exp", "run", "-S", change) == stages


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("coatnet/reporting/figures.py", ALL[4:]),
        ("coatnet/reporting/metrics.py", ALL[3:]),
        ("stages/evaluate.py", ALL[3:4]),
        ("coatnet/models/attention.py", ALL[2:4]),
        ("stages/train.py", ALL[2:3]),
        ("README.md", []),
        ("params.yaml", []),
    ],
)
def test_code_reruns_the_stages_that_use_it(repository, file, stages):
    """A comment alone: the outs stay the same, so DVC stops where it sees that."""
    with open(repository.folder / file, "a") as opened:
        opened.write("# a comment\n")
    ran = repository.stages_run("repro")
    # What runs again gives the same bits, so nothing behind it runs; train's report of its speed goes nowhere.
    assert ran == stages


def test_going_back_restores_the_model_without_training(repository):
    model = repository.folder / "models" / "model.safetensors"
    first = model.read_bytes()
    repository.stages_run("exp", "run", "-S", "train.lr=1e-3")
    assert model.read_bytes() != first
    repository.run("git", "checkout", "--quiet", "params.yaml")
    assert repository.stages_run("repro") == []
    assert model.read_bytes() == first


def test_metrics_and_plots_of_two_runs_can_be_compared(repository):
    repository.dvc("exp", "run", "-S", "train.lr=1e-2")
    rows = json.loads(repository.dvc("metrics", "diff", "--json").stdout)
    assert {"old", "new", "diff"} <= rows["reports/metrics.json"]["loss"].keys()
    page = repository.folder / "dvc_plots" / "index.html"
    repository.dvc("plots", "diff", "HEAD")
    text = page.read_text()
    for expected in ("train_loss", "eval_top1", "accuracy.png"):
        assert expected in text


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
