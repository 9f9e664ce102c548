"""Named sets of parameters, from `presets.yaml`."""

import difflib
from pathlib import Path
from typing import Any

import yaml

from coatnet import UserError
from coatnet.params import Loader

PRESETS = Path("presets.yaml")


def read_preset(name: str) -> dict[str, Any]:
    """The preset's values by dotted parameter name, for `load_params(overrides=...)`.

    Raises:
        UserError: there is no such preset; the nearest is given.
    """
    presets = yaml.load(PRESETS.read_text(encoding="utf-8"), Loader)
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1, cutoff=0)
        raise UserError(f"{name} is no preset in {PRESETS}; did you mean {near[0]}?")
    return presets[name]
