"""The real DVC on the real dvc.yaml."""

import contextlib
import importlib
import os
import signal
import sys

import pandas as pd
import pytest

from stages import run
from tests.data.layout import by_folder, put

from .conftest import ALL, GOING_ON

pytestmark = pytest.mark.slow


def test_the_first_run_leaves_every_out(repository):
    reports = repository.folder / "reports"
    metrics = repository.report("metrics")
    assert metrics["top1_low"] <= metrics["top1"] <= metrics["top1_high"]
    assert (metrics["images"], metrics["split"]) == (24, "test")
    answers = pd.read_csv(reports / "predictions.csv")
    assert 100 * (answers.actual == answers.predicted).mean() == pytest.approx(metrics["top1"], abs=0.01)
    assert list(pd.read_csv(reports / "history.csv").epoch) == [1, 2]
    for name in ("loss", "accuracy", "gap", "confusion", "classes", "calibration", "augmented", "operations"):
        assert (reports / "figures" / f"{name}.png").exists()
        assert len(pd.read_csv(reports / "figures" / f"{name}.csv")), name
    assert {"metrics.json", "train.json", "data.json", "index.html"} <= {path.name for path in reports.iterdir()}
    assert (repository.folder / "models" / "model.safetensors").exists()


def test_with_nothing_to_do_nothing_is_done(repository):
    seconds = []  # of a processor, which what else the machine does adds little to
    for command in ("status", "repro"):
        before = os.times()
        said = repository.run("dvc", command).stdout
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))  # of ended children
        assert "up to date" in said and "Running stage" not in said
    assert seconds[1] < seconds[0] + 1
    assert repository.run("git", "status", "--porcelain").stdout == ""


def test_a_killed_training_goes_on_and_ends_with_the_same_model(repository):
    train = (sys.executable, "-m", "stages.train")
    outs = [repository.folder / out for out in ("models/model.safetensors", "reports/history.csv")]
    progress = repository.folder / ".progress" / "train.pt"
    repository.edit("params.yaml", "epochs: 2\n", "epochs: 10\n")
    with contextlib.chdir(repository.folder):
        run(importlib.import_module("stages.train").main)
    expected = [out.read_bytes() for out in outs]
    for out in outs:
        out.unlink()
    assert repository.kill_when(progress.exists, signal.SIGKILL, *train).returncode == -9
    before = progress.stat().st_mtime_ns
    again = repository.kill_when(lambda: progress.stat().st_mtime_ns > before, signal.SIGTERM, *train)
    assert again.returncode == 128 + 15
    assert GOING_ON.search(again.stdout)
    assert not outs[0].exists()
    assert expected[1].startswith(outs[1].read_bytes())  # the epochs so far
    assert GOING_ON.search(repository.run(*train).stdout)
    assert [out.read_bytes() for out in outs] == expected
    assert not progress.exists()


def test_a_wrong_parameter_stops_before_any_work(repository):
    failed = repository.dvc("exp", "run", "-S", "model.blocks=[1,1,3]", check=False)
    assert failed.returncode
    assert "error: params.yaml: model.blocks has 3 entries but model.layout=CCTT has 4 stages" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_own_pictures_without_test_images(repository, tmp_path):
    source = put(tmp_path / "own", by_folder(train=12, test=0))
    values = (f"data.archive={source}", "data.holdout=0.25", "data.fraction=0.9")
    assert repository.stages_run("exp", "run", *(part for value in values for part in ("-S", value))) == ALL
    assert (repository.report("metrics")["images"], repository.report("metrics")["split"]) == (6, "holdout")


@pytest.mark.parametrize("stage", ["preprocess", "train", "evaluate", "plot"])
def test_a_stage_without_its_input_says_so_in_one_sentence(repository, stage, monkeypatch):
    for folder in ("data", "models"):
        (repository.folder / folder).rename(repository.folder / f"{folder}-elsewhere")
    monkeypatch.chdir(repository.folder)
    with pytest.raises(SystemExit) as ended:
        run(importlib.import_module(f"stages.{stage}").main)
    sentence = ended.value.code  # which Python writes to stderr, and exits with 1
    assert sentence.startswith("error: ")
    assert len(sentence.splitlines()) == 1
    assert not (repository.folder / "models").exists()
