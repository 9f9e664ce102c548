"""A model's file or folder: opened, and written as timm and the Hugging Face Hub keep models."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError, one_line
from ..machine.files import write_json, write_text
from ..training.checkpoint import NO_CHECKPOINT, Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
from .card import card
from .classifier import Classifier
from .graphs import TOLERANCE, check_answers, description
from .timm_weights import COATNET, as_timm, from_timm

WEIGHTS, CONFIG, CARD, LABELS = "model.safetensors", "config.json", "README.md", "labels.json"


def load(path: str | Path, device: str | torch.device | None = None) -> Classifier:
    """Opens a trained model.

    Args:
        path: a checkpoint, as the train stage leaves it in models/model.safetensors, or a folder of `write_folder`.
        device: where it computes. None: this machine's accelerator, or its CPU.

    Raises:
        UserError: it is missing, broken, or not of this project.
    """
    path = Path(path)
    return Classifier(_read_folder(path) if os.path.isdir(path) else load_checkpoint(path), device=device)


def write_folder(
    classifier: Classifier, folder: str | Path, images_n3hw: Tensor, metrics: dict[str, Any] | None
) -> tuple[float, bool]:
    """Writes model.safetensors, config.json, labels.json and the model card README.md, checked before they get there.

    The weights are named as timm names them where timm has a model of this structure; `load` takes the folder anyway.

    Args:
        images_n3hw: to check it on; uint8, of the size of the training data's images.
        metrics: what the evaluate stage reported of this model, or None.

    Returns:
        The largest difference of a logit from the classifier's, and whether timm opens the folder.

    Raises:
        UserError: what was written does not answer as the classifier does, or `folder` cannot be written; then it
            stays as it was.
    """
    folder = Path(folder).resolve()  # "." has no name
    if taken := [file for file in (WEIGHTS, CONFIG, LABELS, CARD) if os.path.isdir(folder / file)]:
        raise UserError(f"{folder / taken[0]} is a folder: remove it or name another folder")
    params, checkpoint = classifier.checkpoint.model_params, classifier.checkpoint
    inputs = classifier.transform.evaluate(images_n3hw)
    with torch.no_grad():
        expected = classifier.model(inputs.to(classifier.device)).cpu()
    theirs = as_timm(checkpoint.model, params, len(classifier.classes))
    if theirs and not _same(theirs[2], inputs, expected):  # for example at an evaluate.image_size of its own
        theirs = None
    with _folder_in(folder) as temporary:
        weights = checkpoint.model if theirs is None else theirs[2]
        facts = (checkpoint.params, checkpoint.classes, checkpoint.mean, checkpoint.std)
        save_checkpoint(temporary / WEIGHTS, Checkpoint(weights, *facts))
        write_json(temporary / CONFIG, _config(classifier, theirs))
        write_json(temporary / LABELS, description(classifier, pixels=False))
        write_text(temporary / CARD, card(classifier, metrics, folder.name or "coatnet", timm=theirs is not None))
        difference = _check(temporary, inputs, expected, timm=theirs is not None)
        for file in (WEIGHTS, CONFIG, LABELS, CARD):
            os.replace(temporary / file, folder / file)
    return difference, theirs is not None


@contextmanager
def _folder_in(folder: Path) -> Iterator[Path]:
    """A temporary folder in `folder`, so on one file system with it; what is made of `folder` goes with an error.

    Raises:
        UserError: the system refuses, here or where it is used.
    """
    temporary = folder / ".coatnet.tmp"
    made = [part for part in (folder, *folder.parents) if not os.path.exists(part)]
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # what a killed run left
        temporary.mkdir(parents=True)
        yield temporary
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for part in made:
                part.rmdir()
        if isinstance(error, OSError):
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
        raise
    shutil.rmtree(temporary, ignore_errors=True)


def _config(classifier: Classifier, theirs: tuple[str, dict[str, Any], nn.Module] | None) -> dict[str, Any]:
    """The folder's config.json in timm's format."""
    transform, checkpoint = classifier.transform, classifier.checkpoint
    size = transform.evaluate.image_size
    name, arguments, model = theirs or ("coatnet", {}, None)
    known = getattr(model, "pretrained_cfg", {})
    return {
        "architecture": name,
        "num_classes": len(classifier.classes),
        "label_names": [wnid for wnid, _ in classifier.classes],
        "label_descriptions": dict(classifier.classes),
        "model_args": arguments,
        "pretrained_cfg": {
            "num_classes": len(classifier.classes),
            "input_size": [3, size, size],
            "fixed_input_size": "img_size" in arguments,
            "interpolation": "bicubic",
            "crop_pct": transform.crop,
            "crop_mode": "center",
            "mean": list(checkpoint.mean),
            "std": list(checkpoint.std),
            **{key: known[key] for key in ("first_conv", "classifier") if key in known},
        },
    }


def _read_folder(folder: Path) -> Checkpoint:
    path = folder / WEIGHTS
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["architecture"] != COATNET:  # the weights are named as in a checkpoint
            return load_checkpoint(path)
        return read_checkpoint(path, from_timm)
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read: {error.strerror or error}") from None
    except NO_CHECKPOINT as error:
        raise UserError(f"{folder} is no model of this version: {one_line(error)}") from None


@torch.no_grad()
def _same(model: nn.Module, inputs: Tensor, expected: Tensor) -> bool:
    try:
        return (model(inputs) - expected).abs().max().item() <= TOLERANCE
    except Exception:  # as many kinds as there are models
        return False


def _check(folder: Path, inputs: Tensor, expected: Tensor, *, timm: bool) -> float:
    models = [load(folder, "cpu").model]
    if timm:
        from timm import create_model as create_timm_model  # slow to import

        models.append(create_timm_model(f"local-dir:{folder}", pretrained=True).eval())
    return max(check_answers(model, inputs, expected) for model in models)
