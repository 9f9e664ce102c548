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

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise UserError(
            f"model.name=timm/{name} is unknown to timm" + (f"; did you mean timm/{near[0]}?" if near else "")
        )
    try:
        try:
            model = timm.create_model(name, num_classes=num_classes, img_size=image_size)
        except TypeError:  # no such argument: a model that takes any size
            model = timm.create_model(name, num_classes=num_classes)
        # Sizes that do not fit show in the forward pass alone, in as many ways as there are models.
        device = next(model.parameters()).device
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    except Exception as error:
        cause = " ".join(str(error).split())
        raise UserError(f"timm/{name} cannot be built for model.image_size={image_size}: {cause}") from error
    return model.train()
