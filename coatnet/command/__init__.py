"""The command `coatnet`: what a person asks of the project in a terminal, run at the top of a clone.

This floor alone knows of command lines, of DVC and of where a clone keeps its files.
"""

import argparse
import sys

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
    parser = argparse.ArgumentParser(prog="coatnet", description="CoAtNet on Tiny ImageNet.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        first_line = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=first_line, description=module.__doc__)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add_arguments(command)
        command.set_defaults(main=module.run)
    options = parser.parse_args(arguments)
    try:
        options.main(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
