"""`name: timm/NAME`: any of timm's models, to compare with."""

import difflib
from typing import Any

import torch
from torch import nn

from ..errors import UserError, one_line

_PATIENCE = 5.0  # seconds that the Hub has for an answer; its own client would try for minutes
_WEIGHTS = "model.safetensors"  # of each model on the Hub; other formats are pickles


def create_peer(name: str, image_size: int, num_classes: int, pretrained: bool = False) -> nn.Module:
    """timm's model `name` (without "timm/") for square images of `image_size` pixels, untrained or `pretrained`.

    Raises:
        UserError: timm has no such model (the nearest is given), the model cannot take that size, or its weights are
            neither on this machine nor can be fetched.
    """
    check_peer_name(name, pretrained)
    weights: dict[str, Any] = {}
    if pretrained:
        overlay = {"file": weights_file(name), "custom_load": False}
        weights = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        model, _ = create_timm(name, image_size, num_classes, **weights)
    except Exception as error:  # as many kinds as there are models
        raise UserError(f"timm/{name} cannot be built for images of {image_size} pixels: {one_line(error)}") from error
    try_image_size(model, name, image_size)
    return model


def create_timm(name: str, image_size: int, num_classes: int, **weights: Any) -> tuple[nn.Module, dict[str, Any]]:
    """timm's model for images of `image_size` pixels, and the arguments of `timm.create_model` that fix that size."""
    import timm  # slow to import, and needed by no other model

    arguments: dict[str, Any] = {"img_size": image_size}
    try:
        return timm.create_model(name, num_classes=num_classes, **arguments, **weights), arguments
    except TypeError:  # no such argument: a model that takes any size
        return timm.create_model(name, num_classes=num_classes, **weights), {}


def check_peer_name(name: str, pretrained: bool = False) -> None:
    """Raises `UserError` where timm has no such model (the nearest is given), tag, or weights on the Hub."""
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise UserError(
            f"model.name=timm/{name} is unknown to timm" + (f"; did you mean timm/{near[0]}?" if near else "")
        )
    if pretrained and not _hub_id(name):
        known = [f"timm/{found}" for found in timm.list_pretrained(f"{name.partition('.')[0]}.*") if _hub_id(found)]
        raise UserError(
            f"timm has no weights on the Hub for model.name=timm/{name}"
            + (f", but for {', '.join(known)}" if known else ": take another model, or model.pretrained=false")
        )
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # an unknown tag
        raise UserError(f"model.name=timm/{name} is unknown to timm: {one_line(error)}") from error


def _hub_id(name: str) -> str | None:
    """Where on the Hub the weights are that timm has for a model, if it has any there."""
    import timm

    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag
        return None
    return cfg.hf_hub_id if cfg else None


def weights_file(name: str) -> str:
    """The path of timm's weights for `name` in the Hub's cache on this machine, fetched if they are not there.

    Raises:
        UserError: they cannot be fetched.
    """
    import requests
    from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache

    repository = _hub_id(name) or ""
    found = try_to_load_from_cache(repository, _WEIGHTS)
    if isinstance(found, str):
        return found
    url = hf_hub_url(repository, _WEIGHTS)
    try:
        if not constants.HF_HUB_OFFLINE:
            requests.head(url, timeout=_PATIENCE, allow_redirects=True).raise_for_status()
        return hf_hub_download(repository, _WEIGHTS)
    except Exception as error:  # of whichever library the Hub's client of this version uses
        raise UserError(
            f"the weights of timm/{name} are not on this machine and could not be fetched from {url} "
            f"({type(error).__name__}): run where the network is, or take model.pretrained=false"
        ) from error


def try_image_size(model: nn.Module, name: str, image_size: int) -> None:
    """Raises `UserError` where the model does not take images of that size; only a forward pass tells."""
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    except Exception as error:
        raise UserError(f"timm/{name} does not take images of {image_size} pixels: {one_line(error)}") from error
    model.train(training)
