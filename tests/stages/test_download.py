import hashlib
import os
import subprocess
import sys

import pytest

from coatnet import UserError
from coatnet.data import Shards, write_canonical, write_shards
from stages import download
from tests.conftest import PARAMS, ROOT
from tests.data.layout import by_folder, members, pack, put
from tests.data.server import serve


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """An empty folder to run in, and no copy in the environment."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TINY_IMAGENET_ZIP", raising=False)
    monkeypatch.setattr("coatnet.data.download.BACKOFF", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


@pytest.fixture
def source(tmp_path):
    """Stands for the official archive."""
    return pack(tmp_path / "official.zip", members())


@pytest.fixture
def expected(tmp_path, source, monkeypatch) -> bytes:
    write_canonical(source, tmp_path / "canonical.zip")
    content = (tmp_path / "canonical.zip").read_bytes()
    monkeypatch.setattr(download, "OFFICIAL_SHA256", hashlib.sha256(content).hexdigest())
    return content


def files(workspace) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file())


def test_the_official_archive_is_downloaded(tiny, workspace, source, expected):
    with serve(source.read_bytes()) as server:
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        download.main(tiny(data__source="tiny-imagenet", data__urls=[server.url], data__sha256=sha256))
    assert (workspace / "data/archive.zip").read_bytes() == expected
    assert files(workspace) == ["data/archive.zip"]


def test_a_download_that_was_cut_off_goes_on_in_the_next_run(tiny, workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("coatnet.data.download.TRIES", 1)
    content = pack(tmp_path / "large.zip", members(train=80)).read_bytes()
    params = {"data__source": "tiny-imagenet", "data__sha256": hashlib.sha256(content).hexdigest()}
    with serve(content, breaks=1) as server, pytest.raises(UserError, match="the connection broke off"):
        download.main(tiny(**params, data__urls=[server.url]))
    assert "data/archive.zip" not in files(workspace)
    with serve(content) as server:
        download.main(tiny(**params, data__urls=[server.url]))
    assert server.asked[0].startswith("bytes=")
    assert files(workspace) == ["data/archive.zip"]


def test_a_copy_packed_otherwise_gives_the_same_bytes(tiny, workspace, tmp_path, expected, monkeypatch):
    copy = pack(tmp_path / "copy.zip", members(), compression=0, backwards=True)
    monkeypatch.setenv("TINY_IMAGENET_ZIP", str(copy))
    download.main(tiny(data__source="tiny-imagenet", data__urls=["http://127.0.0.1:9/"]))
    assert (workspace / "data/archive.zip").read_bytes() == expected


def test_a_copy_with_other_content_is_refused(tiny, workspace, tmp_path, expected, monkeypatch):
    copy = pack(tmp_path / "copy.zip", members(train=4))
    monkeypatch.setenv("TINY_IMAGENET_ZIP", str(copy))
    with pytest.raises(UserError, match=r"copy\.zip does not hold the official Tiny ImageNet"):
        download.main(tiny(data__source="tiny-imagenet"))
    assert files(workspace) == []


def test_a_copy_that_is_not_there(tiny, workspace, monkeypatch):
    monkeypatch.setenv("TINY_IMAGENET_ZIP", "nowhere.zip")
    with pytest.raises(UserError, match=r"nowhere\.zip cannot be read"):
        download.main(tiny(data__source="tiny-imagenet"))
    assert files(workspace) == []


def test_no_network_names_the_way_to_use_a_copy(tiny, workspace):
    with pytest.raises(UserError, match="or set TINY_IMAGENET_ZIP to the path of a copy"):
        download.main(tiny(data__source="tiny-imagenet", data__urls=["http://127.0.0.1:9/file.zip"]))
    assert files(workspace) == []


@pytest.mark.parametrize("source_name", ["tiny-imagenet", "synthetic"])
def test_other_data_goes_before_the_source(tiny, workspace, tmp_path, expected, source_name):
    other = pack(tmp_path / "other.zip", members(train=4))
    download.main(tiny(data__source=source_name, data__archive=str(other)))
    write_canonical(other, tmp_path / "other-canonical.zip")
    assert (workspace / "data/archive.zip").read_bytes() == (tmp_path / "other-canonical.zip").read_bytes()


def test_own_data_without_test_images_ask_for_a_holdout(tiny, workspace, tmp_path):
    source = str(put(tmp_path / "own", by_folder(test=0)))
    with pytest.raises(UserError, match=r"own has no val/CLASS/\*.* such as by -S data\.holdout=0\.1"):
        download.main(tiny(data__archive=source))
    assert files(workspace) == []
    download.main(tiny(data__archive=source, data__holdout=0.1))
    assert files(workspace) == ["data/archive.zip"]


@pytest.mark.parametrize("given", ["own", "official", "synthetic", "copy"])
def test_every_source_gives_images_of_the_size_asked_for(
    tiny, workspace, tmp_path, source, expected, monkeypatch, given
):
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    with serve(source.read_bytes()) as server:
        params = {"data__size": 24, "data__source": "tiny-imagenet", "data__urls": [server.url], "data__sha256": sha256}
        if given == "own":
            params["data__archive"] = str(put(tmp_path / "own", by_folder()))
        elif given == "synthetic":
            params["data__source"] = "synthetic"
        elif given == "copy":
            monkeypatch.setenv("TINY_IMAGENET_ZIP", str(source))
        download.main(tiny(**params))
    write_shards("data/archive.zip", "data/shards")
    shards = Shards("data/shards")
    assert shards.size == 24 and shards.load("train")[0].shape[1:] == (3, 24, 24)
    assert files(workspace / "data") == ["archive.zip", *(f"shards/{n}" for n in sorted(os.listdir("data/shards")))]


def test_a_copy_with_other_content_is_refused_at_any_size(tiny, workspace, tmp_path, expected, monkeypatch):
    monkeypatch.setenv("TINY_IMAGENET_ZIP", str(pack(tmp_path / "copy.zip", members(train=4))))
    with pytest.raises(UserError, match=r"copy\.zip does not hold the official Tiny ImageNet"):
        download.main(tiny(data__source="tiny-imagenet", data__size=32))
    assert files(workspace) == []


def test_a_failure_at_another_size_leaves_nothing(tiny, workspace, source, expected, monkeypatch):
    def fail(*_, **__):
        raise UserError("no space")

    monkeypatch.setattr(download, "write_own", fail)
    monkeypatch.setenv("TINY_IMAGENET_ZIP", str(source))
    with pytest.raises(UserError, match="no space"):
        download.main(tiny(data__source="tiny-imagenet", data__size=32))
    assert files(workspace) == []


def test_an_error_is_one_sentence_and_exit_status_1(workspace):
    params = PARAMS.read_text().replace("archive: null", "archive: nowhere.zip")
    (workspace / "params.yaml").write_text(params)
    done = subprocess.run(
        [sys.executable, "-m", "stages.download"], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: nowhere.zip cannot be read: No such file or directory\n"
    assert files(workspace) == ["params.yaml"]
