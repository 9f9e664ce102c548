"""Progress: all that a killed run needs to go on exactly where it was. Not an output; deleted when the run is done."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from ..machine.files import atomic_write
from ..params import Params


def fingerprint(params: Params, data: str) -> str:
    """One digest of everything the weights depend on: parameters, this library's code, the data's digest `data`."""
    used = params.model_dump(mode="json", include={"seed", "model", "augment", "train"})
    used["holdout"] = params.data.holdout
    digest = hashlib.sha256(json.dumps([used, data], sort_keys=True).encode())
    library = Path(__file__).parents[1]
    files = [file for floor in ("data", "models", "augment", "training") for file in (library / floor).glob("*.py")]
    for file in sorted([library / "params.py", library / "seeds.py", *files]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def save_progress(path: Path, stamp: str, state: dict[str, Any]) -> None:
    """Writes `state` under a temporary name, then renames it: a kill leaves the old progress or the new."""
    with atomic_write(path) as temporary:
        torch.save({"stamp": stamp, **state}, temporary)


def load_progress(path: Path, stamp: str) -> tuple[dict[str, Any] | None, str]:
    """The saved state, or None and, where a file is there, why it does not serve."""
    if not path.exists():
        return None, ""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with the file, the answer is to start afresh
        return None, f"the progress in {path} is unreadable: starting afresh"
    if state.pop("stamp", None) != stamp:
        return None, f"the progress in {path} is of other parameters, code or data: starting afresh"
    return state, ""
