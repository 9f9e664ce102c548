import errno
import json
import sys
from pathlib import Path

import pytest
import torch

import coatnet
from coatnet import UserError
from coatnet.inference import graphs
from coatnet.inference.graphs import export_onnx, export_torchscript

from .models import CLASSES, save_model, some_images

PAPER = {"model__variant": "paper", "model__layout": "CCCT"}


@pytest.fixture(params=[{}, PAPER | {"evaluate__flip": True, "model__image_size": 64}], ids=["table", "paper-flip"])
def classifier(request, tiny, tmp_path):
    return coatnet.load(save_model(tmp_path / "model.safetensors", tiny(**request.param)), device="cpu")


def onnx(classifier, path, images, pixels):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnx and onnxruntime come with the extra `export`")
    export_onnx(classifier, path, images, pixels=pixels)
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)" if pixels else "tensor(float)")
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])


def torchscript(classifier, path, images, pixels):
    export_torchscript(classifier, path, images, pixels=pixels)
    return torch.jit.load(path)


@pytest.mark.parametrize("export", [onnx, torchscript])
@pytest.mark.parametrize("pixels", [False, True])
def test_a_batch_of_any_size_gives_the_classifiers_logits(export, pixels, classifier, tmp_path):
    images = some_images(8)
    exported = export(classifier, tmp_path / "model", images, pixels)
    other = some_images(20).flip(2)
    for some in (other, other[:1]):
        inputs = some if pixels else classifier.transform(some)
        with torch.no_grad():
            assert torch.allclose(exported(inputs), classifier(some), atol=1e-4)


@pytest.mark.parametrize("export", [export_onnx, export_torchscript])
def test_what_does_not_answer_alike_gets_no_name(export, classifier, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnx and onnxruntime come with the extra `export`")
    monkeypatch.setattr(graphs.Graph, "forward", lambda self, images: self.model(1.1 * images))
    (tmp_path / "model").write_text("a former one")
    with pytest.raises(UserError, match=r"is not the model: logits differ by up to .* it was removed"):
        export(classifier, tmp_path / "model", some_images(8))
    assert (tmp_path / "model").read_text() == "a former one"
    assert len(list(tmp_path.iterdir())) == 2  # and the checkpoint


@pytest.mark.parametrize(
    "exported",
    [
        lambda x: x + 1,
        lambda x: x.where(x == 0, torch.nan),
        lambda x: x.flip(1),  # within the tolerance, but of other classes
        lambda x: x if len(x) > 1 else x + 1,  # one image alone
    ],
    ids=["differ", "no-numbers", "classes", "one-alone"],
)
def test_answers_that_are_not_the_models_are_refused(exported):
    logits = torch.eye(3) * 1e-5
    assert graphs.check_answers(lambda x: x, logits, logits) == 0
    with pytest.raises(UserError, match="is not the model"):
        graphs.check_answers(exported, logits, logits)


def test_a_disk_that_is_full_is_one_sentence(classifier, tmp_path, monkeypatch):
    """Where it is Python that writes: torch's own writer of TorchScript ends the process."""

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"no space is left to write .*model\.torchscript: free some and run again"):
        export_torchscript(classifier, tmp_path / "model.torchscript", some_images(2))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_named(package, classifier, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"ONNX needs the package {package}: pip install --editable '\.\[export\]'"):
        export_onnx(classifier, tmp_path / "model.onnx", some_images(2))


@pytest.mark.parametrize("pixels", [False, True])
def test_the_description_is_enough_to_make_the_input(pixels, classifier):
    described = json.loads(json.dumps(graphs.description(classifier, pixels)))
    assert [(label["id"], label["words"]) for label in described["labels"]] == CLASSES
    assert [label["name"] for label in described["labels"]] == classifier.names
    given, images = described["input"], some_images(2)
    assert given["resize_short_side"] == given["centre_crop"] == 64  # the size of the data, whatever the model's
    assert given["shape"][1:] == [3, *(images if pixels else classifier.transform(images)).shape[2:]]
    if not pixels:
        kept = round(64 * given["crop_fraction"])
        start = (64 - kept) // 2
        x = images[:, :, start : start + kept, start : start + kept] / 255
        x = torch.nn.functional.interpolate(x, (given["resize"], given["resize"]), mode="bilinear")
        mean, std = (torch.tensor(given[name]).view(3, 1, 1) for name in ("mean", "std"))
        assert torch.allclose((x - mean) / std, classifier.transform(images), atol=1e-5)
