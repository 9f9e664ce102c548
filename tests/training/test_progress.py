import shutil

import pytest

from coatnet.training import progress
from coatnet.training.progress import fingerprint
from tests.conftest import ROOT


def test_the_fingerprint_is_of_the_data(tiny):
    assert fingerprint(tiny(), "data") == fingerprint(tiny(), "data") != fingerprint(tiny(), "other data")


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("data/batches.py", True),
        ("models/attention.py", True),
        ("augment/mix.py", True),
        ("training/engine.py", True),
        ("reporting/figures.py", False),
    ],
)
def test_the_fingerprint_is_of_the_code(tiny, tmp_path, monkeypatch, file, counts):
    copy = shutil.copytree(ROOT / "coatnet", tmp_path / "coatnet")
    monkeypatch.setattr(progress, "__file__", str(copy / "training" / "progress.py"))
    before = fingerprint(tiny(), "data")
    with open(copy / file, "a") as opened:
        opened.write("# a comment\n")
    assert (fingerprint(tiny(), "data") != before) == counts
