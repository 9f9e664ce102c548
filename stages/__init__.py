"""One thin script a stage: read the parameters, call the library, write the outs. Run as `python -m stages.NAME`."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from coatnet import Params, UserError, load_params
from coatnet.errors import one_line

ARCHIVE = Path("data/archive.zip")
SHARDS = Path("data/shards")
CHECKPOINT = Path("models/model.safetensors")
REPORTS = Path("reports")


def kept() -> tuple[Path, str]:
    """The folder of progress and logs, and the run's name in it; they are no DVC outs, which DVC removes at the start.

    `dvc exp run --temp` and DVC's queue work in a folder that is not found again, so theirs lies where they were
    started from, under the experiment's name.
    """
    started_from = Path(os.environ.get("DVC_ROOT", "."))
    if Path.cwd().is_relative_to(started_from.resolve() / ".dvc"):
        return started_from, os.environ["DVC_EXP_NAME"]
    return Path(), "train"


_FOLDER, NAME = kept()
PROGRESS = _FOLDER / ".progress" / f"{NAME}.pt"
LOGS = _FOLDER / "logs"


# Python is looking for the script to run: Ctrl-C while that imports its libraries ends it without a traceback.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(stage: Callable[[Params], None]) -> None:
    """Calls `stage` with the checked parameters; what the user can mend ends in one sentence and exit status 1."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        params = load_params()
        if params.model.name != "coatnet":
            from coatnet.models import check_name  # timm takes seconds to import

            check_name(params.model)
        stage(params)
    except UserError as error:
        sys.exit(f"error: {error}")
    except (RuntimeError, MemoryError) as error:
        from coatnet.machine.memory import is_out_of_memory

        if not isinstance(error, MemoryError) and not is_out_of_memory(error):
            raise
        sys.exit(f"error: out of memory ({one_line(error)}): lower data.size, data.fraction or model.dims")
    except KeyboardInterrupt:
        sys.exit(130)
