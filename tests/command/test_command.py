"""Standard streams, which are one for all commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHELL = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
COMMANDS = ["summary", "preset smoke", "preset"]


def shell(command: str) -> subprocess.CompletedProcess:
    """`coatnet` in it is this one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = command.replace("coatnet", f"{sys.executable} -m coatnet")
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)


@SHELL
@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_reads_on(command):
    done = shell(f"(sleep 0.2; coatnet {command}; echo $? >&2) | true")
    assert done.stderr == "1\n"


@SHELL
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_sentence(command):
    done = shell(f"coatnet {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: no space is left to write the output: free some and run again\n"
