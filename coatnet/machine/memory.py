"""How much memory is free, whether an error means that there was too little, and what becomes of freed memory."""

import ctypes
import sys
from pathlib import Path

import psutil
import torch

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
    # On CUDA, on MPS, on a CPU.
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory")
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
