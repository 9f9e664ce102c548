"""The study: one command that runs what is missing, goes on after a stop, and writes the report."""

import signal
import sys

import pandas as pd
import pytest

from .conftest import GOING_ON

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
    command = [sys.executable, "-m", "coatnet", "study"]
    progress = repository.folder / ".progress"
    # Ctrl-C in the second run's training.
    stopped = repository.kill_when(lambda: list(progress.glob("deeper*.pt")), signal.SIGINT, *command)
    assert stopped.returncode == 1
    assert "study: 1 of 2 runs are in reports/study.md" in stopped.stdout

    finished = repository.run(*command).stdout
    assert "study: 1 of 2 runs are done, 1 to go" in finished
    assert GOING_ON.search(finished)
    table = pd.read_csv(repository.folder / "reports" / "study.csv")
    assert list(table.run) == ["plain", "deeper"]
    assert table.parameters[1] > table.parameters[0]
    page = (repository.folder / "reports" / "study.md").read_text()
    assert "## Deeper?" in page and "| deeper | 1 |" in page
    assert (repository.folder / "reports" / "study.png").exists()
    # The workspace's own run is as it was.
    status = repository.run("git", "status", "--porcelain").stdout.splitlines()
    assert {line.split()[1] for line in status} == {f"reports/study.{kind}" for kind in ("csv", "md", "png")}

    # Without the experiments, as in another clone, the report itself says what is done.
    repository.dvc("exp", "remove", "--all-commits")
    assert "2 of 2 runs are done, 0 to go" in repository.run(*command).stdout
