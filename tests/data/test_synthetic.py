import pytest

from coatnet.data import Shards, write_canonical, write_shards, write_synthetic
from coatnet.data.archive import Archive
from coatnet.params import SyntheticParams


@pytest.fixture
def write(tmp_path):
    def write(name: str, **changes):
        params = {"seed": 0, "classes": 3, "train_per_class": 12, "test_per_class": 4} | changes
        write_synthetic(SyntheticParams(**params), tmp_path / name)
        return tmp_path / name

    return write


def test_the_seed_alone_decides(write):
    first = write("a.zip").read_bytes()
    assert write("b.zip").read_bytes() == first
    assert write("c.zip", seed=1).read_bytes() != first


def test_it_is_a_canonical_archive(write, tmp_path):
    source = write("a.zip")
    write_canonical(source, tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == source.read_bytes()


def test_every_class_can_be_told_by_its_name(write):
    with Archive(write("a.zip", classes=200, train_per_class=1, test_per_class=1)) as archive:
        names = [name for _, name in archive.classes]
    assert len(set(names)) == 200
    assert names[0] == "red plain circle"


def test_it_becomes_shards_like_any_archive(write, tmp_path):
    report = write_shards(write("a.zip"), tmp_path / "shards")
    assert report["images"] == {"train": 36, "test": 12}
    assert report["duplicates"]["train_and_test"]["groups"] == 0
    images, labels = Shards(tmp_path / "shards").load("train")
    assert labels.bincount().tolist() == [12, 12, 12]
    # A red figure is redder than a white one on the same kind of ground.
    redness = (images[:, 0].float() - images[:, 2].float()).mean((1, 2))
    assert redness[labels == 0].mean() > redness[labels == 1].mean() + 5
