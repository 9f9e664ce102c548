import shutil
from types import SimpleNamespace

import pytest

from coatnet.training import progress
from coatnet.training.progress import fingerprint
from tests.conftest import ROOT


def data(digest):
    return SimpleNamespace(digest=lambda split: f"{digest} {split}")


def test_the_fingerprint_is_of_the_data(tiny):
    assert fingerprint(tiny(), data("a")) == fingerprint(tiny(), data("a")) != fingerprint(tiny(), data("b"))


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("seeds.py", True),
        ("data/batches.py", True),
        ("data/transform.py", True),
        ("data/archive.py", False),  # its product is the data
        ("models/attention.py", True),
        ("augment/mix.py", True),
        ("training/engine.py", True),
        ("machine/display.py", False),
        ("params.py", False),
        ("reporting/figures.py", False),
    ],
)
def test_the_fingerprint_is_of_the_code(tiny, tmp_path, monkeypatch, file, counts):
    copy = shutil.copytree(ROOT / "coatnet", tmp_path / "coatnet")
    monkeypatch.setattr(progress, "__file__", str(copy / "training" / "progress.py"))
    before = fingerprint(tiny(), data("a"))
    with open(copy / file, "a") as opened:
        opened.write("# a comment\n")
    assert (fingerprint(tiny(), data("a")) != before) == counts
