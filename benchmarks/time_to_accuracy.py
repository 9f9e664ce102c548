"""Seconds of training until the evaluated accuracy first passes given marks; start-up (compilation) shown apart.

    python -m benchmarks.time_to_accuracy --preset flagship --marks 44.80 60.17

The marks are those of the original and of its ConvNeXt-T. The curve's evaluations are not counted as training. The run
ends once the last mark is passed.
"""

import argparse
import contextlib
import platform
import tempfile
from pathlib import Path

import torch

from coatnet import load_params
from coatnet.command.presets import read_overrides
from coatnet.data import Shards
from coatnet.machine.processes import join_world
from coatnet.training.engine import Trainer

from .models import hardware, run


class _AllPassed(Exception):
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default="data/shards", help="what the preprocess stage left")
    parser.add_argument("--preset", help="of presets.yaml; default: params.yaml as it stands")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="NAME=VALUE", help="change a parameter")
    parser.add_argument("--marks", type=float, nargs="+", default=[44.80, 60.17], help="top-1, percent")
    args = parser.parse_args()
    overrides = {**read_overrides(args.set, args.preset), "train.evaluate_every": 1}
    params, shards, world = load_params(overrides=overrides), Shards(args.shards), join_world()
    missing = sorted(args.marks)
    print(f"{hardware(world.device.type)}; torch {torch.__version__}, Python {platform.python_version()}")
    print("| top-1 | passed after epoch | with top-1 | training, s | start-up, s |\n|---:|---:|---:|---:|---:|")

    def tell(trainer: Trainer) -> None:
        if not trainer.history:
            return
        top1, clock = trainer.history[-1]["eval_top1"], trainer.display.clock()
        while missing and top1 >= missing[0]:
            print(
                f"| {missing.pop(0):.2f} | {len(trainer.history)} of {params.train.epochs} | {top1:.2f} | "
                f"{clock['timed_seconds']:.1f} | {clock['startup_seconds']:.1f} |",
                flush=True,
            )
        if not missing:
            raise _AllPassed

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_AllPassed):
        Trainer(params, shards, world, Path(folder) / "progress.pt").run(tell)
    for mark in missing:
        print(f"| {mark:.2f} | not within {params.train.epochs} | | | |")


if __name__ == "__main__":
    run(main)
