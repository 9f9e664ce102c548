import json
import zipfile

import pytest

from coatnet import UserError
from coatnet.data import Shards
from stages import REPORTS, download, preprocess
from tests.data.layout import by_folder, members, pack, put


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """Both stages on an archive, in a folder of its own, which is returned."""

    def run(archive, folder: str):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        params = tiny(data__archive=str(archive))
        download.main(params)
        preprocess.main(params)
        return tmp_path / folder

    return run


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_repacked_data_give_the_same_outs(photos, run, tmp_path):
    with zipfile.ZipFile(photos) as opened:
        files = {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
    repacked = pack(tmp_path / "repacked.zip", files, root="", backwards=True)
    first, second = run(photos, "first"), run(repacked, "second")
    assert contents(first) == contents(second)
    report = json.loads((first / "reports" / "data.json").read_text())
    assert report["images"] == {"train": 2000, "test": 1000}
    assert Shards(first / "data" / "shards").digest("test") == report["digests"]["test"]


def test_a_bad_image_leaves_no_outs(run, tmp_path):
    broken = pack(tmp_path / "broken.zip", members() | {"train/n01/images/n01_2.JPEG": b"no image"})
    with pytest.raises(UserError, match=r"train/n01/images/n01_2\.JPEG"):
        run(broken, "folder")
    assert contents(tmp_path / "folder") == {}


def test_data_without_test_images_say_so_in_the_report(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = tiny(data__archive=str(put(tmp_path / "own", by_folder(train=4, test=0))), data__holdout=0.25)
    download.main(params)
    preprocess.main(params)
    report = json.loads((REPORTS / "data.json").read_text())
    assert (report["classes"], report["images"], report["size"]) == (2, {"train": 8, "test": 0}, 64)
    assert report["duplicates"]["train_and_test"] == {"groups": 0, "files": []}


def test_without_an_archive(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/archive\.zip cannot be read"):
        preprocess.main(tiny())
    assert contents(tmp_path) == {}
