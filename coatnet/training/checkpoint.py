"""The trained model as one safetensors file that needs nothing beside it: weights, parameters, classes, statistics."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import UserError, one_line
from ..machine.files import atomic_write
from ..models import create_model
from ..params import ModelParams

State = dict[str, Tensor]
NO_CHECKPOINT = (SafetensorError, KeyError, TypeError, ValueError, RuntimeError)  # a broken file, or another program's


@dataclass(frozen=True)
class Checkpoint:
    model: nn.Module  # in eval mode, on the CPU
    params: dict[str, Any]  # what it was trained with, section by section; a later version may have other knobs
    classes: list[tuple[str, str]]  # (WordNet id, name), in the order of the logits
    mean: Sequence[float]  # of the training images' channels, pixels in 0..1
    std: Sequence[float]

    @property
    def model_params(self) -> ModelParams:
        return _model_params(self.params)


def _model_params(params: dict[str, Any]) -> ModelParams:
    model = params["model"]
    paper = {"activation": "gelu", "fused_stages": 0, **model["paper"]}  # older files lack these
    return ModelParams.model_validate({"pretrained": False, **model, "paper": paper})


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint`; equal ones give equal bytes.

    Raises:
        UserError: no space is left.
    """
    facts = {
        "params": checkpoint.params,
        "classes": checkpoint.classes,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.model.state_dict().items()}
    with atomic_write(path) as temporary:
        # One entry of metadata: safetensors writes several in no fixed order. Not its `save_file`, which writes under a
        # temporary name of its own, another each time: a kill would leave it behind for ever.
        temporary.write_bytes(save(tensors, metadata={"coatnet": json.dumps(facts)}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Rebuilds the model from the file alone.

    Raises:
        UserError: the file is missing, unreadable, broken, or not written by `save_checkpoint`.
    """
    try:
        return read_checkpoint(path)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}: run `dvc repro train` or `dvc pull` first") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except NO_CHECKPOINT as error:
        raise UserError(f"{path} is no checkpoint of this version: {one_line(error)}") from None


def read_checkpoint(path: str | Path, rename: Callable[[State, ModelParams, int], State] | None = None) -> Checkpoint:
    """`load_checkpoint` for those who tell what is wrong themselves.

    Args:
        rename: from the file's tensors, the model's parameters and the number of classes to this project's tensors,
            for a file that has them under other names.

    Raises:
        OSError: the file is missing or cannot be read.
        NO_CHECKPOINT: it is broken, or not of `save_checkpoint`.
    """
    with open(path, "rb"):
        pass  # safe_open says of each file that it cannot open that there is none
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if "coatnet" not in metadata:
            raise ValueError("it is another program's")
        facts = json.loads(metadata["coatnet"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    params, classes = facts["params"], [(wnid, name) for wnid, name in facts["classes"]]
    model_params = _model_params(params)
    model = create_model(model_params, num_classes=len(classes))
    model.load_state_dict(rename(state, model_params, len(classes)) if rename else state)
    return Checkpoint(model.eval(), params, classes, tuple(facts["mean"]), tuple(facts["std"]))
