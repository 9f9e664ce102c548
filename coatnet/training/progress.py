"""Progress: all that a killed run needs to go on exactly where it was. Not an output; deleted when the run is done."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from ..data import Shards
from ..machine.files import atomic_write
from ..machine.processes import World
from ..params import Params
from .init import init_digest

# The code that can change a weight: the train stage's deps in dvc.yaml but its script.
DECIDING = [
    "seeds.py",
    "data/batches.py",
    "data/shards.py",
    "data/transform.py",
    "models/*.py",
    "augment/*.py",
    "training/*.py",
]


def fingerprint(params: Params, shards: Shards) -> str:
    """One digest of all that the weights depend on: parameters, data, the checkpoint to start from, and the code.

    Raises:
        UserError: `train.init` cannot be read.
    """
    used = params.model_dump(mode="json", include={"seed", "model", "augment", "train"})
    used["holdout"], used["fraction"] = params.data.holdout, params.data.fraction
    data = [shards.digest("train"), shards.digest("test")]
    digest = hashlib.sha256(json.dumps([used, data], sort_keys=True).encode())
    digest.update(init_digest(params.train.checkpoint).encode())
    library = Path(__file__).parents[1]
    for file in sorted(file for pattern in DECIDING for file in library.glob(pattern)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


class Progress:
    """The file that keeps a run. The first process writes and reads it; what it reads goes to all.

    Args:
        stamp: of `fingerprint`; progress with another stamp is not taken up, and written over by the next `save`.
    """

    def __init__(self, path: Path, stamp: str, world: World):
        self.path, self.stamp, self.world = path, stamp, world
        self.kept = False  # whether the file holds this run

    def save(self, state: dict[str, Any]) -> None:
        """Writes `state` under a temporary name, then renames it: a kill leaves the old progress or the new."""
        if self.world.is_main:
            with atomic_write(self.path) as temporary:
                torch.save({"stamp": self.stamp, **state}, temporary)
        self.kept = True

    def load(self) -> tuple[dict[str, Any] | None, str]:
        """The saved state, or None and, where a file is there, why it does not serve."""
        # Another machine has no such file.
        state, why_not = self.world.broadcast(self._read() if self.world.is_main else None)
        self.kept = state is not None
        return state, why_not

    def _read(self) -> tuple[dict[str, Any] | None, str]:
        if not self.path.exists():
            return None, ""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # whatever is wrong with the file, the answer is to start afresh
            return None, f"the progress in {self.path} is unreadable: starting afresh"
        if state.pop("stamp", None) != self.stamp:
            return None, f"the progress in {self.path} is of other parameters, code or data: starting afresh"
        return state, ""
