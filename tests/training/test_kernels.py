import pytest
import torch

from coatnet.training.kernels import autocast_dtype


@pytest.mark.parametrize(
    ("precision", "device", "amx", "dtype"),
    [
        ("auto", "cpu", False, torch.float32),
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cuda", False, torch.bfloat16),
        ("auto", "mps", True, torch.float32),
        ("bf16", "cpu", False, torch.bfloat16),
        ("float32", "cpu", True, torch.float32),
        ("float32", "cuda", False, torch.float32),
    ],
)
def test_auto_is_what_the_device_multiplies_fastest(tiny, monkeypatch, precision, device, amx, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx} if amx else {})
    assert autocast_dtype(tiny(train__precision=precision).train, torch.device(device)) == dtype
