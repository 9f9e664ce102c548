import pytest
import torch

from coatnet.training.kernels import autocast_dtype


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
