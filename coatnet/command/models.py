"""Which model a command uses, where a clone keeps its models."""

import argparse
import os
from pathlib import Path

from ..errors import UserError

TRAINED = Path("models/model.safetensors")
RELEASED = Path("released")
BEST = RELEASED / "two-cores.safetensors"  # the highest test accuracy of the README's table


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help=f"a checkpoint, or a folder of `coatnet export timm` (default: {TRAINED}, else {BEST})",
    )


def find_model(given: Path | None) -> Path:
    """The model asked for; else the one trained here, else the best released one, else the only released one.

    Raises:
        UserError: there is none (how to get it is said), or it cannot be read, or there are several.
    """
    if given is None:
        first = [path for path in (TRAINED, BEST) if _exists(path)]
        here = first[:1] or [path for path in sorted(RELEASED.glob("*.safetensors")) if _exists(path)]
        if len(here) == 1:
            return here[0]
        if here:
            raise UserError(f"there are several models: name one by --model, {' or '.join(map(str, here))}")
        pointers = sorted(RELEASED.glob("*.safetensors.dvc"), key=lambda path: (path.stem != BEST.name, path))
    elif _exists(given):
        return given
    else:
        pointers = [path for path in [given.with_name(f"{given.name}.dvc")] if os.path.exists(path)]
    missing = "there is no model here" if given is None else f"there is no model {given}"
    pull = f"`dvc pull {pointers[0].with_suffix('').as_posix()}` brings one, " if pointers else ""
    raise UserError(f"{missing}: {pull}`make repro` trains one")


def _exists(path: Path) -> bool:
    """As `path.exists()`; but what cannot be looked at is not called absent.

    Raises:
        UserError: the system refuses, for example a folder on the way.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return True
