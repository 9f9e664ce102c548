"""Whole runs in processes of their own: killed again and again, and watched for leaks."""

from collections import Counter

import pytest

from tests.forks import fork

from . import workers
from .test_engine import ALL_ON

pytestmark = pytest.mark.slow


def exit_code(function, *args, **kwargs) -> int:
    process = fork.Process(target=function, args=args, kwargs=kwargs)
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        pytest.fail(f"{function.__name__} did not end within 120 s")
    return process.exitcode


@pytest.mark.timeout(900)  # 22 runs on a machine that may be busy
def test_twenty_kills_change_nothing(tiny, folder):
    small = {"model__layout": "CT", "model__blocks": [1, 1], "model__dims": [8, 16], "model__image_size": 32}
    params = tiny(**{**ALL_ON, **small, "train__epochs": 4, "train__image_size": [[0, 16], [3, 32]]})
    assert exit_code(workers.train_alone, params, folder, "unbroken") == 0
    (folder / "progress").unlink()
    ends = Counter()
    for number, kind in enumerate(["SIGKILL", "saving", "SIGTERM", "SIGKILL"] * 5):
        chance = {"kill": kind, "seed": number, "steps": 9}  # of 6 an epoch
        code = exit_code(workers.train_alone, params, folder, f"killed-{number}", **chance)
        ends[kind, code] += 1
        if code == 0:  # this one outran its kill: all it went through is in its checkpoint
            assert (folder / f"killed-{number}").read_bytes() == (folder / "unbroken").read_bytes()
            (folder / "progress").unlink()
    assert ends["SIGKILL", -9] + ends["SIGTERM", 143] + ends["SIGTERM", -15] >= 7, ends
    assert ends["saving", -9] >= 3, ends
    assert exit_code(workers.train_alone, params, folder, "last") == 0
    assert (folder / "last").read_bytes() == (folder / "unbroken").read_bytes()
    said = (folder / "said").read_text()
    assert said.count("Going on after") >= 5
    assert "unreadable" not in said
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} <= {".progress.tmp"}


def test_memory_does_not_grow(tiny, folder):
    assert exit_code(workers.watch_memory, tiny(train__epochs=50, train__ema=0.9), folder) == 0
    kib = [int(line) for line in (folder / "memory").read_text().split()]
    assert len(kib) == 50
    assert kib[-1] - kib[9] < 16 * 1024
