"""The model for other runtimes, as an ONNX or a TorchScript file that was checked before it got its name."""

import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.transform import EvalTransform
from ..errors import UserError
from ..machine.files import atomic_write
from .classifier import Classifier

TOLERANCE = 1e-4  # largest difference of a logit
OPSET = 17  # the first with layer norm; any onnxruntime of 2022 or later reads it


class Graph(nn.Module):
    """What is exported: logits, N x K, as the classifier gives them.

    Args:
        pixels: take images as shards hold them, uint8 N x 3 x size x size, and crop, normalise and resize them, as
            `EvalTransform` does; else take what `classifier.transform` gives.
    """

    def __init__(self, classifier: Classifier, pixels: bool):
        super().__init__()
        self.model = copy.deepcopy(classifier.model).to("cpu", memory_format=torch.contiguous_format)
        self.flip = classifier.flip
        same, checkpoint = classifier.transform.evaluate, classifier.checkpoint
        # One of its own: what the classifier's keeps may lie on a GPU.
        own = EvalTransform(image_size=same.image_size, crop=same.crop, mean=checkpoint.mean, std=checkpoint.std)
        self.transform = own if pixels else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x_n3hw = self.transform(images)
        logits_nk: Tensor = self.model(x_n3hw)
        return (logits_nk + self.model(x_n3hw.flip(3))) / 2 if self.flip else logits_nk


def export_onnx(classifier: Classifier, path: str | Path, images_n3hw: Tensor, *, pixels: bool = False) -> float:
    """Writes an ONNX file with one input, `images`, one output, `logits`, and any number of images a batch.

    Args:
        images_n3hw: to check it on with onnxruntime; uint8, of the size of the training data's images.
        pixels: see `Graph`.

    Returns:
        The largest difference of a logit from the classifier's.

    Raises:
        UserError: a package is missing, or the file's answers are not the classifier's; then nothing is written.
    """
    try:
        import onnx  # noqa: F401 # torch's exporter needs it
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX needs the package {error.name}: pip install --editable '.[export]'") from None
    graph, inputs, expected = _prepare(classifier, images_n3hw, pixels)
    with atomic_write(path) as temporary:
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                graph,
                (inputs[:2],),
                temporary,
                input_names=["images"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
                # The exporter that traces is deprecated, but of torch 2.12 the new one fails on fused attention, takes
                # ten times as long and needs onnxscript.
                dynamo=False,
            )
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        return check_answers(lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), inputs, expected)


def export_torchscript(classifier: Classifier, path: str | Path, images_n3hw: Tensor, *, pixels: bool = False) -> float:
    """Writes a TorchScript file, for C++ and for Python without this project; otherwise as `export_onnx`."""
    graph, inputs, expected = _prepare(classifier, images_n3hw, pixels)
    with atomic_write(path) as temporary, warnings.catch_warnings(action="ignore"), torch.no_grad():
        content = io.BytesIO()  # torch's own writer of files ends the process where the disk is full
        torch.jit.save(torch.jit.trace(graph, inputs[:2], check_trace=False), content)
        temporary.write_bytes(content.getbuffer())
        return check_answers(torch.jit.load(str(temporary)), inputs, expected)


@torch.no_grad()
def check_answers(exported: Callable[[Tensor], Tensor], inputs: Tensor, expected: Tensor) -> float:
    """The largest difference of a logit, all images in one batch or one alone.

    Raises:
        UserError: it is above `TOLERANCE`, or the answers are not the same.
    """
    found = exported(inputs)
    difference = max((found - expected).abs().max().item(), (exported(inputs[:1]) - expected[:1]).abs().max().item())
    changed = int((found.argmax(1) != expected.argmax(1)).sum())
    if not difference <= TOLERANCE or changed:
        raise UserError(
            f"what was written is not the model: logits differ by up to {difference:.1e} (allowed: {TOLERANCE:.0e}) "
            f"and {changed} of {len(inputs)} answers; it was removed"
        )
    return difference


def description(classifier: Classifier, pixels: bool) -> dict[str, Any]:
    """What a user of the file must know besides: classes by logit, and the input."""
    transform, checkpoint = classifier.transform, classifier.checkpoint
    size = transform.size if pixels else transform.evaluate.image_size
    shape = ["batch", 3, size, size]
    steps: dict[str, Any] = {"resize_short_side": transform.size, "centre_crop": transform.size}
    if pixels:
        described = {"type": "uint8", "shape": shape, "channels": "RGB", **steps}
    else:
        steps |= {"crop_fraction": transform.crop, "resize": size}
        statistics = {"mean": list(checkpoint.mean), "std": list(checkpoint.std)}
        described = {"type": "float32", "shape": shape, "channels": "RGB, 0 to 1", **steps, **statistics}
    labels = [
        {"id": wnid, "name": name, "words": words}
        for (wnid, words), name in zip(classifier.classes, classifier.names, strict=True)
    ]
    return {"input": described, "labels": labels}


def _prepare(classifier: Classifier, images_n3hw: Tensor, pixels: bool) -> tuple[Graph, Tensor, Tensor]:
    """The graph, its input, and the classifier's logits."""
    inputs = images_n3hw if pixels else classifier.transform.evaluate(images_n3hw)
    return Graph(classifier, pixels).eval(), inputs, classifier.logits(images_n3hw)
