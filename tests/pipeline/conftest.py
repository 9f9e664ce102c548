"""A repository of its own for each test, with the pipeline already run once on a tiny synthetic data set."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from coatnet import load_params
from tests import forks
from tests.conftest import GIT, PARAMS, ROOT, TINY, of_all_processes

ALL = ["download", "preprocess", "train", "evaluate", "plot"]
GOING_ON = re.compile(r"Going on after (step \d+ of )?epoch \d")
ENVIRONMENT = {
    # Python may write its caches beside the code, as a user's does.
    **{key: value for key, value in GIT.items() if key != "PYTHONDONTWRITEBYTECODE"},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def _successful(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    if done.returncode:
        raise AssertionError(f"{' '.join(done.args)} failed:\n{done.stdout}\n{done.stderr}")
    return done


class Repository:
    """A clone to run commands in."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=self.folder, env={**ENVIRONMENT, **environment}, capture_output=True, text=True
        )
        return _successful(done) if check else done

    def kill_when(self, ready: Callable[[], object], number: int, *command: str) -> subprocess.CompletedProcess:
        """Runs `command` and sends all its processes the signal `number` as soon as `ready()`."""
        if sys.platform == "win32":
            pytest.skip("Windows cannot send a signal to a group of processes")
        with tempfile.TemporaryFile("w+") as said:
            child = subprocess.Popen(command, cwd=self.folder, env=ENVIRONMENT, stdout=said, start_new_session=True)
            try:
                deadline = time.monotonic() + 120
                while not ready():
                    assert child.poll() is None, f"{' '.join(command)} ended before it was killed"
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                os.killpg(child.pid, number)
                code = child.wait(60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            said.seek(0)
            return subprocess.CompletedProcess(command, code, said.read())

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        if sys.platform != "linux":
            return self.run("dvc", *arguments, check=check)
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder)
            child = forks.fork.Process(target=forks.dvc, args=(arguments, self.folder, ENVIRONMENT, said))
            child.start()
            child.join()
            texts = [(said / name).read_text() for name in ("stdout", "stderr")]
        done = subprocess.CompletedProcess(("dvc", *arguments), child.exitcode, *texts)
        return _successful(done) if check else done

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
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Repository]:
    """`once(name, make)`: the repository that `make(folder)` makes; of pytest-xdist's processes the first one calls it.

    It is not to be changed.
    """
    folder = of_all_processes(tmp_path_factory)

    def repository(name: str, make: Callable[[Path], object]) -> Repository:
        with FileLock(folder / f"{name}.lock"):
            if not (folder / name).exists():
                unfinished = tmp_path_factory.mktemp(name) / "repository"
                make(unfinished)
                unfinished.rename(folder / name)
        return Repository(folder / name)

    return repository


@pytest.fixture(scope="session")
def reproduced(once) -> Repository:
    """A repository after its first `dvc repro`."""
    return once("reproduced", _reproduce)


def _reproduce(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip(f"this is no clone: {listed.stderr.strip()}")
    for file in listed.stdout.splitlines():
        if (ROOT / file).is_file() and not file.startswith(("dvc.lock", "reports/")):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
    values = TINY | {"plot.dpi": 30, "plot.images": 8}
    params = load_params(PARAMS, values).model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    repository = Repository(folder)
    repository.run("git", "init", "--quiet")
    repository.commit("code")
    repository.dvc("pull", "--recursive", "released")  # as `make setup` does
    assert repository.stages_run("repro") == ALL
    repository.commit("first run")


@pytest.fixture
def repository(reproduced, tmp_path) -> Repository:
    return reproduced.copy(tmp_path / "repository")
