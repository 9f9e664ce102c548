"""`train.init` under the real DVC: the checkpoint is a dependency, so other bytes in it train again."""

import shutil

import pytest

pytestmark = pytest.mark.slow
START = ["train", "-S", "train.init=base.safetensors", "-S", "train.epochs=1"]


def test_a_checkpoint_that_changes_trains_again(repository):
    model, base = (repository.folder / name for name in ("models/model.safetensors", "base.safetensors"))
    first = model.read_bytes()
    base.write_bytes(first)
    assert repository.stages_run("exp", "run", *START) == ["train"]
    assert repository.stages_run("repro", "train") == []
    base.write_bytes(model.read_bytes())
    assert repository.stages_run("repro", "--dry", "train") == ["train"]
    repository.run("git", "checkout", "--quiet", "params.yaml")
    assert repository.stages_run("repro", "train") == []  # from DVC's cache: the run from scratch
    assert model.read_bytes() == first


def test_a_tracked_checkpoint_is_found_in_a_workspace_of_its_own(repository):
    shutil.copy(repository.folder / "models" / "model.safetensors", repository.folder / "base.safetensors")
    repository.dvc("add", "base.safetensors")
    repository.commit("base")
    assert "Starting from base.safetensors\n" in repository.dvc("exp", "run", "--temp", *START).stdout
