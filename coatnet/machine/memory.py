"""How much memory is free, how much a training step needs, and what becomes of freed memory."""

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..params import Params, TrainParams
from .processes import World

BACKWARD = 1.4  # peak memory of a step, over what its forward pass keeps: measured with the table model on a CPU
_CGROUP = Path("/sys/fs/cgroup")  # what bounds a container; the host's memory does not


def free_memory() -> int:
    """Bytes that this process and others in its container can still take of a CPU's memory."""
    free = psutil.virtual_memory().available
    try:
        limit, used, stat = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        pages = dict(line.split() for line in stat.splitlines())
        cached = int(pages["inactive_file"]) + int(pages["active_file"])  # given up when the memory is wanted
        return min(free, int(limit) - int(used) + cached)
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free


def is_out_of_memory(error: RuntimeError) -> bool:
    # On CUDA, on MPS, on a CPU, on a CPU under Windows.
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def keep_freed_memory() -> None:
    """From now on freed memory stays with this process, for its next tensors, and may come to twice what they need.

    By default glibc asks the kernel for each block of over 32 MiB and gives it back once freed. The kernel clears each
    page anew, which took two fifths of a training step's time on a CPU.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc's alone, not musl's
            trim_threshold, mmap_max = -1, -4  # as its malloc.h numbers them
            libc.mallopt(trim_threshold, -1)  # never give the end of the heap back
            libc.mallopt(mmap_max, 0)  # no block of its own from the kernel


def bytes_an_image(model: nn.Module, image_size: int) -> float:
    """What a training step on a CPU takes at its worst moment for each image of its batch, estimated."""
    stored = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.eval()(_images(2, image_size))
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return BACKWARD * max(1, sum(stored.values()) - weights) / 2


def check_batch(model: nn.Module, params: Params, world: World, days_advice: Callable[[float], str]) -> None:
    """Refuses a batch that a CPU's memory cannot hold: the kernel would kill the process without a word.

    Where there is twice the memory, freed memory is kept from now on: speed is worth some of it.

    Args:
        days_advice: of `Display`; ends the refusal.

    Raises:
        UserError: the batch does not fit; says which parts of it would.
    """
    train, size = params.train, max(params.train.image_sizes or [params.model.image_size])
    an_image = bytes_an_image(model, size)
    part = train.batch_size // (world.size * train.accumulation)
    free = free_memory() / world.local_size
    if an_image * part < free:
        if 2 * an_image * part < free:
            keep_freed_memory()
        return
    start = time.perf_counter()
    with torch.no_grad():
        model(_images(2, size))
    # A backward pass takes two forward passes' time.
    days = days_advice(world.size * 2 / 3 / (time.perf_counter() - start))
    fitting = [n for n in range(1, part) if part % n == 0 and an_image * n < free]
    advice = (
        f"{fitting[-1]} fit: {_accumulate(train.accumulation * part // fitting[-1])}"
        if fitting
        else "lower model.image_size or the model's dims"
    )
    raise UserError(
        f"{part} images a step need about {an_image * part / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
        f"free: {advice}. {days}".rstrip(". ")
    )


def smaller_parts(train: TrainParams, world: World, images: int, attempt: Callable[[int], object]) -> str:
    """What to type where the memory did not hold `images` images in `train.accumulation` parts.

    Args:
        images: this process's, in one step.
        attempt: runs a step's passes on one of so many parts; raises what torch raises where it does not fit. With
            several processes it is not called: the others would wait for these trials for ever.
    """
    problem = f"the memory does not hold {images // train.accumulation} images a step"
    if world.size > 1:
        return f"{problem}: {_accumulate(2 * train.accumulation)}"
    for parts in range(train.accumulation + 1, images + 1):
        if images % parts:
            continue
        if world.device.type != "cpu":
            torch.accelerator.empty_cache()
        try:
            attempt(parts)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            return f"{problem}, but {images // parts} fit: {_accumulate(parts)}"
    return f"{problem}, nor a single one: lower model.image_size or the model's dims"


def _accumulate(parts: int) -> str:
    return f"add -S train.accumulation={parts}, which keeps train.batch_size"


def _images(number: int, size: int) -> Tensor:
    return torch.zeros(number, 3, size, size).contiguous(memory_format=torch.channels_last)
