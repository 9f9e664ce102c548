"""Training that starts from a checkpoint: what is kept, resized, new or refused."""

import copy
import re
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save_model
from torch.nn import functional as F

from coatnet import UserError, create_model
from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.machine.processes import World
from coatnet.models import peers
from coatnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from coatnet.training.engine import Trainer
from coatnet.training.init import initial_model
from coatnet.training.progress import fingerprint

from .test_engine import PLAIN, same

HEAD = {"head.weight", "head.bias"}


@pytest.fixture(scope="module")
def shards_of(tiny, tmp_path_factory):
    """`shards_of(classes)`: a data set with so many of them."""

    def make(classes):
        folder = tmp_path_factory.mktemp(f"classes-{classes}")
        write_synthetic(tiny(data__synthetic__classes=classes).data.synthetic, folder / "archive.zip")
        write_shards(folder / "archive.zip", folder / "shards")
        return Shards(folder / "shards")

    return make


@pytest.fixture(scope="module")
def twenty(shards_of):
    return shards_of(20)


@pytest.fixture(scope="module")
def base(tiny, twenty, world, tmp_path_factory):
    """A checkpoint trained on 20 classes, and its history."""
    folder = tmp_path_factory.mktemp("base")
    params = tiny(**PLAIN, train__epochs=4, train__lr=3e-3)
    trained = Trainer(params, twenty, world, folder / "progress").run()
    values = params.model_dump(mode="json")
    save_checkpoint(
        folder / "base.safetensors", Checkpoint(trained.model, values, twenty.classes, twenty.mean, twenty.std)
    )
    return SimpleNamespace(path=str(folder / "base.safetensors"), history=trained.history)


@pytest.fixture
def start(world, tmp_path):
    """A trainer before its first step."""
    return lambda params, shards: Trainer(params, shards, world, tmp_path / "progress")


def weights(path):
    return load_checkpoint(path).model.state_dict()


def test_from_20_to_5_classes(tiny, base, shards_of, start, tmp_path, capsys):
    five = shards_of(5)
    trainer = start(tiny(**PLAIN, train__init=base.path), five)
    assert f"Starting from {base.path}, with a new head for other classes\n" in capsys.readouterr().out
    torch.manual_seed(0)
    fresh, given = create_model(tiny().model, 5).state_dict(), weights(base.path)
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, (fresh if name in HEAD else given)[name]), name
    # The statistics are those of the new images.
    black = trainer.curve.transform(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))[0, :, 0, 0]
    torch.testing.assert_close(black, -torch.tensor(five.mean) / torch.tensor(five.std))

    tuned = trainer.run().history
    (tmp_path / "progress").unlink()
    scratch = start(tiny(**PLAIN), five).run().history
    assert all(ours["eval_loss"] < theirs["eval_loss"] for ours, theirs in zip(tuned, scratch, strict=True))
    assert tuned[-1]["eval_top1"] > scratch[-1]["eval_top1"]


def test_the_same_classes_keep_the_head(tiny, base, twenty, start, capsys):
    trainer = start(tiny(train__init=base.path, train__ema=0.9), twenty)
    assert f"Starting from {base.path}\n" in capsys.readouterr().out
    for model in (trainer.model, trainer.ema.module):
        assert same(model, load_checkpoint(base.path).model)
    point = trainer.curve.point(trainer.model, torch.float32)
    assert point == pytest.approx({name: base.history[-1][name] for name in ("eval_loss", "eval_top1")}, rel=1e-4)


@pytest.mark.parametrize(
    "other", [lambda classes: [(f"x{wnid}", name) for wnid, name in classes], lambda classes: classes[::-1]]
)
def test_as_many_other_classes_or_another_order_take_a_new_head(tiny, base, twenty, start, other):
    shards = copy.copy(twenty)
    shards.classes = other(twenty.classes)
    state, given = start(tiny(train__init=base.path), shards).model.state_dict(), weights(base.path)
    assert {name for name in state if not torch.equal(state[name], given[name])} == HEAD


def test_position_tables_are_resized_to_another_image_size(tiny, base, twenty, start):
    model, given = start(tiny(train__init=base.path, model__image_size=64), twenty).model, weights(base.path)
    tables = model.no_weight_decay()
    assert {model.get_parameter(name).shape[1] for name in tables} == {7, 15}
    for name in tables:
        size = model.get_parameter(name).shape[1:]
        assert torch.equal(model.get_parameter(name), F.interpolate(given[name][None], size, mode="bilinear")[0])
    # So at that size it answers as the checkpoint does there.
    x = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), load_checkpoint(base.path).model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"model__dims": [8, 8, 16, 32]},
            "does not fit this model: down3.weight ([16, 16, 3, 3] there, [32, 16, 3, 3] here), "
            "stage4.0.qkv.weight ([48, 16] there, [96, 32] here)",
        ),
        ({"model__blocks": [1, 1, 2, 1]}, "stage3.1.block.position_table (none there, [4, 7, 7] here)"),
        ({"model__layout": "CCCT"}, "more tensors; its own model is -S model.layout=CCTT"),
        ({"model__variant": "paper", "model__stem_width": 16}, " -S model.variant=table -S model.stem_width=8"),
    ],
)
def test_what_does_not_fit_is_listed(tiny, base, twenty, start, change, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as refused:
        start(tiny(train__init=base.path, **change), twenty)
    assert "\n" not in str(refused.value)


def test_a_timm_model_starts_from_a_timm_model(tiny, shards, twenty, start, tmp_path):
    params = tiny(model__name="timm/test_resnet", train__init=str(tmp_path / "resnet"))
    model = create_model(params.model, 20)
    values = params.model_dump(mode="json")
    save_checkpoint(tmp_path / "resnet", Checkpoint(model, values, twenty.classes, twenty.mean, twenty.std))
    state, given = start(params, shards).model.state_dict(), model.state_dict()
    assert {name for name in state if not torch.equal(state[name], given[name])} == {"fc.weight", "fc.bias"}
    with pytest.raises(UserError, match=r"and \d+ more tensors; its own model is -S model.name=timm/test_resnet"):
        start(tiny(train__init=str(tmp_path / "resnet")), shards)


def test_a_timm_model_starts_from_timms_weights(tiny, shards, start, tmp_path, monkeypatch):
    model = timm.create_model("test_resnet")
    save_model(model, tmp_path / "model.safetensors")
    monkeypatch.setattr(peers, "weights_file", lambda name: str(tmp_path / "model.safetensors"))
    state = start(tiny(model__name="timm/test_resnet", model__pretrained=True), shards).model.state_dict()
    given = model.state_dict()
    assert {name for name in state if not torch.equal(state[name], given[name])} == {"fc.weight", "fc.bias"}


def test_a_file_that_does_not_serve_is_refused(tiny, shards, start, tmp_path):
    params = tiny(train__init=str(tmp_path / "base.safetensors"))
    sentence = r"cannot be read \(No such file or directory\): run `dvc pull .*base.safetensors`, or name another"
    with pytest.raises(UserError, match=sentence):
        start(params, shards)
    (tmp_path / "base.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match=r"base.safetensors is no checkpoint of this version"):
        start(params, shards)


def test_a_run_that_died_ends_as_the_unbroken_one(tiny, base, unbroken_and_resumed):
    unbroken, again = unbroken_and_resumed(tiny(train__init=base.path, train__ema=0.9), (1, 3))
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history


def test_each_process_starts_from_the_same_weights(tiny, base, twenty, capsys):
    first, second = (
        initial_model(tiny(train__init=base.path), twenty, World(rank, 2, torch.device("cpu"))) for rank in (0, 1)
    )
    assert same(first, second)
    assert capsys.readouterr().out.count("Starting from") == 1


def test_progress_is_of_the_checkpoints_bytes(tiny, shards, tmp_path):
    file = tmp_path / "base.safetensors"
    params = tiny(train__init=str(file))
    file.write_bytes(b"a")
    before = fingerprint(params, shards)
    assert fingerprint(params, shards) == before
    file.write_bytes(b"b")
    assert fingerprint(params, shards) != before


def test_two_sources_of_weights_are_refused(tiny):
    with pytest.raises(UserError, match=r"train.init and model.pretrained=true both give the first weights"):
        tiny(model__name="timm/test_resnet", model__pretrained=True, train__init="base.safetensors")
