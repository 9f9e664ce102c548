"""The real DVC on the real dvc.yaml."""

import signal
import sys
import time

import pandas as pd
import pytest

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
    for name in ("loss", "accuracy", "confusion", "classes", "augmented", "operations"):
        assert (reports / "figures" / f"{name}.png").stat().st_size > 3000  # empty axes have 2000
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


def test_a_killed_training_goes_on_and_ends_with_the_same_model(repository):
    train = (sys.executable, "-m", "stages.train")
    outs = [repository.folder / out for out in ("models/model.safetensors", "reports/history.csv")]
    progress = repository.folder / ".progress" / "train.pt"
    repository.edit("params.yaml", "epochs: 2\n", "epochs: 20\n")
    repository.run(*train)
    expected = [out.read_bytes() for out in outs]
    for out in outs:
        out.unlink()
    assert repository.kill_when(progress.exists, signal.SIGKILL, *train).returncode == -9
    before = progress.stat().st_mtime_ns
    again = repository.kill_when(lambda: progress.stat().st_mtime_ns > before, signal.SIGTERM, *train)
    assert again.returncode == 128 + 15
    assert "Going on after epoch " in again.stdout
    assert not any(out.exists() for out in outs)
    assert "Going on after epoch " in repository.run(*train).stdout
    assert [out.read_bytes() for out in outs] == expected
    assert not progress.exists()


def test_a_wrong_parameter_stops_before_any_work(repository):
    failed = repository.dvc("exp", "run", "-S", "model.blocks=[1,1,3]", check=False)
    assert failed.returncode
    assert "error: params.yaml: model.blocks has 3 entries but model.layout=CCTT has 4 stages" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("stage", ["preprocess", "train", "evaluate", "plot"])
def test_a_stage_without_its_input_says_so_in_one_sentence(repository, stage):
    for folder in ("data", "models"):
        (repository.folder / folder).rename(repository.folder / f"{folder}-elsewhere")
    failed = repository.run(sys.executable, "-m", f"stages.{stage}", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert len(failed.stderr.splitlines()) == 1
    assert not (repository.folder / "models").exists()
