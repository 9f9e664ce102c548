"""Writes the model for other programs: as ONNX, as TorchScript, or as a folder for timm and the Hugging Face Hub.

    coatnet export onnx
    coatnet export timm --out my-model

Whatever it writes was opened and compared with the model on 64 images before it gets its name.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..machine.files import write_json
from ..params import read_yaml
from .models import add_model, find_model

if TYPE_CHECKING:
    from torch import Tensor

    from ..inference import Classifier

SHARDS = Path("data/shards")
METRICS = Path("reports/metrics.json")
LOCK = Path("dvc.lock")
IMAGES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("form", choices=("onnx", "torchscript", "timm"))
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="default: exported/onnx, exported/torchscript; of timm's form exported/coatnet",
    )
    add_model(parser)
    parser.add_argument(
        "--pixels",
        action="store_true",
        help="onnx, torchscript: take uint8 pixels of the data's size; crop, resize and normalise them in the graph",
    )


def run(options: argparse.Namespace) -> None:
    if options.pixels and options.form == "timm":
        raise UserError("--pixels is for onnx and torchscript: timm normalises outside the model")
    folder: Path = options.out or Path("exported", "coatnet" if options.form == "timm" else options.form)
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"--out {folder} is a file: name a folder")
    if os.path.isdir(folder / "labels.json"):
        raise UserError(f"{folder / 'labels.json'} is a folder: remove it, or name another by --out")
    path = find_model(options.model)
    from ..inference import load

    classifier = load(path, device="cpu")
    images, kind = _images(classifier)
    if options.form == "timm":
        from ..inference.folder import write_folder

        metrics = _metrics(path, classifier.params.get("evaluate", {}))
        difference, timm = write_folder(classifier, folder, images, metrics)
        wrote = f"{folder}, which coatnet{' and timm open' if timm else ' opens and timm does not'}"
        if metrics is None:
            wrote += f" ({METRICS} is not of this model as it answers, so the model card has no figures)"
    else:
        from ..inference import graphs

        export, name = {
            "onnx": (graphs.export_onnx, "model.onnx"),
            "torchscript": (graphs.export_torchscript, "model.torchscript"),
        }[options.form]
        difference = export(classifier, folder / name, images, pixels=options.pixels)
        write_json(folder / "labels.json", graphs.description(classifier, options.pixels))
        wrote = f"{folder / name} and labels.json"
    print(f"wrote {wrote}; on {len(images)} {kind} the same answers, logits differ by at most {difference:.1e}")


def _images(classifier: "Classifier") -> "tuple[Tensor, str]":
    """Images to check an export on, uint8, and what they are: test images where they are here and the model's."""
    import torch

    from ..data import Shards

    size = classifier.transform.size
    if (SHARDS / "index.json").exists():
        shards = Shards(SHARDS)
        images, _ = shards.load("test") if shards.classes == classifier.classes else (torch.empty(0), None)
        if len(images) and images.shape[1:] == (3, size, size):
            return images[:: -(-len(images) // IMAGES)], "test images"
    coarse = torch.rand(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return (255 * smooth).to(torch.uint8), "random images"


def _metrics(model: Path, evaluate: dict[str, Any]) -> dict[str, Any] | None:
    """The evaluate stage's report, if dvc.lock says that it is of this model, evaluated as the model answers in use.

    Args:
        evaluate: the values that the model holds; params.yaml may have had others when it was evaluated.
    """
    if not (LOCK.exists() and METRICS.exists()):
        return None
    stages = read_yaml(LOCK).get("stages", {})
    stage = stages.get("evaluate", {})
    recorded = {entry["path"]: entry.get("md5") for entry in (*stage.get("deps", ()), *stage.get("outs", ()))}
    evaluated = stage.get("params", {}).get("params.yaml", {}).get("evaluate", {})
    if any(evaluated.get(name) != evaluate.get(name) for name in ("image_size", "crop", "flip")):
        return None
    expected = {"models/model.safetensors": model, METRICS.as_posix(): METRICS}
    if model.is_dir() or any(recorded.get(name) != _md5(file) for name, file in expected.items()):
        return None
    return json.loads(METRICS.read_text(encoding="utf-8"))


def _md5(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "md5").hexdigest()
