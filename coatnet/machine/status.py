"""What a run under way leaves for those who watch it: a small JSON file beside its progress."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from .files import write_json


@dataclass(frozen=True)
class Status:
    folder: str  # where the run has its reports
    epochs: int  # in all
    done: int  # images
    total: int  # images
    images_per_second: float
    seconds_left: float
    loss: float  # training, so far in this epoch
    top1: float  # the same, percent
    split: str  # what the accuracy curve is of: test or holdout
    process: int = 0
    process_started: float = 0.0  # tells it from a later process of the same number

    def write(self, path: Path) -> None:
        """Writes it as of this process."""
        me = psutil.Process()
        write_json(path, asdict(self) | {"process": me.pid, "process_started": me.create_time()})

    @classmethod
    def read(cls, path: Path) -> "Status | None":
        """None where no run has left one that can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def is_alive(self) -> bool:
        """Whether its run still goes on, on this machine."""
        try:
            return psutil.Process(self.process).create_time() == self.process_started
        except psutil.Error:
            return False
