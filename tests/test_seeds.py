import subprocess
import sys

import pytest
import torch

from coatnet.augment.random import draw
from coatnet.seeds import derive_seed
from tests.conftest import ROOT

SEED = derive_seed("test", 0, 1, 2)


def test_another_process_derives_the_same_seed():
    code = "from coatnet.seeds import derive_seed; print(derive_seed('test', 0, 1, 2))"
    assert int(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT)) == SEED


OTHERS = [
    ("other", 0, 1, 2),
    ("test", 1, 1, 2),
    ("test", 0, 2, 2),
    ("test", 0, 1, 3),
    ("test", 0, 12, 0),
    ("test", 0, 1),
]


@pytest.mark.parametrize("words", OTHERS)
def test_every_word_changes_every_draw_and_the_bits_that_torch_keeps(words):
    other = derive_seed(*words)
    streams = torch.arange(1000)
    assert (draw(SEED, streams, 10) == draw(other, streams, 10)).float().mean() < 1e-3
    assert other % 2**32 != SEED % 2**32
