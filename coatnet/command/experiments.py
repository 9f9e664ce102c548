"""`dvc exp run`, for the commands that start it."""

import subprocess
import sys


def run_experiment(*arguments: str) -> int:
    """Runs `dvc exp run` with `arguments`; returns its exit status.

    Raises:
        KeyboardInterrupt: after DVC, which gets Ctrl-C as well, has ended in order. `subprocess.run` would kill it
            after a quarter of a second, and leave the training that it started behind.
    """
    with subprocess.Popen([sys.executable, "-m", "dvc", "exp", "run", *arguments]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
