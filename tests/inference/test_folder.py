import errno
import json
import os
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard

import coatnet
from coatnet import UserError
from coatnet.inference import folder as folders
from coatnet.inference.folder import write_folder
from tests.models.test_timm_parity import TIMM_OPTIONS

from .models import save_model, some_images

METRICS = {
    "top1": 37.63,
    "top1_low": 36.69,
    "top1_high": 38.58,
    "top5": 64.91,
    "loss": 2.6919,
    "train_top1": 40.1,
    "gap": 2.47,
    "images": 10000,
    "split": "test",
}
TIMMS = {
    "coatnet": TIMM_OPTIONS,
    "coatnet-of-the-papers-choices": TIMM_OPTIONS
    | {
        "model.layout": "TCCT",
        "model.paper.pool": "max",
        "model.paper.stride_on": "expand",
        "model.paper.se_place": "before_norm",
    },
    "coatnet-of-relu": TIMM_OPTIONS | {"model.paper.activation": "relu"},
    "coatnet-all-attention": TIMM_OPTIONS | {"model.layout": "TTTT", "model.paper.layer_scale": 0.1},
    "peer": {"model.name": "timm/test_resnet"},
    "peer-that-is-timms-coatnet": {"model.name": "timm/coatnet_0_224"},
    "peer-of-one-size": {"model.name": "timm/test_vit"},
}
OWN = {
    "table": {},
    "paper": {"model.variant": "paper"},
    "paper-at-another-size": TIMM_OPTIONS | {"evaluate.image_size": 64},
}
SIZES = {"model.stem_width": 16, "model.dims": [16, 16, 32, 32], "model.blocks": [1, 2, 2, 1]}  # timm: multiples of 8


@pytest.fixture
def write(tiny, tmp_path):
    """`write(overrides, metrics)`: the checkpoint's path, the folder, and whether timm opens it."""

    def write(overrides, metrics=None):
        path = save_model(tmp_path / "model.safetensors", tiny(**SIZES | overrides))
        difference, opens = write_folder(coatnet.load(path, "cpu"), tmp_path / "my-model", some_images(4), metrics)
        assert difference <= 1e-4
        return path, tmp_path / "my-model", opens

    return write


@pytest.mark.parametrize("kind", TIMMS)
def test_timm_and_coatnet_open_it_with_the_same_logits(kind, write):
    path, folder, opens = write(TIMMS[kind])
    assert opens
    images, classifier = some_images(6), coatnet.load(path, "cpu")
    expected = classifier(images)
    assert torch.equal(coatnet.load(folder, "cpu")(images), expected)  # the very weights
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.allclose(model(classifier.transform(images)), expected, atol=1e-4)
    config = timm.data.resolve_model_data_config(model)
    assert tuple(config["input_size"]) == (3, 32, 32)
    assert (*config["mean"], *config["std"]) == (*classifier.checkpoint.mean, *classifier.checkpoint.std)
    assert model.pretrained_cfg["label_names"][0] == "n01443537"


@pytest.mark.parametrize("kind", OWN)
def test_what_timm_has_no_model_for_opens_here(kind, write):
    path, folder, opens = write(OWN[kind])
    assert not opens
    assert (folder / "model.safetensors").read_bytes() == path.read_bytes()
    images = some_images(6)
    assert torch.equal(coatnet.load(folder, "cpu")(images), coatnet.load(path, "cpu")(images))
    assert "does not open" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_model_card_is_the_hubs_with_figures_and_gap(write):
    _, folder, _ = write({"data.source": "tiny-imagenet"}, METRICS)
    card = ModelCard.load(folder / "README.md")
    results = {(r.metric_name, r.metric_value, r.dataset_split) for r in card.data.eval_results}
    assert results == {("top-1, %", 37.63, "test"), ("top-5, %", 64.91, "test")}
    assert (card.data.model_name, card.data.license) == ("my-model", "other")
    assert "coatnet" in card.data.tags
    for figure in ("36.69 to 38.58", "10,000 test images", "2.47 points"):
        assert figure in card.text
    assert "non-commercial" in card.text


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data.source": "synthetic"}, "drawn by the project"),
        ({"data.source": "tiny-imagenet", "data.archive": "mine.zip"}, "not known here"),
    ],
)
def test_other_data_have_other_terms_and_no_figures_are_made_up(write, overrides, words):
    _, folder, _ = write(overrides)
    card = ModelCard.load(folder / "README.md")
    assert words in card.text and "non-commercial" not in card.text
    assert card.data.license is None
    assert card.data.eval_results is None and "None are known" in card.text


def test_the_card_says_which_images_the_figures_are_of(write):
    _, folder, _ = write({}, METRICS | {"split": "holdout"})
    text = ModelCard.load(folder / "README.md").text
    assert "10,000 training images that were held out" in text and "test images:" not in text


def test_the_configuration_and_the_card_have_the_crop(write):
    _, folder, _ = write({"evaluate.crop": 0.75})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["pretrained_cfg"]["crop_pct"] == 0.75
    assert "The middle 75% of that" in ModelCard.load(folder / "README.md").text


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, "trained from scratch on"),
        (
            {"train.init": "released/two-cores.safetensors"},
            "trained from the checkpoint released/two-cores.safetensors",
        ),
        ({"model.name": "timm/test_resnet", "model.pretrained": True}, "trained from timm's weights of test_resnet"),
    ],
)
def test_the_card_says_what_weights_the_model_started_from(write, overrides, words):
    _, folder, _ = write(overrides)
    text = ModelCard.load(folder / "README.md").text
    assert words in text and ("terms of their own" in text) == bool(overrides)


def test_the_card_of_timms_model_is_not_tagged_as_a_coatnet(write):
    _, folder, _ = write(TIMMS["peer"])
    assert ModelCard.load(folder / "README.md").data.tags == ["image-classification"]


@pytest.mark.parametrize("flip", [False, True])
def test_the_card_says_where_timms_logits_are_not_the_classifiers(write, flip):
    _, folder, opens = write(TIMM_OPTIONS | {"evaluate.flip": flip})
    assert opens
    text = ModelCard.load(folder / "README.md").text
    assert ("of the image alone" in text, "# the same" in text, "mirror image" in text) == (flip, not flip, flip)


def test_a_folder_that_would_answer_otherwise_is_not_written(write, monkeypatch, tmp_path):
    def other(path, checkpoint):
        with torch.no_grad():
            next(checkpoint.model.parameters()).mul_(2)
        coatnet.training.checkpoint.save_checkpoint(path, checkpoint)

    monkeypatch.setattr(folders, "save_checkpoint", other)
    with pytest.raises(UserError, match="is not the model"):
        write({})
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_mount_point_is_written(write, monkeypatch, tmp_path):
    """What comes from outside it would be of another file system."""
    (tmp_path / "my-model").mkdir()

    def replace(source, target):
        if (tmp_path / "my-model" in Path(source).parents) != (tmp_path / "my-model" in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        move(source, target)

    move = os.replace
    monkeypatch.setattr(folders.os, "replace", replace)
    _, folder, _ = write({})
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "README.md"])
def test_a_folder_of_a_files_name_is_refused_before_anything_is_written(write, tmp_path, name):
    (tmp_path / "my-model" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{name} is a folder"):
        write({})
    assert [file.name for file in (tmp_path / "my-model").iterdir()] == [name]


@pytest.mark.parametrize("refused", ["mkdir", "replace"])
def test_what_the_system_refuses_is_one_sentence_and_leaves_nothing(tiny, monkeypatch, tmp_path, refused):
    path = save_model(tmp_path / "model.safetensors", tiny())
    classifier, folder = coatnet.load(path, "cpu"), tmp_path / "new" / "my-model"

    def refuse(what, *_, **__):
        if "my-model" in Path(what).parts and "tmp" not in Path(what).suffix:
            raise OSError(errno.EROFS, "Read-only file system")
        return allowed(what, *_, **__)

    allowed = getattr(folders.os, refused)
    monkeypatch.setattr(folders.os, refused, refuse)
    with pytest.raises(UserError, match="my-model cannot be written: Read-only file system"):
        write_folder(classifier, folder, some_images(4), None)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_folder_without_a_name_has_a_card(write, monkeypatch, tmp_path):
    """As the root of a disk."""
    monkeypatch.setattr(folders.Path, "name", property(lambda path: "" if path == tmp_path / "my-model" else "x"))
    titles = []
    monkeypatch.setattr(folders, "card", lambda classifier, metrics, name, timm: titles.append(name) or "")
    write({})
    assert titles == ["coatnet"]


def test_what_else_lies_in_the_folder_stays(write, tmp_path):
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "mine.txt").write_text("mine")
    _, folder, _ = write({})
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "config.json",
        "labels.json",
        "mine.txt",
        "model.safetensors",
    ]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("config.json", "[]"),
        ("config.json", "{"),
        ("model.safetensors", "{}"),
        ("model.safetensors", None),
    ],
)
def test_a_broken_folder_is_one_sentence(write, file, content):
    _, folder, _ = write(TIMM_OPTIONS)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(UserError) as error:
        coatnet.load(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_the_configuration_has_each_classes_name(write):
    _, folder, _ = write({})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["label_descriptions"]["n01443537"] == "goldfish, Carassius auratus"
    assert len(config["label_names"]) == config["num_classes"] == 4
