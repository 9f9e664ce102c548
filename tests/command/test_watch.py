import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import plotille
import pytest

from coatnet.command import main, watch
from coatnet.machine import status as machine
from coatnet.machine.status import Status
from tests.conftest import PARAMS

HISTORY = {"epoch": [1, 2], "lr": [0.1, 0.1], "train_loss": [4.0, 3.0], "train_top1": [10.0, 20.0]}
CURVE = {"eval_loss": [None, 3.5], "eval_top1": [None, 15.0]}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    (tmp_path / "reports").mkdir()
    return tmp_path


def history(folder, **columns):
    pd.DataFrame(HISTORY | columns).to_csv(folder / watch.HISTORY, index=False)


def status(workspace, name="train", **values):
    given = {
        "folder": str(workspace), "doing": "training", "epochs": 10, "done": 2500, "total": 10_000,
        "images_per_second": 870.0, "seconds_left": 75.0, "loss": 3.1, "top1": 21.0, "split": "holdout",
        "like_original": True,
    } | values  # fmt: skip
    Status(**given).write(workspace / watch.PROGRESS / f"{name}.json")


def row(picture, numbers, figure=0):
    """What stands in one of the two figures beside a number of the vertical axis."""
    line = next(line for line in picture.splitlines() if re.match(rf" *{numbers}│", line))
    return re.split("│", line)[1 + figure]


def test_a_run_under_way(workspace, capsys):
    history(workspace, **CURVE)
    status(workspace)
    main(["watch"])  # once, since this is no terminal
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == "train: epoch 3/10, 25%, loss 3.100, top-1 21.0%, 870 images/s, 01:15 left"
    assert lines[1] == "training 20.00% (loss 3.000, epoch 2), holdout 15.00% (loss 3.500, epoch 2)"
    assert "o holdout" in lines[-1] and "the original: 95.89 training, 44.80 test" in lines[-1]
    assert "\x1b" not in said
    assert len(lines) == 23 and max(map(len, lines)) <= 80
    assert [line.count("o") for line in lines[3:-3]].count(1) == 2  # the one evaluated epoch in each figure


@pytest.mark.parametrize(("columns", "lines"), [(70, 15), (200, 60)])
def test_it_fills_the_terminal_whatever_its_size(workspace, monkeypatch, capsys, columns, lines):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    history(workspace, **CURVE)
    status(workspace, name="a-long-name-" * 9)
    main(["watch"])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == lines - 1 and columns - 5 <= max(map(len, said)) <= columns


def columns_of(line):
    return sum(watch.width_of(character) for character in re.sub(r"\x1b\[[0-9;]*m", "", line))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (60, 20), (20, 20), (80, 12), (80, 11), (80, 4), (40, 2)])
def test_nothing_wraps_or_leaves_the_screen(workspace, monkeypatch, capsys, columns, lines, trained):
    """Else each redraw would repeat some lines, since it begins as many above the cursor as were printed."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    monkeypatch.setenv("FORCE_COLOR", "1")
    if trained:
        history(workspace, **CURVE)
    status(workspace, name="実験-a-long-name-" * 9)
    main(["watch"])
    said = capsys.readouterr().out.splitlines()
    assert len(said) < lines
    assert max(map(columns_of, said)) <= columns
    assert all(line.count("\x1b") % 2 == 0 for line in said)  # each colour ends
    assert any("└" in line for line in said) == (trained and lines >= 12)


@pytest.mark.parametrize(
    "cells",
    [
        "3,0.1,nan,20,nan,15", "3,0.1,inf,20,-inf,15", "3,0.1,1e300,20,3.5,15", "3,0.1,,20,,15", "nan,0.1,4,20,3.5,15",
        "3,0.1,oops,20,3.5,15", "3,0.1", "3,0.1,4,20,3.5,15,16,17", "3,0.1,9e8,20,-9e8,15",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "1,0.1,4.0,10,,\n2,0.1,3.0,20,3.5,15\n"])
def test_values_of_no_use_are_left_out(workspace, capsys, before, cells):
    header = "epoch,lr,train_loss,train_top1,eval_loss,eval_top1"
    (workspace / watch.HISTORY).write_text(f"{header}\n{before}{cells}\n")
    status(workspace)
    main(["watch"])
    said = capsys.readouterr().out
    assert ("training 20.00%" in said) == (bool(before) or cells not in ("3,0.1", "nan,0.1,4,20,3.5,15"))
    assert "nan" not in said and "inf" not in said


def test_values_stand_where_the_axes_say(workspace, capsys):
    """Percentages from 0 to 100, losses between whole numbers, the last epoch in the last column."""
    pd.DataFrame(
        {"epoch": range(1, 11), "train_loss": 3.0, "train_top1": 100.0, "eval_loss": [None] * 9 + [4.5],
         "eval_top1": [None] * 9 + [0.0]}
    ).to_csv(workspace / watch.HISTORY)  # fmt: skip
    status(workspace, done=10_000, like_original=False)
    main(["watch"])
    said = capsys.readouterr().out
    assert set(row(said, 100)[:33]) == {"⠉"}  # the uppermost dots, from the first epoch to the last
    assert row(said, 0)[:33] == " " * 32 + "o"
    assert set(row(said, 0, 1)) == {"⣀"}  # the line of 3.0, beside 0 of the other figure
    numbers = [line.split("│")[1].split()[-1:] for line in said.splitlines() if line.count("│") == 2]
    assert ["3"] in numbers and ["5"] in numbers


def test_colours_are_of_a_terminal_alone(workspace, monkeypatch, capsys):
    history(workspace, **CURVE)
    status(workspace)
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["watch"])
    said = capsys.readouterr().out
    assert plotille.color("o", fg=watch.EVAL, mode="byte") in said
    assert f"\x1b[38;5;{watch.TRAIN}m" in said


def test_the_original_is_beside_its_own_data_alone(workspace, capsys):
    history(workspace, **CURVE)
    status(workspace, like_original=False)
    main(["watch"])
    assert "original" not in capsys.readouterr().out


def test_before_the_first_epoch_there_are_words_alone(workspace, capsys):
    status(workspace, doing="starting", done=0, images_per_second=0.0, loss=None, top1=None)
    main(["watch"])
    assert capsys.readouterr().out.splitlines() == [
        "train: epoch 1/10, 0%, starting",
        "The curves begin with the end of the first epoch.",
    ]


def test_without_an_accuracy_curve(workspace, capsys):
    history(workspace)
    status(workspace)
    main(["watch"])
    assert capsys.readouterr().out.splitlines()[1] == "training 20.00% (loss 3.000, epoch 2)"


def test_a_run_that_says_nothing_for_long(workspace, capsys):
    status(workspace, doing="evaluating", when=machine.time.time() - 130)
    main(["watch"])
    assert capsys.readouterr().out.startswith("train: epoch 3/10, 25%, evaluating, silent for 02:10, loss 3.100")


def test_an_experiment_elsewhere_by_its_name_or_as_the_latest(workspace, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "reports").mkdir()
    history(elsewhere)
    status(workspace)
    os.utime(workspace / watch.PROGRESS / "train.json", (0, 0))
    status(workspace, "deeper", folder=str(elsewhere))
    main(["watch", "deeper"])
    said = capsys.readouterr().out
    assert said.startswith("deeper: epoch 3/10") and "training 20.00%" in said
    main(["watch"])
    assert capsys.readouterr().out == said
    with pytest.raises(SystemExit, match="no run called wider is under way here; there is train, deeper"):
        main(["watch", "wider"])


def test_a_run_that_died_is_told_from_one_under_way(workspace, capsys):
    history(workspace)
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    status(workspace, process=dead.pid)
    main(["watch"])
    expected = "train: this run was stopped in epoch 3 of 10; the same command goes on with it."
    assert capsys.readouterr().out.splitlines()[0] == expected


def test_a_stopped_experiment_does_not_hide_a_later_run_and_goes_on_under_its_name(workspace, capsys, tmp_path):
    shutil.copy(PARAMS, "params.yaml")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    status(workspace, "deeper", folder=str(tmp_path / "gone"), process=dead.pid)
    main(["watch"])
    said = "deeper: this run was stopped in epoch 3 of 10; the same command under the name deeper goes on with it."
    assert capsys.readouterr().out == f"{said[:80]}\n"
    os.utime(workspace / watch.PROGRESS / "deeper.json", (0, 0))
    history(workspace)
    main(["watch"])
    assert capsys.readouterr().out.startswith("No run is under way here; this is the last one.\ntraining 20.00%")
    main(["watch", "deeper"])
    assert capsys.readouterr().out == f"{said[:80]}\n"


def test_a_later_process_of_the_same_number_is_another(workspace):
    status(workspace, process_started=1.0)
    assert not Status.read(workspace / watch.PROGRESS / "train.json").is_alive


@pytest.mark.parametrize(("seconds", "alive"), [(60, True), (3600, False)])
def test_on_another_machine_its_last_word_counts(workspace, seconds, alive):
    status(workspace, machine="another", process=0, when=machine.time.time() - seconds)
    assert Status.read(workspace / watch.PROGRESS / "train.json").is_alive == alive


def test_a_status_that_cannot_be_written_stops_nothing(workspace):
    (workspace / watch.PROGRESS).write_text("no folder")
    status(workspace)


def test_a_status_of_another_version_is_refused(workspace):
    (workspace / watch.PROGRESS).mkdir()
    (workspace / watch.PROGRESS / "train.json").write_text('{"epochs": 3}')
    with pytest.raises(SystemExit, match=r"train\.json cannot be read"):
        main(["watch"])


@pytest.mark.parametrize("source", ["tiny-imagenet", "synthetic"])
def test_the_last_run_where_none_is_under_way(workspace, capsys, source):
    text = PARAMS.read_text(encoding="utf-8")
    (workspace / "params.yaml").write_text(re.sub("source: [a-z-]+", f"source: {source}", text), encoding="utf-8")
    history(workspace)
    main(["watch"])
    said = capsys.readouterr().out
    assert said.startswith("No run is under way here; this is the last one.")
    assert ("the original" in said) == (source == "tiny-imagenet")


def test_where_there_is_nothing_it_says_what_to_start(workspace):
    with pytest.raises(SystemExit, match="no run is under way here, and none has left"):
        main(["watch"])


@pytest.mark.parametrize("name", ["train", "deeper"])
def test_in_a_terminal_the_picture_is_drawn_again_until_the_run_ends(workspace, monkeypatch, capsys, name):
    """Its folder is gone then, if it was an experiment's."""
    folder = workspace / "elsewhere"
    (folder / "reports").mkdir(parents=True)
    history(folder, **CURVE)
    status(workspace, name, folder=str(folder))

    def end(seconds):
        (workspace / watch.PROGRESS / f"{name}.json").unlink()
        (folder / watch.HISTORY).unlink()

    monkeypatch.setattr(watch.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(watch.time, "sleep", end)
    main(["watch", name])
    said = capsys.readouterr().out
    first, again = said.split("\x1b[J")
    assert first.startswith(f"{name}: epoch 3/10") and again.startswith(f"{name}: this run has ended.")
    assert "holdout 15.00%" in again
    up = int(re.search(r"\x1b\[(\d+)F$", first)[1])
    assert up == first.count("\n")


def test_ctrl_c_leaves_quietly(workspace, monkeypatch):
    status(workspace)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(watch.time, "sleep", interrupt)
    main(["watch"])
