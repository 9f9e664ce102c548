"""An optional log of a run for TensorBoard, Weights & Biases or DVCLive.

The environment's COATNET_LOG chooses it, not a parameter: what a run is watched with changes no result, and so must not
make a stage run again.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import UserError
from ..params import Params

CHOICE = "COATNET_LOG"
FOLDER = Path("logs")
Row = dict[str, float]
Write = Callable[[int, Row], object]  # epoch, values


@contextmanager
def _tensorboard(params: Params, name: str) -> Iterator[Write]:
    from torch.utils.tensorboard import SummaryWriter  # a second to import, as the others below

    writer = SummaryWriter(FOLDER / name)  # a run that goes on adds a file to its folder
    writer.add_text("parameters", f"```\n{params.model_dump_json(indent=2)}\n```")

    def write(epoch: int, row: Row) -> None:
        for key, value in row.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    yield write
    writer.close()


@contextmanager
def _wandb(params: Params, name: str) -> Iterator[Write]:
    import wandb

    FOLDER.mkdir(exist_ok=True)
    config = params.model_dump(mode="json")
    with wandb.init(project="coatnet", id=name, resume="allow", dir=FOLDER, config=config) as run:
        yield lambda epoch, row: run.log(row, step=epoch)


@contextmanager
def _dvclive(params: Params, name: str) -> Iterator[Write]:
    from dvclive import Live

    # It only writes files: commits, experiments and dvc.yaml are the pipeline's own.
    with Live(str(FOLDER / name), resume=True, save_dvc_exp=False, report=None, dvcyaml=None) as live:
        live.log_params(params.model_dump(mode="json"))

        def write(epoch: int, row: Row) -> None:
            live.step = epoch
            for key, value in row.items():
                live.log_metric(key, value)
            live.make_summary()

        yield write


LOGGERS: dict[str, Callable[[Params, str], AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "dvclive": _dvclive,
}


def check_log() -> None:
    """Raises `UserError` where COATNET_LOG names no logger, or one that is not installed."""
    choice = os.environ.get(CHOICE)
    if not choice:
        return
    if choice not in LOGGERS:
        raise UserError(f"{CHOICE}={choice} is no logger: choose {', '.join(LOGGERS)}, or leave it unset")
    if importlib.util.find_spec(choice) is None:
        raise UserError(f"{CHOICE}={choice} needs the package {choice}: pip install {choice}, or leave it unset")


@contextmanager
def open_log(params: Params, name: str) -> Iterator[Callable[[Sequence[Row]], object]]:
    """Yields what takes the history so far and logs the rows that are new; without COATNET_LOG it does nothing.

    What goes wrong in a logger is told once and ends the log, never the run.

    Args:
        name: of the run; one that goes on under the same name goes on with its log, where the logger can.
    """
    choice = os.environ.get(CHOICE)
    if not choice:
        yield lambda history: None
        return
    logger = LOGGERS[choice](params, name)
    write: Write | None = None
    logged: int | None = None  # rows

    def attempt(step: Callable[[], Any]) -> Any:
        nonlocal write
        try:
            return step()
        except Exception as error:  # whatever it is, training matters more
            write = None
            tqdm.write(f"{choice} failed, and the run goes on without it: {' '.join(str(error).split())}")

    def log(history: Sequence[Row]) -> None:
        nonlocal logged
        # The first call tells what was there, and logged, before a stop.
        new, logged = history[len(history) if logged is None else logged :], len(history)
        for row in new:
            if write:
                attempt(partial(write, int(row["epoch"]), row))

    write = attempt(logger.__enter__)
    try:
        yield log
    finally:
        if write:
            attempt(lambda: logger.__exit__(None, None, None))
