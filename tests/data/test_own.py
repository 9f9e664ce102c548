"""Pictures as people have them become a canonical archive, and shards."""

import io
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from coatnet import UserError
from coatnet.data import Shards, write_canonical, write_own, write_shards
from coatnet.data.archive import Archive
from coatnet.data.pictures import fit, open_picture
from tests.data.layout import by_folder, jpeg, members, pack, pack_tar, picture, put, saved


def own(source, target, **options) -> bytes:
    write_own(source, target, **({"size": 16} | options))
    return target.read_bytes()


def stored(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_folder_a_zip_and_a_tar_give_the_same_bytes(tmp_path):
    files = by_folder()
    expected = own(put(tmp_path / "folder", files), tmp_path / "0.zip")
    assert own(pack(tmp_path / "a.zip", files, root="any/root/"), tmp_path / "1.zip") == expected
    assert own(pack_tar(tmp_path / "a.tar", files), tmp_path / "2.zip") == expected
    assert own(pack_tar(tmp_path / "a.tgz", files, root="set/", compression="gz"), tmp_path / "3.zip") == expected
    alone = {name.removeprefix("train/"): content for name, content in by_folder(test=0).items()}
    expected = own(put(tmp_path / "no_val", by_folder(test=0)), tmp_path / "4.zip", holdout=0.1)
    assert own(put(tmp_path / "alone", alone), tmp_path / "5.zip", holdout=0.1) == expected


def test_images_are_fitted_and_keep_their_place(tmp_path):
    files = by_folder()
    own(put(tmp_path / "data", files), tmp_path / "a.zip")
    with Archive(tmp_path / "a.zip") as archive:
        assert archive.classes == [("big cat", "big cat"), ("dog", "dog")]
        for items, folder, count in ((archive.train, "train", 3), (archive.test, "val", 2)):
            sources = [f"{folder}/{name}/{i}.png" for name in ("big cat", "dog") for i in range(count)]
            assert [label for _, label in items] == [0] * count + [1] * count
            for (name, _), source in zip(items, sources, strict=True):
                expected = np.asarray(fit(open_picture(files[source]), 16))
                assert np.array_equal(pixels(archive.read(name)), expected)


def test_any_number_of_threads_gives_the_same_bytes(tmp_path):
    source = put(tmp_path / "data", by_folder(train=9))
    expected, threads = own(source, tmp_path / "a.zip"), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert own(source, tmp_path / "b.zip") == expected
    finally:
        torch.set_num_threads(threads)


def odd_pictures() -> dict[str, bytes]:
    rgb = picture(0, 24, 30)
    grey = rgb.convert("L")
    alpha = rgb.copy()
    alpha.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.png": saved(rgb),
        "rgba.png": saved(alpha),
        "grey.png": saved(grey),
        "grey_alpha.png": saved(alpha.convert("LA")),
        "palette.png": saved(rgb.quantize(8)),
        "sixteen.png": saved(deep),
        "one_bit.png": saved(grey.convert("1")),
        "colours.gif": saved(rgb, "GIF"),
        "bitmap.bmp": saved(rgb, "BMP"),
        "lossless.webp": saved(rgb, "WEBP", lossless=True),
        "alpha.webp": saved(alpha, "WEBP", lossless=True),
        "sixteen.tiff": saved(deep, "TIFF"),
        "cmyk.tif": saved(rgb.convert("CMYK"), "TIFF"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "turned.jpeg": saved(rgb, "JPEG", exif=turned),
        "grey.JPG": saved(grey, "JPEG"),
        "plain.ppm": saved(rgb, "PPM"),
        "jpeg_inside.png": saved(rgb, "JPEG"),
    }


def test_any_format_and_mode(tmp_path):
    odd = odd_pictures()
    files = by_folder(train=2) | {f"train/dog/odd/{name}": content for name, content in odd.items()}
    own(put(tmp_path / "data", files), tmp_path / "a.zip", size=24)
    write_shards(tmp_path / "a.zip", tmp_path / "shards")
    images, labels = Shards(tmp_path / "shards").load("train")
    names = ["train/dog/0.png", "train/dog/1.png", *(f"train/dog/odd/{name}" for name in sorted(odd))]
    for image_chw, name in zip(images[labels == 1], names, strict=True):
        expected = np.asarray(fit(open_picture(files[name]), 24))
        assert np.array_equal(image_chw.permute(1, 2, 0).numpy(), expected), name


def test_white_space_in_names_does_not_break_the_lists(tmp_path):
    files = by_folder() | {"val/dog/a name\twith\nspace.png": saved(picture(9))}
    own(put(tmp_path / "data", files), tmp_path / "a.zip")
    with Archive(tmp_path / "a.zip") as archive:
        assert len(archive.test) == 5


def test_jpegs_of_the_right_size_are_copied(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    files = by_folder(train=2)
    for name, content in (
        ("a.jpg", jpeg(1, 16, 16)),
        ("b.png", jpeg(2, 16, 16)),
        ("c.jpg", jpeg(3, 16, 17)),
        ("d.jpg", saved(picture(4, 16, 16), "JPEG", exif=turned)),  # the shards' decoder would not turn it
        ("e.png", saved(picture(5, 16, 16))),
    ):
        files[f"train/dog/{name}"] = content
    content = stored(own(put(tmp_path / "data", files), tmp_path / "a.zip"))
    ends = {name[-6:]: stored for name, stored in content.items() if name.startswith("train/dog/")}
    assert ends.keys() == {"-0.png", "-1.png", "-a.jpg", "b.JPEG", "-c.png", "-d.png", "-e.png"}
    assert ends["-a.jpg"] == files["train/dog/a.jpg"] and ends["b.JPEG"] == files["train/dog/b.png"]
    assert np.array_equal(pixels(ends["-d.png"]), np.asarray(open_picture(files["train/dog/d.jpg"])))


def test_colour_profiles_are_left_out(tmp_path):
    files = by_folder() | {"train/dog/9.png": saved(picture(9), icc_profile=np.random.default_rng(0).bytes(9000))}
    content = stored(own(put(tmp_path / "data", files), tmp_path / "a.zip"))
    assert len(files["train/dog/9.png"]) > 9000 and max(map(len, content.values())) < 2000


def test_tiny_imagenets_layout_at_its_own_size_is_copied(tmp_path):
    source = pack(tmp_path / "a.zip", members())
    write_canonical(source, tmp_path / "b.zip")
    assert own(source, tmp_path / "c.zip", size=64) == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("size", [8, 96])
def test_tiny_imagenets_layout_at_another_size(tmp_path, size):
    files = members()
    own(pack(tmp_path / "a.zip", files), tmp_path / "b.zip", size=size)
    with Archive(tmp_path / "b.zip") as archive:
        assert archive.classes == [("n02", "bull frog"), ("n01", "goldfish, carp")]
        for name, _ in archive.train + archive.test:
            source = files[name.replace(".png", ".JPEG")]
            assert np.array_equal(pixels(archive.read(name)), np.asarray(fit(open_picture(source), size)))


def test_what_tiny_imagenets_layout_has_twice_is_left_to_the_report(tmp_path):
    files = members()
    files["val/images/val_0.JPEG"] = files["train/n01/images/n01_0.JPEG"]
    own(pack(tmp_path / "a.zip", files), tmp_path / "b.zip")


def test_names_that_differ_in_their_extensions_alone(tmp_path):
    files = members()
    files["train/n01/images/n01_0.png"] = files["train/n01/images/n01_0.JPEG"]
    with pytest.raises(UserError, match=r"n01_0\.JPEG and .*/n01_0\.png differ in their extensions alone"):
        own(pack(tmp_path / "a.zip", files), tmp_path / "b.zip")


def test_what_is_left_out_is_said(tmp_path, capsys):
    own(put(tmp_path / "data", by_folder() | {"train/dog/notes.txt": b"", "train/dog/a.json": b""}), tmp_path / "a.zip")
    assert "left out what is no image: 1 .json, 1 .txt" in capsys.readouterr().out


def test_what_was_found_is_said(tmp_path, capsys):
    own(put(tmp_path / "data", by_folder()), tmp_path / "a.zip")
    assert f"{tmp_path / 'data'}: 2 classes, 6 training and 4 test images\n" in capsys.readouterr().out


def copied(source, target):
    def change(files):
        return files | {target: files[source]}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda files: files | {"train/dog/9.png": b"no image"},
            "train/dog/9.png is no image that Pillow reads: mend or",
        ),
        (lambda files: files | {"train/dog/9.png": b""}, "train/dog/9.png is empty: mend or remove it"),
        (lambda files: files | {"val/dog/9.png": files["val/dog/0.png"][:-60]}, "val/dog/9.png is a broken image"),
        (
            copied("train/dog/0.png", "train/big cat/copy.png"),
            "train/big cat/copy.png and train/dog/0.png are one file of two classes: remove one",
        ),
        (
            copied("train/dog/0.png", "val/dog/copy.png"),
            "train/dog/0.png and val/dog/copy.png are one file in training and test: remove one",
        ),
        (copied("val/dog/0.png", "val/big cat/copy.png"), "val/big cat/copy.png and val/dog/0.png are one file of two"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(tmp_path, change, message):
    source = put(tmp_path / "data", change(by_folder()))
    (tmp_path / "a.zip").write_bytes(b"former")
    with pytest.raises(UserError, match=re.escape(f"{source}: {message}")) as raised:
        own(source, tmp_path / "a.zip")
    assert "\n" not in str(raised.value) and ";" not in str(raised.value)
    assert (tmp_path / "a.zip").read_bytes() == b"former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "data"]


def test_several_bad_files_are_named_at_once(tmp_path):
    files = by_folder() | {f"train/dog/bad{i:02d}.png": b"no image" + bytes([i]) for i in range(12)}
    files["val/dog/copy.png"] = files["train/dog/0.png"]
    with pytest.raises(UserError) as raised:
        own(put(tmp_path / "data", files), tmp_path / "a.zip")
    message = str(raised.value)
    assert message.count("is no image") == 10 and message.endswith("; and 3 more") and message.count(str(tmp_path)) == 1


def test_the_same_file_twice_in_one_class_is_no_fault(tmp_path):
    own(put(tmp_path / "data", copied("train/dog/0.png", "train/dog/copy.png")(by_folder())), tmp_path / "a.zip")


def test_of_copies_in_one_class_the_first_is_stored(tmp_path, capsys):
    """Else `data.holdout` could hold one of them out and train on another."""
    files = by_folder()
    for source, target in (("train/dog/0.png", "train/dog/a/0.png"), ("val/dog/1.png", "val/dog/copy.png")):
        files[target] = files[source]
    files["train/dog/copy.png"] = files["train/dog/0.png"]
    own(put(tmp_path / "data", files), tmp_path / "a.zip")
    with Archive(tmp_path / "a.zip") as archive:
        assert (len(archive.train), len(archive.test)) == (6, 4)
        contents = [archive.read(name) for name, _ in archive.train + archive.test]
        assert len(set(contents)) == 10
    assert "data: left out 3 copies of files in the same class, such as train/dog/a/0.png" in capsys.readouterr().out


def test_copies_change_nothing_else(tmp_path):
    """What comes after a copy keeps its name."""
    files = by_folder() | {"train/dog/9.png": saved(picture(9))}
    content = stored(own(put(tmp_path / "one", files), tmp_path / "a.zip"))
    files["train/dog/2.png"] = files["train/dog/1.png"]
    del content["train/dog/images/000005-2.png"]
    assert stored(own(put(tmp_path / "two", files), tmp_path / "a.zip")) == content


def test_a_class_of_copies_alone(tmp_path):
    files = by_folder()
    for name in ("1", "2"):
        files[f"train/dog/{name}.png"] = files["train/dog/0.png"]
    with pytest.raises(UserError, match=r"class dog has nothing but copies of one training image: add others or"):
        own(put(tmp_path / "data", files), tmp_path / "a.zip")


def test_copies_of_a_broken_file_are_named_with_it(tmp_path):
    """Whoever removed the first alone would be told the next."""
    source = put(tmp_path / "data", by_folder() | {f"train/dog/{name}.png": b"" for name in "89"})
    with pytest.raises(UserError, match=r"8\.png is empty: .*; train/dog/9\.png is a copy of train/dog/8\.png: remove"):
        own(source, tmp_path / "a.zip")


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    source = put(tmp_path / "data", by_folder())
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(UserError, match=r"no space is left to write .*a\.zip"):
        own(source, tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
