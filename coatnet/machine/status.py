"""What a run under way leaves for those who watch it: a small JSON file beside its progress."""

import json
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from ..errors import UserError
from .files import atomic_write

SILENCE = 600  # seconds without a word after which a run on another machine, which cannot be asked, counts as dead


@dataclass(frozen=True)
class Status:
    """Of this process and moment, where it is made; of those that wrote it, where it is read."""

    folder: str  # where the run has its reports
    doing: str  # starting, training, evaluating or saving
    epochs: int  # in all
    done: int  # images
    total: int  # images
    images_per_second: float
    seconds_left: float
    loss: float | None  # training, so far in this epoch; None before the first step
    top1: float | None  # the same, percent
    split: str  # what the accuracy curve is of: test or holdout
    like_original: bool  # trains on Tiny ImageNet, so that the original's accuracies compare
    when: float = field(default_factory=time.time)
    machine: str = field(default_factory=platform.node)
    process: int = field(default_factory=os.getpid)
    process_started: float = field(default_factory=lambda: psutil.Process().create_time())

    def write(self, path: Path) -> None:
        """Writes it, about once a second of training: so it waits for no disk, and what goes wrong stops nothing."""
        with suppress(OSError, UserError), atomic_write(path, durable=False) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Status | None":
        """None where no run has left one that can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def age(self) -> float:
        """Seconds since it was written."""
        return time.time() - self.when

    @property
    def is_alive(self) -> bool:
        """Whether its run still goes on."""
        if self.machine != platform.node():
            return self.age < SILENCE
        try:
            process = psutil.Process(self.process)
            # A later process may have the same number. A clock that was set moves the time of start, too.
            return abs(process.create_time() - self.process_started) < 60 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def under_its_name(run: str) -> str:
    """What the command that goes on with a stopped run needs besides, in words: an experiment in a folder of its own
    (`dvc exp run --temp`) is known by its name, a run in the workspace, `train`, by its place."""
    return "" if run == "train" else f" under the name {run}"
