"""The check of CI that a clone is of one run."""

import sys

from tests.conftest import ROOT


def check(repository):
    done = repository.run(sys.executable, str(ROOT / ".ci" / "consistency.py"), check=False)
    return done.returncode, done.stdout


def test_a_clone_of_one_run_is_consistent_without_its_data(repository):
    repository.run("rm", "-r", "data", "models", ".dvc/cache")
    assert check(repository) == (0, "dvc.lock, params.yaml, the code and reports/ are of one run\n")


def test_each_stale_stage_is_named_with_what_changed(repository):
    repository.edit("params.yaml", "flip: false", "flip: true")
    repository.edit("coatnet/training/optim.py", "import copy", "import copy\n")
    repository.edit("reports/metrics.json", "{", "{ ")
    code, said = check(repository)
    assert code == 1
    lines = dict(line.split(": ") for line in said.splitlines())
    assert lines.keys() == {"train", "evaluate", "plot"}
    assert lines["train"] == "coatnet/training (modified)"
    assert "evaluate (modified)" in lines["evaluate"] and "reports/metrics.json (modified)" in lines["plot"]
