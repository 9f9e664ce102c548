"""`name: timm/NAME`: any of timm's models, to compare with."""

import difflib

import torch
from torch import nn

from ..errors import UserError


def create_peer(name: str, image_size: int, num_classes: int) -> nn.Module:
    """timm's model `name` (without "timm/"), untrained, for square images of `image_size` pixels.

    Raises:
        UserError: timm has no such model (the nearest is given), or the model cannot take that size.
    """
    import timm  # slow to import, and needed by no other model

    check_peer_name(name)
    try:
        try:
            model = timm.create_model(name, num_classes=num_classes, img_size=image_size)
        except TypeError:  # no such argument: a model that takes any size
            model = timm.create_model(name, num_classes=num_classes)
    except Exception as error:  # as many kinds as there are models
        raise _refusal(name, image_size, error) from error
    try_image_size(model, name, image_size)
    return model


def check_peer_name(name: str) -> None:
    """Raises `UserError` where timm has no such model, with the nearest."""
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise UserError(
            f"model.name=timm/{name} is unknown to timm" + (f"; did you mean timm/{near[0]}?" if near else "")
        )


def try_image_size(model: nn.Module, name: str, image_size: int) -> None:
    """Raises `UserError` where the model does not take images of that size; only a forward pass tells."""
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    except Exception as error:
        raise _refusal(name, image_size, error) from error
    model.train(training)


def _refusal(name: str, image_size: int, error: Exception) -> UserError:
    return UserError(f"timm/{name} does not take images of {image_size} pixels: {' '.join(str(error).split())}")
