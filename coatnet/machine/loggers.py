"""An optional log of a run for TensorBoard, Weights & Biases or DVCLive.

The environment's COATNET_LOG chooses it, not a parameter: what a run is watched with changes no result, and so must not
make a stage run again.
"""

import difflib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError, one_line
from ..params import Params
from .files import write_text

CHOICE = "COATNET_LOG"
Row = dict[str, float]
Write = Callable[[int, Row], object]  # epoch, values


# Each takes the run's parameters, a folder of the run's own, and how many epochs that log has already: 0 is a new run,
# whatever an equal one left in the folder.


@contextmanager
def _tensorboard(params: Params, folder: Path, epochs: int) -> Iterator[Write]:
    from torch.utils.tensorboard import SummaryWriter  # a second to import, as the others below

    # A new file in the folder; what an earlier one has of later epochs is shown no more.
    writer = SummaryWriter(folder, purge_step=epochs + 1)
    writer.add_text("parameters", f"```\n{params.model_dump_json(indent=2)}\n```")

    def write(epoch: int, row: Row) -> None:
        for key, value in row.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    yield write
    writer.close()


@contextmanager
def _wandb(params: Params, folder: Path, epochs: int) -> Iterator[Write]:
    import wandb

    id_file = folder / "id"
    given = {"project": "coatnet", "name": folder.name, "dir": str(folder)}
    given = {key: value for key, value in given.items() if f"WANDB_{key.upper()}" not in os.environ}
    if epochs and id_file.exists():
        given |= {"id": id_file.read_text(encoding="utf-8"), "resume": "allow"}
    with wandb.init(**given, config=params.model_dump(mode="json")) as run:
        write_text(id_file, run.id)
        yield lambda epoch, row: run.log(row, step=epoch)


@contextmanager
def _dvclive(params: Params, folder: Path, epochs: int) -> Iterator[Write]:
    from dvclive import Live

    # It only writes files: commits, experiments and dvc.yaml are the pipeline's own.
    with Live(str(folder), resume=epochs > 0, save_dvc_exp=False, report=None, dvcyaml=None) as live:
        live.log_params(params.model_dump(mode="json"))

        def write(epoch: int, row: Row) -> None:
            live.step = epoch
            for key, value in row.items():
                live.log_metric(key, value)
            live.make_summary()

        yield write


LOGGERS: dict[str, Callable[[Params, Path, int], AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "dvclive": _dvclive,
}
MODULES = {"tensorboard": "torch.utils.tensorboard"}  # where it is not the package itself


def check_log() -> None:
    """Raises `UserError` where COATNET_LOG names no logger, or one that is not installed."""
    choice = os.environ.get(CHOICE)
    if not choice:
        return
    if choice not in LOGGERS:
        near = difflib.get_close_matches(choice, LOGGERS, n=1, cutoff=0)[0]
        raise UserError(f"{CHOICE}={choice} is none of {', '.join(LOGGERS)}, or unset; did you mean {near}?")
    try:
        importlib.import_module(MODULES.get(choice, choice))
    except Exception as error:  # an older package beside it raises whatever it likes
        said = one_line(error)
        raise UserError(f"{CHOICE}={choice} does not work here ({said}): pip install {choice}, or unset it") from None


@contextmanager
def open_log(params: Params, folder: Path, name: str) -> Iterator[Callable[[Sequence[Row], float], object]]:
    """Yields what takes the history so far and the speed, and logs the rows that are new, if COATNET_LOG is set.

    The log begins with the first call: before the first step, so that the history tells a new run from one taken up
    again. What goes wrong in a logger is told once and ends the log, never the run. An error of the run leaves the log
    as it is, without waiting for a network.

    Args:
        folder: of all logs.
        name: of the run; one that is taken up again under the same name goes on with its log, where the logger can.
    """
    choice = os.environ.get(CHOICE)
    if not choice:
        yield lambda history, images_per_second: None
        return
    own = folder / choice / name
    logger: AbstractContextManager[Write] | None = None
    write: Write | None = None
    logged: int | None = None  # rows; None: the log has not begun

    def attempt(step: Callable[[], Any]) -> Any:
        nonlocal write
        try:
            return step()
        except Exception as error:  # whatever it is, training matters more
            write = None
            tqdm.write(f"{choice} failed, and the run goes on without it: {type(error).__name__}: {one_line(error)}")

    def begin(epochs: int) -> Write:
        nonlocal logger
        own.mkdir(parents=True, exist_ok=True)
        logger = LOGGERS[choice](params, own, epochs)
        return logger.__enter__()

    def log(history: Sequence[Row], images_per_second: float) -> None:
        nonlocal write, logged
        if logged is None:
            logged = len(history) if own.exists() else 0  # where it is chosen only now, it gets all there was
            write = attempt(partial(begin, logged))
        for row in history[logged:]:
            if write:
                last = {"images_per_second": images_per_second} if row is history[-1] else {}
                attempt(partial(write, int(row["epoch"]), row | last))
        logged = len(history)

    yield log
    if write and logger:
        attempt(partial(logger.__exit__, None, None, None))
