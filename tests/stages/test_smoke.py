import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from coatnet import UserError, load_params
from coatnet.command.presets import read_preset
from stages import smoke
from tests.conftest import PARAMS, ROOT


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """What the smoke run takes from the repository, and what a former one left."""
    for folder in (Path("coatnet"), Path("stages"), smoke.WORK / smoke.REPORTS):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "module.py").write_text(str(folder))
    for file in (ROOT / "dvc.yaml", ROOT / "scratch", ROOT / "presets.yaml", PARAMS):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(workspace, monkeypatch):
    """`run(top1, fails)`: the smoke run with a DVC that only writes this accuracy; returns its commands."""

    def run(top1: float, fails: str | None = None) -> list[str]:
        commands = []

        def dvc(command, cwd, check):
            commands.append(command[3])
            (cwd / "reports").mkdir(exist_ok=True)
            (cwd / "reports" / "metrics.json").write_text(json.dumps({"top1": top1}))
            return subprocess.CompletedProcess(command, int(command[3] == fails))

        monkeypatch.setattr(smoke, "subprocess", SimpleNamespace(run=dvc))
        smoke.main(load_params())
        return commands

    return run


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def outside(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if not Path(name).is_relative_to(smoke.WORK)}


def test_below_three_times_chance_it_fails(run, capsys):
    with pytest.raises(UserError, match=r"top-1 is 29\.00%, not 3 times chance \(10\.00%\)"):
        run(29.0)
    assert run(31.0) == ["init", "config", "repro"]
    assert "3.1 times chance" in capsys.readouterr().out


def test_where_dvc_fails_it_ends(run):
    with pytest.raises(UserError, match=r"failed in `dvc init --quiet --no-scm`; its files are in smoke/work"):
        run(31.0, fails="init")


def test_all_it_writes_is_in_a_fresh_folder(run, workspace):
    before = contents(workspace)
    run(31.0)
    after = contents(workspace)
    assert outside(after) == outside(before)
    copied = {"coatnet/module.py", "stages/module.py", "dvc.yaml", "scratch"}
    work = contents(smoke.WORK)
    assert work.keys() == copied | {"params.yaml", "reports/metrics.json"}
    assert all(work[name] == before[name] for name in copied)
    assert load_params(smoke.WORK / "params.yaml") == load_params(overrides=read_preset("smoke"))
