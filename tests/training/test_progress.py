import itertools
import shutil
from types import SimpleNamespace

import pytest

from coatnet.training import progress
from coatnet.training.progress import fingerprint
from tests.conftest import ROOT


def data(train="a", test="a"):
    return SimpleNamespace(digest={"train": train, "test": test}.get)


def test_the_fingerprint_is_of_the_data_of_both_splits(tiny):
    assert fingerprint(tiny(), data()) == fingerprint(tiny(), data())
    assert len({fingerprint(tiny(), data(*digests)) for digests in itertools.product("ab", repeat=2)}) == 4


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("seeds.py", True),
        ("data/batches.py", True),
        ("data/shards.py", True),
        ("data/transform.py", True),
        ("data/archive.py", False),  # its product is the data
        ("models/attention.py", True),
        ("augment/mix.py", True),
        ("training/engine.py", True),
        ("machine/display.py", False),
        ("params.py", False),
        ("reporting/summary.py", False),
    ],
)
def test_the_fingerprint_is_of_the_code(tiny, tmp_path, monkeypatch, file, counts):
    copy = shutil.copytree(ROOT / "coatnet", tmp_path / "coatnet")
    monkeypatch.setattr(progress, "__file__", str(copy / "training" / "progress.py"))
    before = fingerprint(tiny(), data())
    with open(copy / file, "a") as opened:
        opened.write("# a comment\n")
    assert (fingerprint(tiny(), data()) != before) == counts
