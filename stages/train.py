"""Trains the model; leaves the checkpoint, `reports/history.csv` and `reports/train.json`.

`reports/history.csv` grows while it trains. The environment's COATNET_LOG chooses a logger beside it.
"""

import pandas as pd
import torch

from coatnet import Params
from coatnet.data import Shards
from coatnet.machine.devices import device_name
from coatnet.machine.files import write_csv, write_json
from coatnet.machine.loggers import check_log, open_log
from coatnet.machine.processes import join_world, launch
from coatnet.training.checkpoint import Checkpoint, save_checkpoint
from coatnet.training.engine import Trainer

from . import CHECKPOINT, PROGRESS, REPORTS, SHARDS, run

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
    with open_log(params, trainer.progress.stamp[:12]) as log:

        def on_history(trainer: Trainer) -> None:
            if trainer.history:
                write_csv(HISTORY, pd.DataFrame(trainer.history))
            else:
                HISTORY.unlink(missing_ok=True)  # another run's
            log(trainer.history)

        trained = trainer.run(on_history)
    values = params.model_dump(mode="json")
    save_checkpoint(CHECKPOINT, Checkpoint(trained.model, values, shards.classes, shards.mean, shards.std))
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
            "device": device_name(world.device),
            "processes": world.size,
            "torch": torch.__version__,
        },
    )
    PROGRESS.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
