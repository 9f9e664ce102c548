"""What ends a stage in one sentence, and what must not."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stages import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("empty", [torch.empty, np.empty])  # a RuntimeError, and a MemoryError
def test_a_memory_that_is_too_small_says_what_to_lower(empty):
    with pytest.raises(SystemExit, match=r"error: out of memory \(.*to allocate.*lower data.size"):
        run(lambda params: empty(10**15))


def test_ctrl_c_ends_with_the_status_of_a_shell():
    def interrupted(params):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run(interrupted)
    assert ended.value.code == 130


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_while_libraries_are_imported_ends_without_a_traceback():
    command = [sys.executable, "-X", "importtime", "-m", "stages.evaluate"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as stage:
        next(line for line in stage.stderr if " torch" in line)  # of the modules that torch begins with
        stage.send_signal(signal.SIGINT)
        assert "Traceback" not in stage.stderr.read()
    assert stage.returncode == -signal.SIGINT


def test_a_defect_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(lambda params: torch.zeros(2, 3) @ torch.zeros(2, 3))
