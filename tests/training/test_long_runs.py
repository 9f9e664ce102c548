"""Whole runs in processes of their own: killed again and again, and watched for leaks."""

import multiprocessing
from collections import Counter

import pytest

from coatnet.data import write_shards, write_synthetic

from . import workers
from .test_engine import ALL_ON

pytestmark = pytest.mark.slow
# Each process is forked from one that has imported all of this already.
fork = multiprocessing.get_context("forkserver")
fork.set_forkserver_preload(["tests.training.workers"])


@pytest.fixture
def folder(tiny, tmp_path):
    write_synthetic(tiny().data.synthetic, tmp_path / "archive.zip")
    write_shards(tmp_path / "archive.zip", tmp_path / "shards")
    return tmp_path


def exit_code(function, *args) -> int:
    process = fork.Process(target=function, args=args)
    process.start()
    process.join(120)
    return process.exitcode


def test_twenty_kills_change_nothing(tiny, folder):
    params = tiny(**{**ALL_ON, "train__epochs": 12, "train__image_size": [[0, 32], [8, 64]]})
    assert exit_code(workers.train_alone, params, folder, "unbroken") == 0
    (folder / "progress").unlink()
    kinds, ends = ["SIGKILL", "saving", "SIGTERM", "SIGKILL"] * 5, Counter()
    for number, kind in enumerate(kinds):
        code = exit_code(workers.train_alone, params, folder, f"killed-{number}", kind)
        ends[code] += 1
        if code == 0:  # this one outran its kill: all it went through is in its checkpoint
            assert (folder / f"killed-{number}").read_bytes() == (folder / "unbroken").read_bytes()
            (folder / "progress").unlink()
    assert ends[-9] + ends[143] + ends[-15] >= 10, ends
    assert exit_code(workers.train_alone, params, folder, "last") == 0
    assert (folder / "last").read_bytes() == (folder / "unbroken").read_bytes()
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} <= {".progress.tmp"}


def test_memory_does_not_grow(tiny, folder):
    assert exit_code(workers.watch_memory, tiny(train__epochs=50, train__ema=0.9), folder) == 0
    kib = [int(line) for line in (folder / "memory").read_text().split()]
    assert len(kib) == 50
    assert kib[-1] - kib[9] < 16 * 1024
