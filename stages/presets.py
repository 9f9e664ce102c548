"""Prints a preset as arguments of `dvc exp run`: `dvc exp run $(python -m stages.presets flagship) -S seed=1`.

DVC's own way to name sets of values, Hydra composition, writes params.yaml anew at each experiment from a folder of
other files: params.yaml would no longer be the source, its comments would go, and `dvc repro` would not compose.
"""

import argparse
import difflib
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from coatnet import UserError
from coatnet.params import Loader, read_yaml

PRESETS = Path("presets.yaml")


def read_preset(name: str) -> dict[str, Any]:
    """The preset's values by dotted parameter name, for `load_params(overrides=...)`.

    What another preset sets and this one does not gets the last commit's value: DVC leaves an experiment's values in
    params.yaml, and those of a preset run before have no part in this one.

    Raises:
        UserError: there is no such preset; the nearest is given.
    """
    presets = read_yaml(PRESETS)
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1, cutoff=0)
        raise UserError(f"{name} is no preset in {PRESETS}; did you mean {near[0]}?")
    committed = _committed()
    others = {key for values in presets.values() for key in values} & committed.keys()
    return {key: committed[key] for key in sorted(others)} | presets[name]


def _committed() -> dict[str, Any]:
    """The last commit's parameters by dotted name; none without Git."""
    shown = subprocess.run(["git", "show", "HEAD:./params.yaml"], capture_output=True, encoding="utf-8")
    return _dotted(yaml.load(shown.stdout, Loader)) if shown.returncode == 0 else {}


def _dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


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
        except yaml.YAMLError:
            raise UserError(f"-S {assignment}: the value is not valid YAML") from None
    return overrides


def set_params(values: dict[str, Any]) -> list[str]:
    """The values as DVC's `-S name=value`, a list of arguments without spaces in them."""
    return [part for name, value in values.items() for part in ("-S", f"{name}={_hydra(value)}")]


def _hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which `-S` reads."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w./-]*", value):
        return f"'{value}'"  # else a comma makes a sweep of it, and digits a number
    return str(value)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m stages.presets", description="Prints a preset as arguments of `dvc exp run`, or all names."
    )
    parser.add_argument("name", nargs="?", help=f"a preset in {PRESETS}")
    name = parser.parse_args(arguments).name
    if name is None:
        print(*read_yaml(PRESETS), sep="\n")
        return
    try:
        print(*set_params(read_preset(name)))
    except UserError as error:
        print(f"-S no_such_preset={name}")  # DVC refuses it; on nothing at all it would run the defaults
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
