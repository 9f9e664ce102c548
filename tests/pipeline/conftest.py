"""A repository of its own for each test, with the pipeline already run once on a tiny synthetic data set."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from coatnet import load_params
from tests.conftest import ROOT, TINY

ENVIRONMENT = {
    # As a user has it: Python may write its caches beside the code.
    **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


class Repository:
    """A clone to run commands in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=self.folder, env={**ENVIRONMENT, **environment}, capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        return self.run("dvc", *arguments, **options)

    def stages_run(self, *arguments: str) -> list[str]:
        """The stages that `dvc ARGUMENTS` really ran, in order."""
        lines = self.dvc(*arguments).stdout.splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage ")]

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def report(self, name: str) -> dict:
        """A report's values, by name."""
        return json.loads((self.folder / "reports" / f"{name}.json").read_text())

    def copy(self, folder: Path) -> "Repository":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory) -> Repository:
    """A repository after its first `dvc repro`; not to be changed."""
    folder = tmp_path_factory.mktemp("reproduced") / "repository"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for file in files:
        if (ROOT / file).exists() and not file.startswith(("dvc.lock", "reports/")):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
    params = load_params(ROOT / "params.yaml", TINY).model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    repository = Repository(folder)
    repository.run("git", "init", "--quiet")
    repository.commit("code")
    repository.dvc("repro")
    repository.commit("first run")
    return repository


@pytest.fixture
def repository(reproduced, tmp_path) -> Repository:
    return reproduced.copy(tmp_path / "repository")
