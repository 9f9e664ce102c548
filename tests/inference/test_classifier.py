import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

import coatnet
from coatnet import UserError
from coatnet.data.pictures import fit
from coatnet.data.transform import EvalTransform

from .models import CLASSES, save_model, some_images


def pil(image_chw: torch.Tensor) -> Image.Image:
    return F.to_pil_image(image_chw)


def by_hand(classifier, images_n3hw, **settings):
    """The logits, with nothing of this package."""
    checkpoint = classifier.checkpoint
    transform = EvalTransform(mean=checkpoint.mean, std=checkpoint.std, **{"image_size": 32} | settings)
    with torch.no_grad():
        return checkpoint.model(transform(images_n3hw))


def close(found, expected):
    return torch.allclose(found, expected, atol=1e-5)


def test_images_and_tensors_give_the_logits_of_the_evaluation(classifier):
    images = some_images(5)
    expected = by_hand(classifier, images)
    for given in (images, list(images), [pil(image) for image in images]):
        assert close(classifier(given), expected)
    for single in (images[0], pil(images[0])):
        assert close(classifier(single), expected[:1])
    assert expected.argmax(1).unique().numel() > 1  # else any answer would do


def test_other_sizes_go_over_the_size_of_the_data(classifier):
    images = some_images(2, 90, 200)
    fitted = torch.stack([F.pil_to_tensor(fit(pil(image), 64)) for image in images])
    expected = by_hand(classifier, fitted)
    assert close(classifier(images), expected)
    assert close(classifier([pil(images[0]), images[1]]), expected)


def test_pictures_are_brought_to_the_size_of_the_data_trained_on(tiny, tmp_path):
    classifier = coatnet.load(save_model(tmp_path / "model.safetensors", tiny(data__size=48)), device="cpu")
    images = some_images(2, 90, 200)
    fitted = torch.stack([F.pil_to_tensor(fit(pil(image), 48)) for image in images])
    assert close(classifier(images), by_hand(classifier, fitted))


def test_the_transform_and_the_model_by_hand(classifier):
    image = pil(some_images(1)[0])
    x = classifier.transform(image)
    assert x.shape == (3, 32, 32) and classifier.transform([image]).shape == (1, 3, 32, 32)
    with torch.no_grad():
        assert close(classifier.model(x[None]), classifier(image))


def test_any_mode_is_taken(classifier):
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    assert close(classifier(clear), classifier(Image.new("RGB", (64, 64), "white")))
    assert classifier(Image.fromarray(np.zeros((9, 9), np.uint16))).shape == (1, len(CLASSES))


@pytest.mark.parametrize(
    ("overrides", "settings"),
    [
        ({"evaluate__image_size": 64, "evaluate__crop": 0.5}, {"image_size": 64, "crop": 0.5}),
        ({"model__image_size": 64}, {"image_size": 64, "crop": 0.875}),  # the images' own size
    ],
)
def test_it_evaluates_as_its_parameters_say(tiny, tmp_path, overrides, settings):
    classifier = coatnet.load(save_model(tmp_path / "model.safetensors", tiny(**overrides)), device="cpu")
    images = some_images(3)
    assert close(classifier(images), by_hand(classifier, images, **settings))
    assert classifier.transform.crop == settings["crop"]


def test_flip_is_the_mean_over_both_mirror_images(tiny, tmp_path):
    classifier = coatnet.load(save_model(tmp_path / "model.safetensors", tiny(evaluate__flip=True)), device="cpu")
    images = some_images(3)
    expected = (by_hand(classifier, images) + by_hand(classifier, images.flip(3))) / 2
    assert close(classifier(images), expected) and not close(expected, by_hand(classifier, images))


def test_a_checkpoint_from_before_some_parameters_opens(path, tmp_path):
    old = coatnet.load(path).checkpoint
    for section in ("evaluate", "data"):
        del old.params[section]
    coatnet.training.checkpoint.save_checkpoint(tmp_path / "old.safetensors", old)
    images = some_images(3)
    assert close(coatnet.load(tmp_path / "old.safetensors")(images), coatnet.load(path)(images))


def test_answers_are_the_most_probable_classes_best_first(classifier):
    assert classifier.names == ["goldfish", "crane (n02)", "crane (n03)", "n04"]
    (found,) = classifier.answers(torch.tensor([[0.0, 2.0, 1.0, -1.0]]), top=2)
    assert [tuple(answer) for answer in found] == [("n02", "crane (n02)", 0.6439), ("n03", "crane (n03)", 0.2369)]
    assert len(classifier.answers(torch.zeros(1, 4), top=10)[0]) == 4


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8)]
)
def test_other_tensors_are_refused(classifier, wrong):
    with pytest.raises(UserError, match="must be uint8"):
        classifier(wrong)


@pytest.mark.parametrize("wrong", ["cat.jpg", ["cat.jpg"], np.zeros((64, 64, 3), np.uint8)])
def test_other_things_are_no_pictures(classifier, wrong):
    with pytest.raises(UserError, match=r"not (str|ndarray): open files with PIL\.Image\.open"):
        classifier(wrong)


@pytest.mark.parametrize("none", [[], torch.empty(0, 3, 64, 64, dtype=torch.uint8)])
def test_no_pictures_are_no_question(classifier, none):
    with pytest.raises(UserError, match="there are no pictures"):
        classifier(none)


def test_it_computes_in_full_float32_and_the_programs_own_precision_stays(classifier):
    seen = []
    classifier.model.register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    torch.set_float32_matmul_precision("high")
    try:
        classifier(some_images(1))
        assert (seen, torch.get_float32_matmul_precision()) == (["highest"], "high")
    finally:
        torch.set_float32_matmul_precision("highest")


def test_it_computes_on_the_device_asked_for(path, device):
    images = some_images(3)
    found = coatnet.load(path, device)(images)
    assert found.device.type == "cpu" and torch.allclose(found, coatnet.load(path, "cpu")(images), atol=1e-4)


def test_no_model_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint"):
        coatnet.load(tmp_path / "nowhere.safetensors")
