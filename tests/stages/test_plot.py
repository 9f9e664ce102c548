import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from coatnet import UserError, create_model
from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.machine.files import write_csv, write_json
from coatnet.training.checkpoint import Checkpoint, save_checkpoint
from stages import ARCHIVE, CHECKPOINT, REPORTS, SHARDS, evaluate, plot
from tests.reporting.conftest import HISTORY, TRAINING


@pytest.fixture(scope="module")
def params(tiny):
    return tiny(plot__dpi=30, plot__images=8)


@pytest.fixture(scope="module")
def workspace(params, tmp_path_factory):
    """What the stages before leave, with an untrained model; then plotted."""
    folder = tmp_path_factory.mktemp("plot")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_synthetic(params.data.synthetic, ARCHIVE)
        write_json(REPORTS / "data.json", write_shards(ARCHIVE, SHARDS))
        shards = Shards(SHARDS)
        torch.manual_seed(0)
        model = create_model(params.model, shards.num_classes).eval()
        values = params.model_dump(mode="json")
        save_checkpoint(CHECKPOINT, Checkpoint(model, values, shards.classes, shards.mean, shards.std))
        write_csv(REPORTS / "history.csv", HISTORY)
        write_json(REPORTS / "train.json", TRAINING)
        evaluate.main(params)
        (plot.FIGURES).mkdir()
        (plot.FIGURES / "of_another_model.png").touch()
        plot.main(params)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_each_figure_has_its_numbers_and_no_old_one_stays(workspace):
    found = {path.name for path in (workspace / plot.FIGURES).iterdir()}
    figures = {name.removesuffix(".png") for name in found if name.endswith(".png")}
    assert found == {f"{name}{ending}" for name in figures for ending in (".png", ".csv")}
    assert figures >= {"loss", "accuracy", "gap", "confusion", "calibration", "attention", "gradcam", "operations"}
    assert "of_another_model" not in figures
    for name in figures:
        assert len(pd.read_csv(workspace / plot.FIGURES / f"{name}.csv")), name
    metrics = json.loads((workspace / REPORTS / "metrics.json").read_text())
    assert f"{metrics['top1']:.2f}%" in (workspace / REPORTS / "index.html").read_text(encoding="utf-8")


def test_again_gives_the_same_bytes(workspace, params, monkeypatch):
    monkeypatch.chdir(workspace)
    before = files(REPORTS) | files(plot.FIGURES)
    plot.main(params)
    assert files(REPORTS) | files(plot.FIGURES) == before


def test_as_many_augmented_images_are_shown_as_asked_for(workspace, params, monkeypatch):
    monkeypatch.chdir(workspace)
    asked = params.plot.images
    train = params.train.model_copy(update={"batch_size": asked - 3})
    plot.main(params.model_copy(update={"train": train}))
    assert pd.read_csv(plot.FIGURES / "augmented.csv").image.nunique() == asked


def test_augmented_images_are_shown_as_the_model_sees_them(workspace, tiny, tmp_path, monkeypatch):
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    runs = []
    monkeypatch.setattr(plot, "report", lambda run: runs.append(run) or ({}, ""))
    crop = {"augment__crop_scale": [1, 1], "augment__crop_ratio": [1, 1], "augment__flip": 0.0}
    passes = {"augment__policy": "none", "augment__passes": ["plain", "erase"], "augment__erase__probability": 0.0}
    plot.main(tiny(**crop, **passes, model__image_size=64, plot__images=7))
    images, _ = Shards(SHARDS).load("train")
    known = {image.numpy().tobytes() for image in images}
    shown = [image.mul(255).round().byte().numpy().tobytes() in known for image in runs[0].augmented]
    assert shown == [True] * 4 + [False] * 4  # as many of each pass
    assert len(runs[0].targets) == 8


def test_reports_of_other_images_are_refused(workspace, params, monkeypatch):
    monkeypatch.chdir(workspace)
    with pytest.raises(UserError, match=r"are not of .* run `dvc repro`"):
        plot.main(params.model_copy(update={"data": params.data.model_copy(update={"holdout": 0.25})}))
