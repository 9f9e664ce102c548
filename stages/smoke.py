"""Runs the pipeline's own dvc.yaml in `smoke/work`, with the preset `smoke`, and checks that the model learned."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from coatnet import Params, UserError, load_params
from coatnet.command.presets import read_preset
from coatnet.machine.files import write_text

from . import REPORTS, run

WORK = Path("smoke/work")
TIMES_CHANCE = 3  # top-1 below this multiple of chance is a failure


def main(_: Params) -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    for name in ("coatnet", "stages", "dvc.yaml", "scratch"):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, WORK / name)
    params = load_params(overrides=read_preset("smoke"))
    write_text(WORK / "params.yaml", yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False))
    # Stops at the first stage that fails; DVC has then said why.
    for command in (["init", "--quiet", "--no-scm"], ["config", "core.analytics", "false"], ["repro"]):
        if subprocess.run([sys.executable, "-m", "dvc", *command], cwd=WORK, check=False).returncode:
            raise UserError(f"the smoke run failed in `dvc {' '.join(command)}`; its files are in {WORK}")
    top1 = json.loads((WORK / REPORTS / "metrics.json").read_text(encoding="utf-8"))["top1"]
    chance = 100 / params.data.synthetic.classes
    if top1 < TIMES_CHANCE * chance:
        raise UserError(f"the smoke run's top-1 is {top1:.2f}%, not {TIMES_CHANCE} times chance ({chance:.2f}%)")
    print(f"smoke: top-1 {top1:.2f}%, {top1 / chance:.1f} times chance")


if __name__ == "__main__":
    run(main)
