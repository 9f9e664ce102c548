"""How much memory is free, and whether an error means that there was too little."""

from pathlib import Path

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")  # what bounds a container; the host's memory does not


def free_memory() -> int:
    """Bytes that this process and others in its container can still take of a CPU's memory."""
    free = psutil.virtual_memory().available
    try:
        limit, used, stat = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current", "stat"))
        stat = dict(line.split() for line in stat.splitlines())
        cached = int(stat["inactive_file"]) + int(stat["active_file"])  # given up when the memory is wanted
        return min(free, int(limit) - int(used) + cached)
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free


def is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)  # on a GPU, on a CPU
