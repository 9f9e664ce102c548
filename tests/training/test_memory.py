import subprocess
import sys

import pytest

from coatnet.errors import UserError
from coatnet.machine import memory
from coatnet.training.engine import Trainer
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate",
        "MPS backend out of memory (MPS allocated: 1 GB)",
    ],
)
def test_too_little_memory_as_each_system_says_it(words):
    assert memory.is_out_of_memory(RuntimeError(words))
    assert not memory.is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


FAULTS = """
import resource, torch
from coatnet.machine.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(64 * 2**20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it changes glibc's malloc")
def test_kept_memory_is_not_asked_for_again():
    before, after = map(int, subprocess.check_output([sys.executable, "-c", FAULTS], cwd=ROOT).split())
    assert after < before / 100


def test_memory_is_kept_where_twice_the_need_is_free(tiny, shards, world, tmp_path, monkeypatch):
    trainer, kept = Trainer(tiny(), shards, world, tmp_path / "progress"), []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: kept.append(free))
    refused = []
    for free in (2**k for k in range(16, 40)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        try:
            memory.check_batch(trainer.model, trainer.params, world, trainer.display.days_advice)
        except UserError:
            refused.append(free)
    # The need lies between the last that is too little and its double, so twice the need lies a step above.
    assert refused and kept[0] == 4 * refused[-1]


@pytest.mark.parametrize(("limit", "free"), [("max", 8000), ("1000", 600), ("100000", 8000)])
def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch, limit, free):
    for name, text in {"max": limit, "current": "700", "stat": "inactive_file 200\nactive_file 100\nanon 5"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: type("", (), {"available": 8000}))
    assert memory.free_memory() == free
