import dataclasses
import re

import pytest
import torch
from safetensors.torch import save

from coatnet import UserError, create_model
from coatnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

CLASSES = [("n01", "fish, goldfish"), ("n02", "cat")]


@pytest.fixture
def checkpoint(tiny):
    params = tiny(model__layout="CCCT", model__blocks=[1, 1, 2, 1])
    model, values = create_model(params.model, 2).eval(), params.model_dump(mode="json")
    return Checkpoint(model, values, CLASSES, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))


def test_a_checkpoint_needs_nothing_beside_it(checkpoint, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    monkeypatch.chdir(tmp_path)  # no params.yaml here
    loaded = load_checkpoint("model.safetensors")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.model(x), checkpoint.model(x))
    assert not loaded.model.training
    for field in ("params", "classes", "mean", "std"):
        assert getattr(loaded, field) == getattr(checkpoint, field)


def test_a_model_outlives_the_parameters_of_other_sections(checkpoint, tmp_path):
    """A released model still loads where training has knobs that it knew nothing of."""
    del checkpoint.params["train"]["clip_norm"], checkpoint.params["plot"]
    model = checkpoint.params["model"]
    del model["pretrained"], model["paper"]["activation"], model["paper"]["fused_stages"]
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    assert load_checkpoint(tmp_path / "model.safetensors").model_params == checkpoint.model_params


def test_equal_checkpoints_are_equal_files(checkpoint, tmp_path):
    for name in "ab":
        save_checkpoint(tmp_path / name, checkpoint)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_channels_last_weights_are_the_same_file(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "a", checkpoint)
    checkpoint.model.to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "b", checkpoint)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_checkpoint_is_refused(checkpoint, tmp_path):
    file = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_checkpoint(file)
    save_checkpoint(file, checkpoint)
    whole = file.read_bytes()
    other = save({"weight": torch.zeros(1)}, metadata={"coatnet": "[]"})  # some other program's
    renamed = whole.replace(b"stem.weight", b"stem.wEight")
    for broken in (whole[:-100], whole[:50], b"", b"\x80\x04pickle", renamed, other):
        file.write_bytes(broken)
        with pytest.raises(UserError, match="is no checkpoint of this version"):
            load_checkpoint(file)


def test_a_refusal_says_why_in_one_line(checkpoint, tmp_path):
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, dataclasses.replace(checkpoint, classes=[*CLASSES, ("n03", "dog")]))
    with pytest.raises(UserError, match=r"of this version: .*size mismatch for head.weight") as refused:
        load_checkpoint(file)
    assert "\n" not in str(refused.value)
    checkpoint.params["model"]["newer"] = 1
    save_checkpoint(file, checkpoint)
    with pytest.raises(UserError, match=r"of this version: .*newer"):
        load_checkpoint(file)
    file.write_bytes(save({"weight": torch.zeros(1)}))
    with pytest.raises(UserError, match="of this version: it is another program's"):
        load_checkpoint(file)


def test_what_is_there_but_cannot_be_read_is_not_called_missing(checkpoint, tmp_path):
    with pytest.raises(UserError, match=re.escape(f"{tmp_path} cannot be read: ")):
        load_checkpoint(tmp_path)
