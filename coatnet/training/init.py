"""The weights before the first step: fresh ones, timm's pretrained ones, or those of a checkpoint (`train.init`)."""

import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..data import Shards
from ..data.archive import sha256_of
from ..errors import UserError
from ..machine.processes import World
from ..models import check_image_sizes, create_model, head_tensors, position_tables, resize_table
from ..params import ModelParams, Params, dotted
from .checkpoint import load_checkpoint

_LISTED = 3  # tensors that a refusal names


def initial_model(params: Params, shards: Shards, world: World) -> nn.Module:
    """The model that training starts from, on the CPU; the same in each process.

    Raises:
        UserError: a timm model does not take a size of the schedule or its weights are not at hand, or the checkpoint
            `train.init` is none or does not fit.
    """
    torch.manual_seed(params.seed)
    model = create_model(params.model, shards.num_classes, pretrained=params.model.pretrained)
    check_image_sizes(model, params.model, params.train.image_sizes)
    if path := params.train.checkpoint:
        new_head = load_init(model, path, params.model, shards.classes)
        if world.is_main:
            print(f"Starting from {path}" + (", with a new head for other classes" if new_head else ""))
    return model


def load_init(model: nn.Module, path: str, params: ModelParams, classes: Sequence[tuple[str, str]]) -> bool:
    """Gives `model`, made of `params`, the weights and batch-norm statistics of the checkpoint at `path`.

    Position tables are resized to the model's (Dai et al. 2021, appendix A.1). The head stays the model's own, unless
    the checkpoint has the same class ids in the same order.

    Returns:
        Whether the head is the model's own.

    Raises:
        UserError: it is no checkpoint, or a tensor is missing, unknown here or of another shape.
    """
    checkpoint = load_checkpoint(path)
    given, own = checkpoint.model.state_dict(), model.state_dict()
    new_head = [wnid for wnid, _ in checkpoint.classes] != [wnid for wnid, _ in classes]
    if new_head:
        given |= {name: own[name] for name in head_tensors(model)}
    for name in position_tables(model) & given.keys():
        given[name] = resize_table(given[name], own[name].shape[1:])
    if misfits := _misfits(given, own):
        more = f" and {len(misfits) - _LISTED} more tensors" if len(misfits) > _LISTED else ""
        theirs, ours = (_values(m) for m in (checkpoint.model_params, params))
        options = [f"-S {name}={value}" for name, value in theirs.items() if value != ours[name]]
        raise UserError(
            f"train.init={path} does not fit this model: {', '.join(misfits[:_LISTED])}{more}"
            + (f"; its own model is {' '.join(options)}" if options else "")
        )
    model.load_state_dict(given)
    return new_head


def _misfits(given: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """What differs in the tensors' names and shapes, a phrase for each tensor."""
    there, here = ({name: list(tensor.shape) for name, tensor in state.items()} for state in (given, own))
    return [
        f"{name} ({there.get(name, 'none')} there, {here.get(name, 'none')} here)"
        for name in here | there
        if there.get(name) != here.get(name)
    ]


def _values(params: ModelParams) -> dict[str, str]:
    """The parameters that decide which tensors fit, each as it is written after `-S`."""
    values = dotted(params.model_dump(mode="json", exclude={"pretrained"}), "model.")
    return {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in values.items()
    }


def init_digest(path: str | None) -> str:
    """The SHA-256 of the checkpoint `train.init`, "" where there is none.

    Raises:
        UserError: it cannot be read.
    """
    if path is None:
        return ""
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(
            f"train.init={path} cannot be read ({error.strerror}): run `dvc pull {path}`, or name another checkpoint"
        ) from None
