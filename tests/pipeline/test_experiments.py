"""Experiments: queued, swept, in a workspace of their own, shown, compared, applied, made a branch."""

import csv
import io
import json
import re
import signal
import time
from pathlib import Path

import pytest

from stages import evaluate, run, train

from .conftest import GOING_ON, Repository

pytestmark = pytest.mark.slow
# As in README.md: accuracy, size, speed and time.
COLUMNS = "^(Experiment|top1|top5|gap|parameters|images_per_second|minutes)$"


@pytest.fixture(scope="session")
def swept(once, reproduced) -> Repository:
    """After a queue of three experiments, two of them from one sweep."""
    return once("swept", lambda folder: _sweep(reproduced.copy(folder)))


def _sweep(repository: Repository) -> None:
    queued = repository.dvc("exp", "run", "--queue", "-S", "model.layout=CCTT,CCCT").stdout
    assert queued.count("Queueing experiment") + queued.count("Queued experiment") >= 2
    repository.dvc("exp", "run", "--queue", "--name", "mirrored", "-S", "evaluate.flip=true")
    repository.dvc("queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 250
    try:
        # `dvc queue status` asks the workers and takes ten seconds, so it comes last.
        while len(re.findall("refs/exps/../.{38}/", repository.run("git", "for-each-ref").stdout)) < 3:
            assert time.monotonic() < deadline, repository.dvc("queue", "status").stdout
            time.sleep(0.2)
        while (status := repository.dvc("queue", "status").stdout).count("Success") < 3:
            assert time.monotonic() < deadline, status
    finally:
        repository.dvc("queue", "stop")


@pytest.fixture
def experiments(swept, tmp_path) -> Repository:
    return swept.copy(tmp_path / "repository")


def named(repository: Repository, **wanted: str) -> str:
    """The name of the experiment with these parameters."""
    rows = csv.DictReader(io.StringIO(repository.dvc("exp", "show", "--csv").stdout))
    found = [
        row["Experiment"]
        for row in rows
        if row["Experiment"] and all(row[name.replace("__", ".")] == value for name, value in wanted.items())
    ]
    assert len(found) == 1, found
    return found[0]


def test_the_table_of_experiments_is_readable(experiments):
    shown = experiments.dvc("exp", "show", "--csv", "--drop", ".*", "--keep", COLUMNS).stdout
    rows = list(csv.reader(io.StringIO(shown)))
    assert set(rows[0]) >= {"Experiment", "parameters", "images_per_second", "minutes", "top1", "top5", "gap"}
    assert len(rows[0]) <= 11
    assert len(rows) == 1 + 5  # the workspace, the commit and three experiments
    assert "mirrored" in shown


# The other tests of these experiments come last: meanwhile a second process of pytest-xdist has other things to do.
def test_equal_runs_differ_in_their_speed_alone(repository, monkeypatch):
    monkeypatch.chdir(repository.folder)
    for name in ("models/model.safetensors", "reports/history.csv", "reports/train.json", "reports/metrics.json"):
        Path(name).unlink()
    for stage in (train, evaluate):
        run(stage.main)
    found = json.loads(repository.dvc("metrics", "diff", "--json").stdout)
    assert "reports/metrics.json" not in found
    assert {name for file in found.values() for name in file} <= {"images_per_second", "minutes", "startup_seconds"}


def test_a_killed_run_in_a_workspace_of_its_own_goes_on(repository):
    command = ["dvc", "exp", "run", "--temp", "--name", "killed", "train", "-S", "train.epochs=12"]
    progress = repository.folder / ".progress" / "killed.pt"
    repository.kill_when(progress.exists, signal.SIGKILL, *command)
    assert progress.exists()
    assert GOING_ON.search(repository.run(*command).stdout)
    assert not progress.exists()
    assert repository.run("git", "status", "--porcelain").stdout == ""  # the user's workspace is as it was


def test_a_preset_goes_through_the_shell_and_what_follows_comes_over_it(repository):
    repository.run(
        "sh", "-c", "dvc exp run --queue --name preset $(python -m coatnet preset flagship) -S train.epochs=7 -S seed=3"
    )
    found = repository.dvc("exp", "show", "--csv").stdout
    row = next(row for row in csv.DictReader(io.StringIO(found)) if row["Experiment"] == "preset")
    assert (row["model.blocks"], row["train.epochs"], row["seed"]) == ("[2, 2, 5, 1]", "7", "3")
    failed = repository.run("sh", "-c", "dvc exp run $(python -m coatnet preset flagshp)", check=False)
    assert failed.returncode and "did you mean flagship?" in failed.stderr
    assert "Running stage" not in failed.stdout


def test_an_experiment_differs_from_its_commit_where_it_should(experiments):
    other = named(experiments, model__layout="CCCT")
    params = experiments.dvc("params", "diff", "HEAD", other, "--md").stdout
    assert "| params.yaml | model.layout | CCTT   | CCCT" in params
    compared = experiments.dvc("exp", "diff", "HEAD", other, "--md").stdout
    assert "| model.layout |" in compared and "| parameters " in compared
    assert "| parameters " in experiments.dvc("metrics", "diff", "HEAD", other, "--md").stdout


def test_plots_lie_over_each_other(experiments):
    other = named(experiments, model__layout="CCCT")
    experiments.dvc("plots", "diff", "HEAD", other)
    text = (experiments.folder / "dvc_plots" / "index.html").read_text()
    assert f'"domain": ["HEAD", "{other}"]' in text
    for curve in ("train_loss", "eval_loss", "train_top1", "eval_top1"):
        assert all(f'"rev": "{run}", "field": "{curve}"' in text for run in ("HEAD", other))
    # Each actual class's row adds up to 1.
    assert '"groupby": ["actual"]' in text[text.index("Confusion, share of the actual class") :]
    assert all(f'"text": "{title}"' in text for title in ("Accuracy of each class", "Gap", "Calibration"))
    assert text.count("vegaEmbed(") == 7  # no file is drawn twice, and no CSV of a figure that is no curve
    assert f"static/{other}_reports_figures_accuracy.png" in text
    assert experiments.run("git", "status", "--porcelain").stdout == ""


def test_an_experiment_is_applied_and_made_a_branch(experiments):
    other = named(experiments, model__layout="CCCT")
    before = experiments.report("train")["parameters"]
    experiments.dvc("exp", "apply", other)
    assert experiments.report("train")["parameters"] != before
    assert experiments.stages_run("repro") == []
    experiments.run("git", "stash", "--quiet")
    experiments.dvc("exp", "branch", other, "deeper")
    experiments.run("git", "checkout", "--quiet", "deeper")
    experiments.dvc("checkout")
    assert "up to date" in experiments.dvc("status").stdout
