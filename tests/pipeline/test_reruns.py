"""What runs again after a change: a parameter, a file of code, or nothing of either."""

import copy
import re
from collections.abc import Callable

import pytest
import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage

from coatnet.training.progress import DECIDING
from tests.conftest import ROOT

from .conftest import ALL

pytestmark = pytest.mark.slow


def documented() -> dict[str, set[str]]:
    """The stages that a change makes stale, by parameter or path, as docs/experiments.md tells its readers."""
    text = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    table = text[text.index("| change | makes stale |") :].partition("\n\n")[0].splitlines()[2:]
    found = {}
    for row in table:
        change, stages = row.strip("| ").split(" | ")
        stages = set() if stages == "nothing" else set(stages.split(", "))
        found |= dict.fromkeys(re.findall("`([^`]+)`", change), stages)
    return found


STALE = documented()


def longest(name: str, separator: str) -> set[str]:
    """The stages of the longest documented name that fits; a new file must be entered in the table."""
    parts = name.split(separator)
    names = [separator.join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((STALE[name] for name in names if name in STALE), {f"{name} is not in the table"})


@pytest.fixture
def changed_stages(repository) -> Callable[[], set[str]]:
    """Those whose own parameters or code differ; not those behind them. Read once: DVC's files take longest."""
    repo = Repo(str(repository.folder))
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]  # not the released models

    def changed() -> set[str]:
        with repo.lock:
            found = {stage.name: stage.status().get(stage.addressing, []) for stage in stages}
        return {name for name, reasons in found.items() if any("changed deps" in reason for reason in reasons)}

    return changed


def leaves(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_each_parameter_concerns_its_stages(repository, changed_stages):
    path = repository.folder / "params.yaml"
    original = yaml.safe_load(path.read_text())
    for name in leaves(original):
        changed = copy.deepcopy(original)
        *sections, key = name.split(".")
        section = changed
        for part in sections:
            section = section[part]
        section[key] = "another value"
        path.write_text(yaml.safe_dump(changed))
        assert changed_stages() == longest(name, "."), name


def test_each_file_of_code_concerns_its_stages(repository, changed_stages):
    files = [*repository.folder.glob("coatnet/**/*.py"), *repository.folder.glob("stages/*.py")]
    assert len(files) > 30
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text + b"# a comment\n")
        name = file.relative_to(repository.folder).as_posix()
        assert changed_stages() == longest(name, "/"), name
        file.write_bytes(text)


def test_an_experiment_runs_what_it_touches_and_going_back_restores_the_model(repository):
    model = repository.folder / "models" / "model.safetensors"
    first = model.read_bytes()
    assert repository.stages_run("exp", "run", "-S", "model.blocks=[1,1,3,1]") == ALL[2:]
    assert model.read_bytes() != first
    assert repository.stages_run("repro") == []
    repository.run("git", "checkout", "--quiet", "params.yaml")
    assert repository.stages_run("repro") == ["plot"]  # of which DVC keeps no runs: its outs are in Git
    assert model.read_bytes() == first
    assert repository.run("git", "status", "--porcelain").stdout == ""


def test_the_stamp_of_progress_is_of_the_code_that_train_depends_on():
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    code = {dep.removeprefix("coatnet/") for dep in deps if dep.startswith("coatnet/")}
    assert code == {pattern.removesuffix("/*.py") for pattern in DECIDING}


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("coatnet/models/attention.py", ["train", "evaluate", "plot"]),
        ("coatnet/data/download.py", ["download"]),
        ("coatnet/machine/display.py", []),
        ("params.yaml", []),
        ("README.md", []),
    ],
)
def test_a_comment_changes_no_out_and_so_stops_there(repository, file, stages):
    with open(repository.folder / file, "a") as opened:
        opened.write("# a comment\n")
    assert repository.stages_run("repro") == stages


def test_a_run_leaves_caches_of_python_that_change_nothing(repository, changed_stages):
    assert list(repository.folder.glob("coatnet/models/__pycache__/*.pyc"))
    assert changed_stages() == set()
