"""Shared by all tests: parameters made small, the real cut of the data where it exists."""

import contextlib
from pathlib import Path

import pytest
import torch

from coatnet import load_params

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="session", autouse=True)
def _at_the_root():
    """As users run it, also where pytest was started elsewhere."""
    with contextlib.chdir(ROOT):
        yield


@pytest.fixture(scope="session")
def tiny():
    """`tiny(**overrides)`, dots written as `__`: the repository's parameters at a size for tests."""

    def make(**overrides):
        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        return load_params(ROOT / "params.yaml", {**TINY, **dotted})

    return make


@pytest.fixture
def real_cut() -> Path:
    """A true cut of Tiny ImageNet: 20 classes, 100 training and 50 val images each."""
    if not REAL_CUT.exists():
        pytest.skip(f"{REAL_CUT.name} is not there: only the developers' machines have it")
    return REAL_CUT


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors are quicker so, and sums come out in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
