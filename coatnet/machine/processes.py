"""One process or many: its place among them, and how the others are started."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ..errors import UserError
from .devices import this_device


@dataclass(frozen=True)
class World:
    rank: int
    size: int
    device: torch.device
    local_size: int = 1  # processes on this machine

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes files."""
        return self.rank == 0

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of every process's `tensor`, in each of them."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, value: Any) -> Any:
        """The first process's `value`, in each of them."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, device=self.device)
        return values[0]


def join_world() -> World:
    """This process's place among those that torch's launcher started; alone where it did not."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    device = this_device(local_rank)
    if device.type != "cpu":
        torch.accelerator.set_device_index(local_rank)
    if "RANK" not in os.environ:
        return World(0, 1, device)
    if not dist.is_initialized():
        dist.init_process_group(dist.get_default_backend_for_device(device))
    return World(dist.get_rank(), dist.get_world_size(), device, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def launch(worker: Callable[..., None], *args: object, processes: int | Literal["auto"]) -> None:
    """Runs `worker(*args)` in `processes` processes of this machine, `auto` being one a GPU; in this one if that is 1.

    Where torchrun already started this process (several machines), `worker` runs here as one of its many.

    Raises:
        UserError: more processes than GPUs, or one of them died; then all have ended.
    """
    gpus = torch.accelerator.device_count()
    count = max(1, gpus) if processes == "auto" else processes
    if "RANK" in os.environ or count == 1:
        return worker(*args)
    if 0 < gpus < count:
        raise UserError(f"train.processes={count} but this machine has {gpus} GPUs: give at most {gpus}, or auto")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="coatnet",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    # Else each process would take every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the error below says it in one sentence
    try:
        elastic_launch(config, _one_of_many)(worker, args)
    except SignalException as error:  # SIGTERM or Ctrl-C: the processes have got it too
        raise SystemExit(128 + error.sigval) from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        message: Any = failure.message  # torch calls it a string
        if isinstance(message, dict):  # what `_one_of_many` recorded
            raise UserError(message["message"].removeprefix("UserError: ")) from None
        cause = failure.signal_name() if failure.exitcode < 0 else "see above"
        raise UserError(
            f"process {rank} of {count} died ({cause}), so all were stopped: run again to go on from the last progress"
        ) from None


def _one_of_many(worker: Callable[..., None], args: tuple[object, ...]) -> None:
    """Passes a UserError on to the process that launched this one, which says it once."""
    try:
        worker(*args)
    except UserError as error:
        get_error_handler().record_exception(error)
        raise SystemExit(1) from None
    except Exception:
        time.sleep(2)  # if another process's end broke the connection, that one must be found first
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
