import re
import subprocess
import sys

import pandas as pd
import pytest

from coatnet.command import main, watch
from coatnet.machine.status import Status

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
        "folder": str(workspace), "epochs": 10, "done": 2500, "total": 10_000, "images_per_second": 870.0,
        "seconds_left": 75.0, "loss": 3.1, "top1": 21.0, "split": "holdout",
    } | values  # fmt: skip
    Status(**given).write(workspace / watch.PROGRESS / f"{name}.json")


def test_a_run_under_way(workspace, capsys):
    history(workspace, **CURVE)
    status(workspace)
    main(["watch"])  # once, since this is no terminal
    said = capsys.readouterr().out
    assert said.startswith("epoch 3/10, 25%: loss 3.100, top-1 21.0%, 870 images/s, 01:15 left\n")
    assert "holdout" in said and "the original: 95.89 training, 44.80 test" in said
    assert "\x1b" not in said
    lines = said.splitlines()
    assert len(lines) <= 23 and max(map(len, lines)) <= 80
    assert len(re.findall(r"\| .*[⠀-⣿]o", said)) == 2  # the one evaluated epoch in each figure


def test_before_the_first_epoch_there_are_words_alone(workspace, capsys):
    status(workspace, done=0, images_per_second=0.0)
    main(["watch"])
    assert capsys.readouterr().out.splitlines()[1] == "The curves begin with the end of the first epoch."


def test_an_experiment_elsewhere_by_its_name(workspace, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "reports").mkdir()
    history(elsewhere)
    status(workspace, "deeper", folder=str(elsewhere))
    main(["watch", "deeper"])
    assert re.search(r"\| *[⠁-⣿]", capsys.readouterr().out)


def test_a_killed_run_is_told_from_one_under_way(workspace, capsys):
    history(workspace)
    dead = "from pathlib import Path; from coatnet.machine.status import Status; "
    dead += "Status('.', 10, 1, 10, 1.0, 1.0, 1.0, 1.0, 'test').write(Path('.progress/train.json'))"
    subprocess.run(
        [sys.executable, "-c", dead], check=True, env={"PYTHONPATH": str(watch.Path(watch.__file__).parents[2])}
    )
    main(["watch"])
    assert capsys.readouterr().out.startswith("This run was stopped from outside; the same command goes on with it.")


def test_the_last_run_where_none_is_under_way(workspace, capsys):
    history(workspace)
    main(["watch"])
    assert capsys.readouterr().out.startswith("No run is under way here; this is the last one.")


def test_where_there_is_nothing_it_says_what_to_start(workspace):
    with pytest.raises(SystemExit, match="no run is under way here, and none has left"):
        main(["watch"])


def test_in_a_terminal_the_picture_is_drawn_again_until_the_run_ends(workspace, monkeypatch, capsys):
    history(workspace, **CURVE)
    status(workspace)
    monkeypatch.setattr(watch.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: (workspace / watch.PROGRESS / "train.json").unlink())
    main(["watch"])
    said = capsys.readouterr().out
    first, again = said.split("\x1b[J")
    assert first.startswith("epoch 3/10") and again.startswith("No run is under way here")
    up = int(re.search(r"\x1b\[(\d+)F$", first)[1])
    assert up == first.count("\n")
