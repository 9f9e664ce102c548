"""One thin script a stage: read the parameters, call the library, write the outs. Run as `python -m stages.NAME`."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from coatnet import Params, UserError, load_params

ARCHIVE = Path("data/archive.zip")
SHARDS = Path("data/shards")
CHECKPOINT = Path("models/model.safetensors")
REPORTS = Path("reports")


def _progress() -> Path:
    """No DVC out: DVC removes outs before a stage runs, and this must outlive a kill.

    `dvc exp run --temp` and DVC's queue work in a folder that is not found again, so their progress lies where they
    were started from, under the experiment's name.
    """
    started_from = Path(os.environ.get("DVC_ROOT", "."))
    if Path.cwd().is_relative_to(started_from.resolve() / ".dvc"):
        return started_from / ".progress" / f"{os.environ['DVC_EXP_NAME']}.pt"
    return Path(".progress/train.pt")


PROGRESS = _progress()


def run(stage: Callable[[Params], None]) -> None:
    """Calls `stage` with the checked parameters; what the user can mend ends in one sentence and exit status 1."""
    try:
        params = load_params()
        if params.model.name != "coatnet":
            from coatnet.models import check_name  # timm takes seconds to import

            check_name(params.model)
        stage(params)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
