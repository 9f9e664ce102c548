"""Trains the model; leaves the checkpoint, `reports/history.csv` and `reports/train.json`.

`reports/history.csv` grows while it trains. The environment's COATNET_LOG chooses a logger beside it.
"""

import pandas as pd
import torch

from coatnet import Params, UserError
from coatnet.data import Shards
from coatnet.machine.devices import device_name
from coatnet.machine.files import write_csv, write_json
from coatnet.machine.loggers import check_log, open_log
from coatnet.machine.processes import World, join_world, launch
from coatnet.training.checkpoint import Checkpoint, save_checkpoint
from coatnet.training.engine import Trained, Trainer

from . import CHECKPOINT, LOGS, NAME, PROGRESS, REPORTS, SHARDS, run

HISTORY = REPORTS / "history.csv"


def main(params: Params) -> None:
    check_log()
    Shards(SHARDS).evaluated(params.data.holdout)  # nothing to evaluate on: better known before training than after
    launch(worker, params, processes=params.train.processes)


def worker(params: Params) -> None:
    """Runs in each process; the first one writes."""
    shards, world = Shards(SHARDS), join_world()
    trainer = Trainer(params, shards, world, PROGRESS)
    if not world.is_main:
        trainer.run()
        return
    # The log ends last: a network that is down keeps no model waiting.
    with open_log(params, LOGS, f"{NAME}-{trainer.progress.stamp[:8]}") as log:

        def on_history(trainer: Trainer) -> None:
            try:
                write_history(trainer.history, params)
            except UserError as error:  # someone has it open, on Windows; the run's end needs it
                trainer.display.say(f"{error} (tried again after the next epoch)")
            log(trainer.history, trainer.display.rate())

        write_results(trainer.run(on_history), params, shards, world)


def write_history(history: list[dict[str, float]], params: Params) -> None:
    """As it will be at the end, but for rows to come; none at all before the first, as DVC leaves it.

    Raises:
        UserError: it cannot be written.
    """
    if not history:
        HISTORY.unlink(missing_ok=True)  # another run's
        return
    table = pd.DataFrame(history)
    if params.train.evaluate_every and "eval_loss" not in table:  # no epoch yet was evaluated; DVC's plots want it
        table[["eval_loss", "eval_top1"]] = float("nan")
    write_csv(HISTORY, table)


def write_results(trained: Trained, params: Params, shards: Shards, world: World) -> None:
    values = params.model_dump(mode="json")
    save_checkpoint(CHECKPOINT, Checkpoint(trained.model, values, shards.classes, shards.mean, shards.std))
    write_history(trained.history, params)
    write_json(
        REPORTS / "train.json",
        {
            "parameters": sum(p.numel() for p in trained.model.parameters()),
            "epochs": params.train.epochs,
            "loss": trained.history[-1]["train_loss"],
            "augmented_top1": round(trained.history[-1]["train_top1"], 2),
            "images_per_second": float(f"{trained.images_per_second:.3g}"),
            "minutes": round(trained.minutes, 1),
            "startup_seconds": round(trained.startup_seconds, 1),
            "device": f"{device_name(world.device)}, {trained.precision}",
            "processes": world.size,
            "torch": torch.__version__,
        },
    )
    PROGRESS.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
