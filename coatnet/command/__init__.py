"""The command `coatnet`: what a person asks of the project in a terminal, run at the top of a clone.

This floor alone knows of command lines, of DVC and of where a clone keeps its files.
"""

import argparse
import errno
import io
import os
import sys
from contextlib import suppress

from ..errors import UserError
from . import export, predict, presets, study, summary, watch

COMMANDS = {
    "predict": predict,
    "watch": watch,
    "export": export,
    "summary": summary,
    "preset": presets,
    "study": study,
}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command in `arguments` (default: those of this process); errors end in one sentence and status 1."""
    _open_streams()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with presets.refused_by_dvc_on_failure(words):
            _run(words)
    except UserError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # as of `| head`
        _discard_output()
        sys.exit(1)
    except OSError as error:  # files' own are UserErrors
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _discard_output()
        sys.exit("error: no space is left to write the output: free some and run again")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="coatnet", description="CoAtNet on Tiny ImageNet.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        first_line = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=first_line, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.set_defaults(main=module.run)
    try:
        options = parser.parse_args(words)
        options.main(options)
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()  # here an error of it is still a sentence


def _open_streams() -> None:
    """Python has none for a standard stream that the shell closed (`>&-`); reads of it are empty, writes are lost."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (stays open)


def _discard_output() -> None:
    """What could not be written; Python would try and complain once more at its end."""
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
