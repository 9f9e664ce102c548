"""Remotes, clones without the data, and two branches that both ran."""

import pytest

from .conftest import Repository

pytestmark = pytest.mark.slow


@pytest.fixture
def shared(repository, tmp_path) -> Repository:
    """With everything pushed to a remote folder."""
    repository.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    repository.commit("remote")
    repository.dvc("push")
    return repository


@pytest.fixture
def clone(shared, tmp_path) -> Repository:
    """With the trained model, pulled, and no data."""
    shared.run("git", "clone", "--quiet", str(shared.folder), str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    clone.dvc("pull", "models/model.safetensors")
    assert not (clone.folder / "data").exists()
    return clone


def test_a_clone_without_data_evaluates_and_plots_anew(clone):
    assert clone.stages_run("repro", "--allow-missing") == []
    change = ["-S", "evaluate.flip=true"]
    assert clone.stages_run("exp", "run", "--allow-missing", "--pull", *change) == ["evaluate", "plot"]
    assert [path.name for path in (clone.folder / "data").iterdir()] == ["shards"]  # all that these stages read


def test_the_model_is_an_artifact_that_a_tag_gives_a_version(shared, tmp_path):
    shared.run("git", "tag", "--annotate", "coatnet@v1.0.0", "--message", "first")
    url = shared.folder.as_uri()
    shared.dvc("artifacts", "get", url, "coatnet", "--rev", "v1.0.0", "--out", str(tmp_path / "got.safetensors"))
    trained = shared.folder / "models" / "model.safetensors"
    assert (tmp_path / "got.safetensors").read_bytes() == trained.read_bytes()


def test_without_a_remote_the_data_come_from_their_source_and_training_stays(clone):
    clone.dvc("remote", "remove", "store")
    assert clone.stages_run("repro") == ["download", "preprocess"]


def test_two_branches_that_both_ran_are_merged_as_readme_says(repository):
    repository.run("git", "checkout", "--quiet", "-b", "other")
    repository.edit("params.yaml", "dpi: 30", "dpi: 31")
    assert repository.stages_run("repro") == ["plot"]
    repository.commit("other figures")
    repository.run("git", "checkout", "--quiet", "-")
    repository.dvc("checkout")
    repository.edit("params.yaml", "flip: false", "flip: true")
    assert repository.stages_run("repro") == ["evaluate", "plot"]
    repository.commit("other evaluation")
    assert repository.run("git", "merge", "other", check=False).returncode
    assert "<<<<" not in (repository.folder / "dvc.lock").read_text()
    # The recipe: params.yaml as it should be, then
    assert repository.stages_run("repro") == ["plot"]
    repository.commit("merged")
    assert "up to date" in repository.dvc("status").stdout
    assert repository.run("git", "status", "--porcelain").stdout == ""
