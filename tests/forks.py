"""Processes that tests start, forked from one that has imported their packages: that takes longer than what they do.

Windows cannot fork. On macOS a process that has threads may crash when it forks, so `dvc` here is for Linux alone.
"""

import multiprocessing
import os
import runpy
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

fork = multiprocessing.get_context("forkserver" if sys.platform != "win32" else None)
if sys.platform != "win32":
    stages = [f"stages.{name}" for name in ("download", "preprocess", "train", "evaluate", "plot")]
    # And what the first optimizer, picture or experiment would import.
    late = ["torch._dynamo", "torchvision.io", "dvc.repo.experiments.queue.celery"]
    fork.set_forkserver_preload(["tests.training.workers", "dvc.cli.parser", *stages, *late])


def dvc(arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], said: Path) -> None:
    """The command `dvc`, and each `python -m MODULE` that it runs, forked. Writes stdout and stderr into `said`."""
    from dvc.cli import main
    from dvc.stage import run

    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    _go(folder, environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_run", _run_stage)
        sys.exit(main(list(arguments)))


def _run_stage(_: str, command: str, *, cwd: str, env: Mapping[str, str], **__: object) -> None:
    from dvc.stage.exceptions import StageCmdFailedError

    python, option, module = shlex.split(command)
    assert (python, option) == ("python", "-m")
    stage = multiprocessing.get_context("fork").Process(target=_run_module, args=(module, cwd, env))
    stage.start()
    stage.join()
    if stage.exitcode:
        raise StageCmdFailedError(command, stage.exitcode)


def _run_module(module: str, folder: str, environment: Mapping[str, str]) -> None:
    _go(folder, environment)
    sys.path.insert(0, folder)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("coatnet", "stages")]:
        del sys.modules[name]  # the folder has code of its own
    sys.dont_write_bytecode = False  # as a user's
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _go(folder: str | Path, environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
