"""Shared by all tests: a workspace, parameters made small, real images or the like, devices, one thread."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from coatnet import load_params
from coatnet.data import write_synthetic
from coatnet.params import SyntheticParams

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "tests" / "params.yaml"
REAL_CUT = ROOT.parent / "shared" / "data" / "tiny-imagenet-20.zip"
TINY = {
    "data.source": "synthetic",
    "data.synthetic.classes": 4,
    "data.synthetic.train_per_class": 24,
    "data.synthetic.test_per_class": 6,
    "model.image_size": 32,
    "model.stem_width": 8,
    "model.dims": [8, 8, 16, 16],
    "model.table.heads": 4,
    "model.paper.head_dim": 8,
    "train.epochs": 2,
    "train.batch_size": 16,
}
# As a user has it in a terminal: no Git hook or DVC stage around, and Ctrl-C works. What a shell script starts in the
# background ignores SIGINT, and so does what that starts.
for _name in list(os.environ):
    if _name.startswith(("GIT_", "DVC_")) and _name != "GIT_SSL_CAINFO":
        del os.environ[_name]
signal.signal(signal.SIGINT, signal.default_int_handler)
# Small tensors are quicker on one thread, and sums come out in one order; `make test` runs a process on each core.
torch.set_num_threads(1)
# Of the processes that tests start, also in other folders; what forks them (forks.py) finds the tests' modules by it.
os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
# For repositories of the tests' own.
GIT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


@pytest.fixture(scope="session", autouse=True)
def _in_a_workspace(tmp_path_factory):
    """A fresh clone with the tests' own parameters; those in the user's workspace may be an experiment's."""
    folder = tmp_path_factory.mktemp("workspace")
    for file in (PARAMS, ROOT / "presets.yaml", ROOT / "study.yaml"):
        shutil.copy(file, folder)
    for command in ("init --quiet", "add .", "commit --quiet --message workspace"):
        subprocess.run(["git", *command.split()], cwd=folder, env=GIT, check=True)
    with contextlib.chdir(folder):
        yield


@pytest.fixture(scope="session")
def tiny():
    """`tiny(**overrides)`, dots written as `__`: parameters at a size for tests."""

    def make(**overrides):
        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        return load_params(PARAMS, {**TINY, **dotted})

    return make


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """20 classes, 100 training and 50 val images each, some grey: a cut of Tiny ImageNet, or drawn in its place."""
    if REAL_CUT.exists():
        return REAL_CUT
    folder = tmp_path_factory.mktemp("photos")
    params = SyntheticParams(seed=0, classes=20, train_per_class=100, test_per_class=50)
    write_synthetic(params, folder / "colour.zip")
    with zipfile.ZipFile(folder / "colour.zip") as colour, zipfile.ZipFile(folder / "photos.zip", "w") as photos:
        for number, name in enumerate(colour.namelist()):
            content = colour.read(name)
            if name.endswith(".JPEG") and number % 50 == 0:
                grey = io.BytesIO()
                Image.open(io.BytesIO(content)).convert("L").save(grey, "JPEG")
                content = grey.getvalue()
            photos.writestr(f"tiny-imagenet-200/{name}", content)
    return folder / "photos.zip"


@pytest.fixture
def real_cut() -> Path:
    """A cut of Tiny ImageNet, for what holds of its bytes alone."""
    if not REAL_CUT.exists():
        pytest.skip(f"knows the digests of {REAL_CUT.name}, which only the developers' machines have")
    return REAL_CUT


def of_all_processes(tmp_path_factory) -> Path:
    """The folder of this run of the tests that all of pytest-xdist's processes share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def _devices():
    """The CPU, and the accelerator where there is one."""
    yield "cpu"
    if found := torch.accelerator.current_accelerator(check_available=True):
        yield pytest.param(found.type, marks=pytest.mark.gpu if found.type == "cuda" else ())


@pytest.fixture(params=_devices())
def device(request) -> torch.device:
    return torch.device(request.param)


def _left_out() -> dict[str, str]:
    """The marks of tests that this machine cannot run, and what it lacks."""
    lacks = {"gpu": not torch.cuda.is_available() and "CUDA device", "browser": not CHROMIUM and "Chromium or Chrome"}
    return {mark: lack for mark, lack in lacks.items() if lack}


def pytest_report_header():
    return [f"no {lack}: tests marked {mark} are left out" for mark, lack in _left_out().items()]


def pytest_collection_modifyitems(config, items):
    marks = _left_out().keys()
    left_out = {item for item in items if marks & item.keywords.keys()}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]
    # The long ones first, so that all processes end together; a module's in turn with other modules', so that not all
    # processes wait for what one of them makes.
    seen: Counter[str] = Counter()
    turns = {item: seen.update([str(item.path)]) or seen[str(item.path)] for item in items}
    last = len(items)  # while it is sorted the list is empty
    items.sort(key=lambda item: turns[item] if "slow" in item.keywords else last)
