"""What runs again after a change: a parameter, a file of code, or nothing of either."""

import copy
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from .conftest import ALL

pytestmark = pytest.mark.slow

# The stages that read a parameter; the longest name that fits counts. Those whose input these change run too.
READ_BY = {
    "seed": {"train", "plot"},
    "data": {"download"},
    "data.urls": set(),
    "data.holdout": {"train", "evaluate", "plot"},
    "model": {"train"},
    "model.image_size": {"train", "plot"},
    "augment": {"train", "plot"},
    "train": {"train"},
    "train.batch_size": {"train", "plot"},
    "evaluate": {"evaluate"},
    "plot": {"plot"},
}

# What all share and no out depends on, and what is no part of the pipeline: file by file, so that a new one is noticed.
OF_NO_STAGE = """
    coatnet/__init__.py coatnet/errors.py coatnet/params.py coatnet/machine coatnet/data/__init__.py
    coatnet/reporting/__init__.py coatnet/reporting/study.py
    stages/__init__.py stages/presets.py stages/smoke.py stages/study.py stages/summary.py
"""

# The stages that a file of code belongs to; the longest path that fits counts.
CODE_OF = {
    **{file: set() for file in OF_NO_STAGE.split()},
    "coatnet/data/archive.py": {"download", "preprocess"},
    "coatnet/data/batches.py": {"train", "plot"},
    "coatnet/data/download.py": {"download"},
    "coatnet/data/shards.py": {"preprocess", "train", "evaluate", "plot"},
    "coatnet/data/synthetic.py": {"download"},
    "coatnet/models": {"train", "evaluate"},
    "coatnet/augment": {"train", "evaluate", "plot"},
    "coatnet/training": {"train"},
    "coatnet/seeds.py": {"train", "plot"},
    "coatnet/training/checkpoint.py": {"train", "evaluate"},
    "coatnet/training/evaluation.py": {"train", "evaluate"},
    "coatnet/reporting/figures.py": {"plot"},
    "coatnet/reporting/metrics.py": {"evaluate", "plot"},
    "coatnet/reporting/operations.py": {"plot"},
    **{f"stages/{stage}.py": {stage} for stage in ALL},
}


def longest(table: dict[str, set[str]], name: str, separator: str) -> set[str]:
    parts = name.split(separator)
    names = [separator.join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((table[name] for name in names if name in table), {f"{name} is not entered here"})


def changed_stages(folder: Path) -> set[str]:
    """Those whose own parameters or code differ; not those behind them."""
    found = Repo(str(folder)).status()  # stages by "path of dvc.yaml:name"
    return {stage.rpartition(":")[2] for stage in found if any("changed deps" in reason for reason in found[stage])}


def leaves(values: dict, prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_each_parameter_concerns_its_stages(repository):
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
        assert changed_stages(repository.folder) == longest(READ_BY, name, "."), name


def test_each_file_of_code_concerns_its_stages(repository):
    files = [*repository.folder.glob("coatnet/**/*.py"), *repository.folder.glob("stages/*.py")]
    assert len(files) > 30
    for file in files:
        text = file.read_bytes()
        file.write_bytes(text + b"# a comment\n")
        name = file.relative_to(repository.folder).as_posix()
        assert changed_stages(repository.folder) == longest(CODE_OF, name, "/"), name
        file.write_bytes(text)


def test_an_experiment_runs_what_it_touches_and_going_back_restores_the_model(repository):
    model = repository.folder / "models" / "model.safetensors"
    first = model.read_bytes()
    assert repository.stages_run("exp", "run", "-S", "model.blocks=[1,1,3,1]") == ALL[2:]
    assert model.read_bytes() != first
    assert repository.stages_run("repro") == []
    repository.run("git", "checkout", "--quiet", "params.yaml")
    assert repository.stages_run("repro") == []
    assert model.read_bytes() == first


@pytest.mark.parametrize(
    ("file", "stages"),
    [("coatnet/models/attention.py", ["train", "evaluate"]), ("params.yaml", []), ("README.md", [])],
)
def test_a_comment_changes_no_out_and_so_stops_there(repository, file, stages):
    with open(repository.folder / file, "a") as opened:
        opened.write("# a comment\n")
    assert repository.stages_run("repro") == stages


def test_a_run_leaves_caches_of_python_that_change_nothing(repository):
    assert list(repository.folder.glob("coatnet/models/__pycache__/*.pyc"))
    assert changed_stages(repository.folder) == set()
