import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from torchvision.io import encode_png

from coatnet import UserError
from coatnet.data import Shards, evenly_spaced, write_own, write_shards
from coatnet.data import shards as module
from coatnet.data.transform import EvalTransform
from tests.data.layout import jpeg, members, pack

REAL_DIGESTS = {
    "train": "290e9f9140bbd60e00209d4f4122fca32b6c6778a89d2230de60b49949355997",
    "test": "a5a22c514610cdf05de9c18bb87ef8a403b84c98477a83505f036c1fd7f3f576",
}


def saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path):
    return pack(tmp_path / "a.zip", members())


@pytest.fixture
def folder(tmp_path, source):
    write_shards(source, tmp_path / "shards")
    return tmp_path / "shards"


@pytest.fixture(scope="module")
def photo_shards(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photo_shards") / "shards"
    return write_shards(photos, folder), Shards(folder)


def test_pixels_are_those_of_another_decoder(photos, photo_shards):
    _, shards = photo_shards
    images, labels = shards.load("train")
    modes = set()
    with zipfile.ZipFile(photos) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".JPEG"))
        for label, (wnid, _) in enumerate(shards.classes):
            of_class = [name for name in names if f"/train/{wnid}/images/" in name]
            for image_chw, name in zip(images[labels == label], of_class, strict=True):
                with Image.open(opened.open(name)) as image:
                    modes.add(image.mode)
                    expected_hwc = np.asarray(image.convert("RGB"))
                assert np.array_equal(image_chw.permute(1, 2, 0).numpy(), expected_hwc)
    assert modes == {"L", "RGB"}


def test_a_channel_that_is_the_same_everywhere_is_not_divided_by_0(tmp_path):
    greys = np.random.default_rng(0).integers(0, 255, (4, 16, 16), dtype=np.uint8)
    for number, grey in enumerate(greys):
        file = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([0 * grey, grey, 0 * grey + 7], axis=2)).save(file)
    write_own(tmp_path / "data", tmp_path / "archive.zip", size=16, holdout=0.5)
    write_shards(tmp_path / "archive.zip", tmp_path / "shards")
    shards = Shards(tmp_path / "shards")
    assert shards.mean[2] == pytest.approx(7 / 255) and shards.std[0] == shards.std[2] == 1
    images, _ = shards.load("train")
    x_n3hw = EvalTransform(image_size=16, crop=1.0, mean=shards.mean, std=shards.std)(images)
    assert x_n3hw.isfinite().all() and x_n3hw[:, 1].std() > 0.5


def test_what_is_loaded_is_what_the_report_says(photo_shards):
    report, shards = photo_shards
    assert shards.num_classes == report["classes"] == 20
    for split, per_class in (("train", 100), ("test", 50)):
        images, labels = shards.load(split)
        assert images.shape == (20 * per_class, 3, 64, 64)
        assert images.is_contiguous()
        assert labels.bincount().tolist() == [per_class] * 20
        digest = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
        assert shards.digest(split) == report["digests"][split] == digest
    images, _ = shards.load("train")
    x = images.numpy() / 255
    np.testing.assert_allclose(shards.mean, x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(shards.std, x.std((0, 2, 3)), rtol=1e-9)


def test_the_real_cut(real_cut, photo_shards):
    _, shards = photo_shards
    assert shards.classes[0] == ("n09256479", "coral reef")
    assert {split: shards.digest(split) for split in REAL_DIGESTS} == REAL_DIGESTS


def test_any_packing_and_any_number_of_threads_give_the_same_bytes(tmp_path, source, folder, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2 * 3 * 64 * 64)  # several tasks
    other = pack(tmp_path / "b.zip", members(), root="", compression=zipfile.ZIP_STORED, backwards=True)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        write_shards(other, tmp_path / "other")
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path / "other") == contents(folder)


def test_files_do_not_show_in_what_is_loaded(tmp_path, source, folder, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 4 * 3 * 64 * 64)
    monkeypatch.setattr(module, "_BLOCK", 3 * 3 * 64 * 64)
    write_shards(source, tmp_path / "small")
    assert len(contents(tmp_path / "small")) == 2 + 1 + 1
    one, several = Shards(folder), Shards(tmp_path / "small")
    assert (one.mean, one.std) == (several.mean, several.std)
    for split in ("train", "test"):
        assert one.digest(split) == several.digest(split)
    for split in ("train", "holdout", "test"):
        for a, b in zip(one.load(split, 0.4), several.load(split, 0.4), strict=True):
            assert torch.equal(a, b)


def test_greyscale_and_cmyk_become_rgb(tmp_path):
    files = members()
    ramp = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    files["train/n02/images/n02_0.JPEG"] = saved(Image.fromarray(ramp))
    files["train/n02/images/n02_1.JPEG"] = saved(Image.fromarray(np.stack([ramp] * 4, -1), "CMYK"))
    write_shards(pack(tmp_path / "a.zip", files), tmp_path / "shards")
    images, _ = Shards(tmp_path / "shards").load("train")
    for i, mode in enumerate(("L", "CMYK")):
        with Image.open(io.BytesIO(files[f"train/n02/images/n02_{i}.JPEG"])) as image:
            assert image.mode == mode
            assert np.array_equal(images[i].permute(1, 2, 0).numpy(), np.asarray(image.convert("RGB")))


def test_duplicates_are_reported(tmp_path):
    files = members()
    files["train/n01/images/n01_0.JPEG"] = files["train/n02/images/n02_2.JPEG"]
    files["val/images/val_3.JPEG"] = files["train/n01/images/n01_1.JPEG"]
    files["train/n01/images/n01_2.JPEG"] = files["train/n01/images/n01_1.JPEG"]
    files["val/images/val_2.JPEG"] = files["val/images/val_0.JPEG"]  # none of training is among them
    report = write_shards(pack(tmp_path / "a.zip", files), tmp_path / "shards")
    assert report["duplicates"] == {
        "train_across_labels": {"groups": 1, "files": [["train/n02/images/n02_2.JPEG", "train/n01/images/n01_0.JPEG"]]},
        "train_and_test": {
            "groups": 1,
            "files": [["train/n01/images/n01_1.JPEG", "train/n01/images/n01_2.JPEG", "val/images/val_3.JPEG"]],
        },
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "does not decode as JPEG"),
        (b"", "does not decode as JPEG"),
        (jpeg(0)[:-300], "does not decode as JPEG"),
        (encode_png(torch.zeros(3, 64, 64, dtype=torch.uint8)).numpy().tobytes(), "does not decode as JPEG"),
        (jpeg(0, height=32), "is 64x32 pixels, but images must be 64x64"),
        (jpeg(0, width=65), "is 65x64 pixels"),
    ],
)
def test_a_bad_image_is_named_and_former_shards_stay(tmp_path, folder, content, message):
    former = contents(folder)
    broken = pack(tmp_path / "b.zip", members() | {"val/images/val_2.JPEG": content})
    with pytest.raises(UserError, match=rf"b\.zip: val/images/val_2\.JPEG {message}"):
        write_shards(broken, folder)
    assert contents(folder) == former
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "b.zip", "shards"}


def test_a_full_disk(tmp_path, source, monkeypatch):
    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(UserError, match="no space is left"):
        write_shards(source, tmp_path / "shards")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_what_a_killed_run_left_is_cleared(tmp_path, source):
    (tmp_path / ".shards.tmp").mkdir()
    (tmp_path / ".shards.tmp" / "left").touch()
    write_shards(source, tmp_path / "shards")
    assert set(contents(tmp_path / "shards")) == {"index.json", "train-0.safetensors", "test-0.safetensors"}


def test_missing_shards(tmp_path):
    with pytest.raises(UserError, match=r"index\.json is missing or broken: preprocess the data again"):
        Shards(tmp_path / "shards")


@pytest.mark.parametrize("cut", [None, 0, 4, 1000, -1])
def test_a_broken_shard_is_named(folder, cut):
    path = folder / "train-0.safetensors"
    if cut is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:cut])
    shards = Shards(folder)
    shards.load("test")
    with pytest.raises(UserError, match=r"train-0\.safetensors is missing or broken"):
        shards.load("train")


def test_a_broken_index(folder):
    text = (folder / "index.json").read_text()
    assert json.loads(text)["classes"] == [["n02", "bull frog"], ["n01", "goldfish, carp"]]
    for broken in (text[:-5], "{}", "[]"):
        (folder / "index.json").write_text(broken)
        with pytest.raises(UserError, match=r"index\.json is missing or broken"):
            Shards(folder)


def test_train_and_holdout_part_the_training_images(folder):
    shards = Shards(folder)
    everything, _ = shards.load("train")
    train, train_labels = shards.load("train", 0.34)
    held, held_labels = shards.load("holdout", 0.34)
    assert train_labels.tolist() == [0, 0, 1, 1]
    assert held_labels.tolist() == [0, 1]
    both = {image.numpy().tobytes() for image in torch.cat([train, held])}
    assert both == {image.numpy().tobytes() for image in everything}
    assert len(shards.load("holdout")[0]) == 0


def test_a_fraction_leaves_the_held_out_images_as_they_are(folder):
    shards = Shards(folder)
    for fraction, count in ((1.0, 2), (0.5, 1), (0.001, 1)):
        images, labels = shards.load("train", 0.34, fraction)
        assert labels.tolist() == [0] * count + [1] * count
        held, _ = shards.load("holdout", 0.34, fraction)
        assert torch.equal(held, shards.load("holdout", 0.34)[0])
        assert not {i.numpy().tobytes() for i in images} & {i.numpy().tobytes() for i in held}
        assert torch.equal(shards.load("test", 0.34, fraction)[0], shards.load("test")[0])


def test_without_test_images_some_must_be_held_out(tmp_path, folder):
    index = json.loads((folder / "index.json").read_text())
    index["files"]["test"] = []
    (folder / "index.json").write_text(json.dumps(index))
    shards = Shards(folder)
    images, labels = shards.load("test")
    assert images.shape == (0, 3, 64, 64) and labels.dtype == torch.int64
    assert shards.evaluated(0.1) == "holdout"
    with pytest.raises(UserError, match=r"no test images: .* such as by -S data\.holdout=0\.1"):
        shards.evaluated(0.0)


@pytest.mark.parametrize(
    ("share", "counts"),
    [(0, [0, 0, 0]), (0.001, [1, 1, 1]), (0.1, [10, 1, 1]), (0.5, [50, 4, 1]), (0.9, [90, 6, 2]), (1, [100, 7, 2])],
)
def test_the_share_is_taken_of_every_class(share, counts):
    labels = torch.tensor([0] * 100 + [1] * 7 + [2] * 2)
    mask = evenly_spaced(labels, share)
    assert [int(mask[labels == label].sum()) for label in range(3)] == counts
    if share == 0.1:
        assert mask[:100].nonzero().flatten().tolist() == list(range(5, 100, 10))
