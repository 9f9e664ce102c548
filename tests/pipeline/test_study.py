"""The study: one command that runs what is missing, goes on after a stop, and writes the report."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from .conftest import ENVIRONMENT

pytestmark = pytest.mark.slow
STUDY = """
seeds: [0]
runs:
  plain: {}
  deeper: {model.blocks: [1, 1, 3, 1], train.epochs: 12}
questions:
  Deeper?: [plain, deeper]
"""


def test_a_study_goes_on_after_a_stop_and_reports(repository):
    (repository.folder / "study.yaml").write_text(STUDY)
    repository.commit("a small study")
    command = [sys.executable, "-m", "stages.study"]
    # Ctrl-C in the second run's training.
    stopped = subprocess.Popen(
        command, cwd=repository.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list((repository.folder / ".progress").glob("deeper*.pt")) and stopped.poll() is None:
        time.sleep(0.01)
    os.killpg(stopped.pid, signal.SIGINT)
    printed, _ = stopped.communicate()
    assert stopped.returncode == 1
    assert "study: 1 of 2 runs are in reports/study.md" in printed

    finished = repository.run(*command).stdout
    assert "study: 1 of 2 runs are done, 1 to go" in finished
    assert "Going on after epoch " in finished
    table = pd.read_csv(repository.folder / "reports" / "study.csv")
    assert list(table.run) == ["plain", "deeper"]
    assert table.parameters[1] > table.parameters[0]
    page = (repository.folder / "reports" / "study.md").read_text()
    assert "## Deeper?" in page and "| deeper | 1 |" in page
    assert (repository.folder / "reports" / "study.png").stat().st_size > 5000
    assert "0 to go" in repository.run(*command).stdout
    # The workspace's own run is as it was.
    status = repository.run("git", "status", "--porcelain").stdout.splitlines()
    assert {line.split()[1] for line in status} == {f"reports/study.{kind}" for kind in ("csv", "md", "png")}

    # In another clone, without the experiments, the report itself says what is done.
    repository.commit("study")
    clone = repository.copy(repository.folder.with_name("clone"))
    clone.dvc("exp", "remove", "--all-commits")
    assert "2 of 2 runs are done" in clone.run(*command).stdout
