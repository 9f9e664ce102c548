"""Which arithmetic the steps run in: precision, compilation, synchronised processes."""

import os
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..machine.processes import World
from ..params import TrainParams


def configure_kernels(deterministic: bool) -> None:
    """Sets torch's switches: TF32 where a GPU computes in float32, and the quickest or only deterministic kernels."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


PRECISIONS = {torch.bfloat16: "bf16", torch.float32: "float32"}  # as `train.precision` names them


def autocast_dtype(train: TrainParams, device: torch.device) -> torch.dtype:
    """What autocast computes in; float32 leaves autocast off.

    `auto` is bf16 where instructions of their own multiply in it: on CUDA, and on CPUs with AMX or AVX512_BF16.
    """
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    fast = device.type == "cuda" or has.get("amx_bf16", False) or has.get("avx512_bf16", False)
    bf16 = train.precision == "bf16" or (train.precision == "auto" and fast)
    return torch.bfloat16 if bf16 else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Computes in `dtype` what can be; float32 leaves autocast off."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def parallel_and_compiled(model: nn.Module, train: TrainParams, world: World) -> tuple[nn.Module, Any]:
    """The model, and what to call in its place to train it: over all processes, and compiled where asked for."""
    on_cuda = world.device.type == "cuda"
    forward: Any = model
    if world.size > 1:
        if on_cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        forward = DistributedDataParallel(model, device_ids=[world.device] if on_cuda else None)
    if train.compile is True or (train.compile == "auto" and on_cuda):
        forward = torch.compile(forward, dynamic=False)
    return model, forward
