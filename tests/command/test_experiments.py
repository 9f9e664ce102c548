import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# In DVC's place: what Ctrl-C ends in order, and later than `subprocess.run` waits.
DVC = """
import signal, sys, time
from pathlib import Path
def end(*_):
    time.sleep(1)
    Path("ended").write_text(" ".join(sys.argv[1:3]))
    sys.exit(1)
signal.signal(signal.SIGINT, end)
Path("began").touch()
time.sleep(60)
"""
STUDY = "from coatnet.command.study import Run, execute; execute(Run('one', 1, {}, 'one-s1'))"
WAYS = {"preset": ["-m", "coatnet", "preset", "smoke", "--run"], "study": ["-c", STUDY]}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a console, which tests have none of")
@pytest.mark.parametrize("way", WAYS)
def test_after_ctrl_c_dvc_ends_in_order(way, tmp_path):
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc" / "__init__.py").touch()
    (tmp_path / "dvc" / "__main__.py").write_text(DVC)
    (tmp_path / "presets.yaml").write_text((ROOT / "presets.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    started = subprocess.Popen(
        [sys.executable, *WAYS[way]], cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.PIPE
    )
    with started as process:
        while not (tmp_path / "began").exists():
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all that run in it
        process.wait()
        assert (tmp_path / "ended").read_text() == "exp run"
        assert way == "study" or process.returncode == 130, process.stderr.read()
