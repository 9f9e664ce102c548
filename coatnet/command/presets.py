"""Prints a preset as arguments of `dvc exp run`, runs it, or lists the names.

    dvc exp run $(coatnet preset flagship) -S seed=1
    coatnet preset flagship --run -S seed=1      # the same where the shell has no $(...)

A preset is the committed params.yaml with the preset's values over it. Uncommitted edits of params.yaml, such as the
values that an earlier experiment left there, are set aside for the run, and named on standard error.
"""

import argparse
import difflib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..params import Loader, dotted, read_yaml
from .experiments import run_experiment

# DVC's own way to name sets of values, Hydra composition, writes params.yaml anew at each experiment from a folder of
# other files: params.yaml would no longer be the source, its comments would go, and `dvc repro` would not compose.
PRESETS = Path("presets.yaml")
PARAMS = Path("params.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help=f"a preset in {PRESETS}; without one, their names are printed")
    parser.add_argument(
        "--run", nargs=argparse.REMAINDER, metavar="...", help="call `dvc exp run` with the preset and what follows"
    )


def run(options: argparse.Namespace) -> None:
    if options.name is None:
        if options.run is not None:
            raise UserError("--run needs a preset before it: coatnet preset NAME --run")
        print(*read_presets(), sep="\n")
        return
    values = read_preset(options.name)
    if edits := uncommitted():
        print(f"set aside, since not committed in {PARAMS}: {', '.join(edits)}", file=sys.stderr)
    arguments = as_dvc_arguments(values)
    if options.run is None:
        print(*arguments)
    else:
        sys.exit(run_experiment(*arguments, *options.run))


@contextmanager
def refused_by_dvc_on_failure(words: list[str]) -> Iterator[None]:
    """Where `coatnet preset` fails, prints what DVC refuses; on nothing at all `dvc exp run $(...)` runs the defaults.

    Args:
        words: of the command line, which may be wrong.
    """
    try:
        yield
    except BaseException as error:
        helped = isinstance(error, SystemExit) and not error.code
        if words[:1] == ["preset"] and "--run" not in words and not helped:
            print("-S no_such_preset=1")
        raise


def read_presets() -> dict[str, dict[str, Any]]:
    """The values of each preset, by dotted parameter name.

    Raises:
        UserError: the file is missing, no YAML, or not of that form.
    """
    presets = read_yaml(PRESETS)
    if not isinstance(presets, dict) or not all(isinstance(values, dict) for values in presets.values()):
        raise UserError(f"{PRESETS}: each preset must be a name with parameters and their values below it")
    return {name: dotted(values) for name, values in presets.items()}


def read_preset(name: str) -> dict[str, Any]:
    """Values by dotted parameter name that make, over params.yaml as it lies here, the committed one with the preset.

    Raises:
        UserError: there is no such preset; the nearest is given.
    """
    presets = read_presets()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1, cutoff=0)
        raise UserError(f"{name} is no preset in {PRESETS}" + (f"; did you mean {near[0]}?" if near else ""))
    return uncommitted() | presets[name]


def uncommitted() -> dict[str, Any]:
    """The committed values of the parameters that params.yaml here has otherwise; none without Git."""
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{PARAMS}"], capture_output=True, encoding="utf-8")
    except FileNotFoundError:  # there is no program git
        return {}
    if shown.returncode:
        return {}
    here = dotted(read_yaml(PARAMS))
    committed = dotted(yaml.load(shown.stdout, Loader))
    return {key: value for key, value in committed.items() if key not in here or here[key] != value}


def read_overrides(assignments: Iterable[str], preset: str | None = None) -> dict[str, Any]:
    """Overrides for `load_params`: those of a preset, then each NAME=VALUE, its value read as YAML.

    Raises:
        UserError: no such preset (the nearest is given), or an assignment is not of that form.
    """
    overrides: dict[str, Any] = {}
    if preset is not None:
        overrides |= read_preset(preset)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"-S {assignment} is not of the form NAME=VALUE")
        try:
            overrides[name] = yaml.load(value, Loader)
        except (yaml.YAMLError, ValueError):  # ValueError: a date that is none
            raise UserError(f"-S {assignment}: the value is not valid YAML") from None
    return overrides


def add_overrides(parser: argparse.ArgumentParser, text: str) -> None:
    """The option `-S NAME=VALUE`, as DVC has it."""
    parser.add_argument("-S", "--set", action="append", default=[], metavar="NAME=VALUE", help=text)


def as_dvc_arguments(values: dict[str, Any]) -> list[str]:
    """The values as DVC's `-S name=value`, a list of arguments without spaces in them."""
    return [part for name, value in values.items() for part in ("-S", f"{name}={as_hydra(value)}")]


def as_hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which `-S` reads."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_hydra, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./-]*", value):
        # Else a comma makes a sweep of it, and digits a number. Quotes are escaped, and the backslashes before them.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), value) + "'"
    return str(value)
