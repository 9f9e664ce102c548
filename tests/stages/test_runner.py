"""What ends a stage in one sentence, and what must not."""

import shutil
from pathlib import Path

import pytest
import torch

from stages import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_a_memory_that_is_too_small_says_what_to_lower():
    with pytest.raises(SystemExit, match=r"error: out of memory \(.*tried to allocate.*lower data.size"):
        run(lambda params: torch.empty(10**15))


def test_a_defect_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(lambda params: torch.zeros(2, 3) @ torch.zeros(2, 3))
