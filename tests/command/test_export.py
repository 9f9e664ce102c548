import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import coatnet
from coatnet.command import main
from coatnet.data import Shards, write_own, write_shards, write_synthetic
from coatnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stages import ARCHIVE, CHECKPOINT, REPORTS, SHARDS
from tests.inference.models import save_model, some_images
from tests.inference.test_folder import METRICS


@pytest.fixture(autouse=True)
def clone(tiny, tmp_path, monkeypatch):
    """A folder with a trained model."""
    monkeypatch.chdir(tmp_path)
    save_model(CHECKPOINT, tiny())


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_onnx(capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnx and onnxruntime come with the extra `export`")
    main(["export", "onnx"])
    assert files("exported/onnx") == ["labels.json", "model.onnx"]
    assert "on 64 random images the same answers" in capsys.readouterr().out
    classifier, images = coatnet.load(CHECKPOINT, "cpu"), some_images(7)
    session = onnxruntime.InferenceSession("exported/onnx/model.onnx")
    (logits,) = session.run(None, {"images": classifier.transform(images).numpy()})
    assert torch.allclose(torch.from_numpy(logits), classifier(images), atol=1e-4)


def test_torchscript_from_pixels_into_a_folder_of_ones_own():
    main(["export", "torchscript", "--pixels", "--out", "mine"])
    assert files("mine") == ["labels.json", "model.torchscript"]
    images = some_images(7)
    found = torch.jit.load("mine/model.torchscript")(images)
    assert torch.allclose(found, coatnet.load(CHECKPOINT)(images), atol=1e-4)
    assert json.loads(Path("mine/labels.json").read_text())["input"]["type"] == "uint8"


def test_the_check_is_on_test_images_where_they_are_the_models(tiny, capsys):
    params = tiny().data.synthetic
    write_synthetic(params, ARCHIVE)
    write_shards(ARCHIVE, SHARDS)
    main(["export", "torchscript"])
    assert "on 64 random images" in capsys.readouterr().out  # the model has other classes
    shards, model = Shards(SHARDS), load_checkpoint(CHECKPOINT)
    save_checkpoint(CHECKPOINT, Checkpoint(model.model, model.params, shards.classes, model.mean, model.std))
    main(["export", "torchscript"])
    assert "on 24 test images" in capsys.readouterr().out


def test_data_without_test_images_leave_random_ones(capsys):
    for name in "abcd":
        Path("mine", name).mkdir(parents=True)
        for number in range(2):
            Image.effect_noise((64, 64), 50 + number).save(Path("mine", name, f"{number}.png"))
    write_own("mine", ARCHIVE, size=64, holdout=0.5)
    write_shards(ARCHIVE, SHARDS)
    shards, model = Shards(SHARDS), load_checkpoint(CHECKPOINT)
    save_checkpoint(CHECKPOINT, Checkpoint(model.model, model.params, shards.classes, model.mean, model.std))
    main(["export", "torchscript"])
    assert "on 64 random images" in capsys.readouterr().out


def test_a_folder_in_the_place_of_the_labels_is_refused_before_a_model_is_written():
    Path("exported/onnx/labels.json").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"labels\.json is a folder: remove it, or name another by --out"):
        main(["export", "onnx"])
    assert files("exported/onnx") == ["labels.json"]


def test_the_folder_predicts(capsys):
    main(["export", "timm", "--out", "my-model"])
    assert files("my-model") == ["README.md", "config.json", "labels.json", "model.safetensors"]
    images = some_images(3)
    assert torch.equal(coatnet.load("my-model")(images), coatnet.load(CHECKPOINT)(images))


def lock(evaluate: dict | None = None, **digests: str) -> None:
    """A dvc.lock that says of which model the report is, and with which values of `evaluate`."""
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "metrics.json").write_text(json.dumps(METRICS))
    md5 = {path: hashlib.md5(Path(path).read_bytes()).hexdigest() for path in (CHECKPOINT, REPORTS / "metrics.json")}
    md5 = {str(path): digests.get(path.stem, digest) for path, digest in md5.items()}
    entries = [{"path": path, "md5": digest} for path, digest in md5.items()]
    params = {"params.yaml": {"evaluate": load_checkpoint(CHECKPOINT).params["evaluate"] | (evaluate or {})}}
    stage = {"deps": entries[:1], "params": params, "outs": entries[1:]}
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate": stage}}))


def test_the_card_has_the_figures_of_this_very_model(capsys):
    lock()
    main(["export", "timm"])
    assert "37.63" in Path("exported/coatnet/README.md").read_text()
    assert "no figures" not in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"model": "0" * 32}, {"metrics": "0" * 32}, {"evaluate": {"flip": True}}])
def test_the_card_has_no_other_figures(other, capsys):
    lock(**other)
    main(["export", "timm"])
    assert "37.63" not in Path("exported/coatnet/README.md").read_text()
    said = "reports/metrics.json is not of this model as it answers, so the model card has no figures"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["timm", "--pixels"], "--pixels is for onnx and torchscript"),
        (["timm", "--out", "params.yaml"], "--out params.yaml is a file: name a folder"),
        (["onnx", "--model", "nowhere"], "there is no model nowhere"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence):
    Path("params.yaml").touch()
    with pytest.raises(SystemExit) as exit:
        main(["export", *arguments])
    assert sentence in exit.value.code and "\n" not in exit.value.code
