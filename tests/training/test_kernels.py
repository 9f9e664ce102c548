import pytest
import torch
from torch import nn

from coatnet.training.kernels import autocast_dtype, configure_kernels, parallel_and_compiled


@pytest.mark.parametrize(
    ("precision", "device", "instructions", "dtype"),
    [
        ("auto", "cpu", {}, torch.float32),
        ("auto", "cpu", {"amx_bf16": False, "avx512_bf16": False}, torch.float32),
        ("auto", "cpu", {"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ("auto", "cpu", {"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ("auto", "cuda", {}, torch.bfloat16),
        ("auto", "mps", {"amx_bf16": True}, torch.float32),
        ("bf16", "cpu", {}, torch.bfloat16),
        ("float32", "cpu", {"amx_bf16": True}, torch.float32),
        ("float32", "cuda", {}, torch.float32),
    ],
)
def test_auto_is_what_the_device_multiplies_fastest(tiny, monkeypatch, precision, device, instructions, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert autocast_dtype(tiny(train__precision=precision).train, torch.device(device)) == dtype


@pytest.mark.parametrize(("asked", "compiled"), [(True, True), (False, False), ("auto", False)])
def test_a_cpu_compiles_where_asked_for(tiny, world, monkeypatch, asked, compiled):
    monkeypatch.setattr(torch, "compile", lambda model, **_: "compiled")
    model = nn.Linear(1, 1)
    forward = "compiled" if compiled else model
    assert parallel_and_compiled(model, tiny(train__compile=asked).train, world) == (model, forward)


@pytest.mark.parametrize("deterministic", [True, False])
def test_only_deterministic_kernels_where_asked_for(monkeypatch, deterministic):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it would be set for good
    try:
        configure_kernels(deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.benchmark != deterministic
    finally:
        configure_kernels(False)
