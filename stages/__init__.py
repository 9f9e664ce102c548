"""One thin script a stage: read the parameters, call the library, write the outs. Run as `python -m stages.NAME`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from coatnet import Params, UserError, load_params
from coatnet.files import atomic_write

ARCHIVE = Path("data/archive.zip")
SHARDS = Path("data/shards")
CHECKPOINT = Path("models/model.safetensors")
REPORTS = Path("reports")
# No DVC out: DVC removes outs before a stage runs, and this must outlive a kill.
PROGRESS = Path(".progress/train.pt")


def run(stage: Callable[[Params], None]) -> None:
    """Calls `stage` with the checked parameters; what the user can mend ends in one sentence and exit status 1."""
    try:
        stage(load_params())
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def write_json(path: Path, values: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
