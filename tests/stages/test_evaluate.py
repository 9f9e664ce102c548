import json

import pandas as pd
import pytest
import torch

from coatnet import UserError, create_model
from coatnet.data import Shards, write_own, write_shards, write_synthetic
from coatnet.inference import classifier
from coatnet.reporting.metrics import accuracy
from coatnet.training.checkpoint import Checkpoint, save_checkpoint
from stages import ARCHIVE, CHECKPOINT, REPORTS, SHARDS, evaluate, train
from tests.data.layout import by_folder, put


@pytest.fixture(scope="module")
def workspace(tiny, tmp_path_factory):
    """Shards and an untrained checkpoint."""
    folder, params = tmp_path_factory.mktemp("evaluate"), tiny()
    write_synthetic(params.data.synthetic, folder / ARCHIVE)
    write_shards(folder / ARCHIVE, folder / SHARDS)
    shards = Shards(folder / SHARDS)
    torch.manual_seed(0)
    model = create_model(params.model, shards.num_classes).eval()
    save_checkpoint(
        folder / CHECKPOINT, Checkpoint(model, params.model_dump(mode="json"), shards.classes, shards.mean, shards.std)
    )
    return folder


@pytest.fixture
def seen(workspace, monkeypatch):
    """Image sizes and crops that the transform was made with."""
    made, transform = [], classifier.EvalTransform
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(classifier, "EvalTransform", lambda **given: made.append(given) or transform(**given))
    return made


def metrics() -> dict:
    return json.loads((REPORTS / "metrics.json").read_text())


def test_the_test_set_at_the_size_trained_at(tiny, seen):
    evaluate.main(tiny())
    assert (seen[0]["image_size"], seen[0]["crop"]) == (32, None)
    found = metrics()
    assert (found["split"], found["images"]) == ("test", 24)
    answers = pd.read_csv(REPORTS / "predictions.csv", dtype=str)
    assert found["top1"] == round(100 * (answers.actual == answers.predicted).mean(), 2)


def test_the_gap_is_what_training_is_above_evaluation(tiny, seen, monkeypatch):
    def known(logits, labels):
        return accuracy(logits, labels) | {"top1": {24: 40.0, 96: 55.0}[len(labels)]}

    monkeypatch.setattr(evaluate, "accuracy", known)
    evaluate.main(tiny())
    assert (metrics()["top1"], metrics()["train_top1"], metrics()["gap"]) == (40.0, 55.0, 15.0)


def test_another_size_and_crop_reach_the_transform(tiny, seen):
    evaluate.main(tiny(evaluate__image_size=64, evaluate__crop=0.875))
    assert (seen[0]["image_size"], seen[0]["crop"]) == (64, 0.875)


def test_held_out_images_stand_in_for_the_test_set(tiny, seen):
    evaluate.main(tiny(data__holdout=0.25))
    assert (metrics()["split"], metrics()["images"]) == ("holdout", 4 * 6)


def test_training_accuracy_is_of_the_fraction_used(tiny, seen, monkeypatch):
    counts, load = {}, Shards.load

    def counting(self, split, **chosen):
        images, labels = load(self, split, **chosen)
        counts[split] = len(images)
        return images, labels

    monkeypatch.setattr(Shards, "load", counting)
    evaluate.main(tiny(data__holdout=0.25, data__fraction=0.5))
    assert counts == {"holdout": 4 * 6, "train": 4 * 9}


def test_without_test_images_it_says_what_to_set(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own(put(tmp_path / "own", by_folder(test=0)), ARCHIVE, size=32, holdout=0.3)
    write_shards(ARCHIVE, SHARDS)
    shards, params = Shards(SHARDS), tiny()
    model = create_model(params.model, shards.num_classes).eval()
    values = params.model_dump(mode="json")
    save_checkpoint(CHECKPOINT, Checkpoint(model, values, shards.classes, shards.mean, shards.std))
    for stage in (train, evaluate):
        with pytest.raises(UserError, match=r"no test images: .* such as by -S data\.holdout=0\.1"):
            stage.main(params)
    evaluate.main(tiny(data__holdout=0.3))
    assert (metrics()["split"], metrics()["images"]) == ("holdout", 2)


def test_other_classes_are_refused(tiny, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = tiny(data__synthetic__classes=3)
    write_synthetic(params.data.synthetic, ARCHIVE)
    write_shards(ARCHIVE, SHARDS)
    CHECKPOINT.parent.mkdir()
    CHECKPOINT.symlink_to(workspace / CHECKPOINT)
    with pytest.raises(UserError, match="was trained on other classes"):
        evaluate.main(params)


def test_a_batch_that_does_not_fit_says_what_to_lower(tiny, seen, monkeypatch):
    def too_much(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(classifier, "predict", too_much)
    with pytest.raises(UserError, match=r"does not hold \d+ images: lower evaluate\.batch_size"):
        evaluate.main(tiny())
