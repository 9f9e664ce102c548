"""Which layout is found, and what is refused. Tiny ImageNet's: test_archive.py."""

import re

import pytest

from coatnet import UserError
from coatnet.data.container import open_container
from coatnet.data.layout import read_layout
from tests.data.layout import by_folder, members, pack, put


def found(folder, files, holdout=0.0):
    with open_container(put(folder, files)) as opened:
        return read_layout(opened, holdout)


def renamed(files, **changes):
    """With each name that begins with a key beginning with its value."""
    for old, new in changes.items():
        files = {new + name.removeprefix(old) if name.startswith(old) else name: c for name, c in files.items()}
    return files


@pytest.mark.parametrize("root", ["", "set/", "a/b/set/"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_folder_for_each_class(tmp_path, root, split):
    files = by_folder(split=split) | {"README.md": b"", "notes/1.txt": b""}
    layout = found(tmp_path, {root + name: content for name, content in files.items()})
    assert layout.classes == [("big cat", "big cat"), ("dog", "dog")]
    for where, items, count in (("train", layout.train, 3), (split, layout.test, 2)):
        assert items == [(f"{where}/{c}/{i}.png", n) for n, c in enumerate(("big cat", "dog")) for i in range(count)]
    assert layout.by_folder and not layout.left_out


def test_val_goes_before_test(tmp_path):
    layout = found(tmp_path, by_folder() | by_folder(split="test") | {"test/1.png": b""})
    assert {name.partition("/")[0] for name, _ in layout.test} == {"val"}


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAIN", "VAL"), ("training", "validation"), ("train", "valid"), ("Training", "testing")],
)
@pytest.mark.parametrize("root", ["", "a/set/"])
def test_splits_as_others_spell_them(tmp_path, train, test, root):
    files = renamed(by_folder(split="held"), train=train, held=test)
    layout = found(tmp_path, {root + name: content for name, content in files.items()})
    assert [wnid for wnid, _ in layout.classes] == ["big cat", "dog"]
    for folder, items, count in ((train, layout.train, 6), (test, layout.test, 4)):
        assert len(items) == count and all(name.startswith(f"{folder}/") for name, _ in items)


def test_any_val_goes_before_any_test(tmp_path):
    files = by_folder(split="Test") | by_folder(split="Validation")
    assert {name.partition("/")[0] for name, _ in found(tmp_path, files).test} == {"Validation"}


def test_the_spelling_of_a_class_or_of_a_part_of_one_is_no_split(tmp_path):
    files = {f"{name}/{i}.png": b"" for name in ("valid", "invalid", "dog/training/sit", "dog/Train/run") for i in "01"}
    assert [wnid for wnid, _ in found(tmp_path, files, holdout=0.1).classes] == ["dog", "invalid", "valid"]


@pytest.mark.parametrize("names", [("images/1", "images/2"), ("1", "2", "front/1", "back/1")])
def test_classes_may_hold_the_same_folders(tmp_path, names):
    files = {f"{folder}/{name}.png": b"" for folder in ("cat", "dog") for name in names}
    assert [wnid for wnid, _ in found(tmp_path, files, holdout=0.1).classes] == ["cat", "dog"]


def test_what_lies_deeper_is_left_alone(tmp_path):
    old = {f"old/{name}": content for name, content in by_folder(train=9).items()}
    layout = found(tmp_path, {f"set/{name}": content for name, content in (by_folder() | old).items()})
    assert len(layout.train) == 6


def test_test_images_in_no_class_folder_are_unlabelled(tmp_path):
    layout = found(tmp_path, by_folder(test=0) | {"test/1.png": b""}, holdout=0.1)
    assert layout.test == []


def test_class_folders_alone(tmp_path):
    files = {f"set/{name.removeprefix('train/')}": content for name, content in by_folder(test=0).items()}
    layout = found(tmp_path, files | {"README.md": b"", "set/README.md": b""}, holdout=0.1)
    assert [name for name, _ in layout.train] == [f"{c}/{i}.png" for c in ("big cat", "dog") for i in range(3)]


def test_a_class_may_be_named_train(tmp_path):
    for name in ("train", "Training"):
        files = {f"{folder}/{i}.png": b"" for folder in ("car", name) for i in range(2)}
        assert [wnid for wnid, _ in found(tmp_path / name, files, holdout=0.1).classes] == sorted(["car", name])


def test_images_lie_at_any_depth_in_any_format(tmp_path):
    deep = [f"train/dog/{name}" for name in ("a.JPG", "a/b/c.webp", "a/d.tiff", "b/0.bmp", "z.gif")]
    files = by_folder(train=2, test=0) | dict.fromkeys(deep, b"")
    layout = found(tmp_path, files, holdout=0.1)
    assert [name for name, label in layout.train if label == 1] == ["train/dog/0.png", "train/dog/1.png", *deep]


def test_what_is_no_image_is_counted(tmp_path):
    strays = ("train/dog/notes.txt", "train/dog/more.txt", "val/dog/boxes/1.xml", "train/big cat/LICENSE")
    layout = found(tmp_path, by_folder() | dict.fromkeys(strays, b""))
    assert layout.left_out == {".txt": 2, ".xml": 1, "no extension": 1}


def test_words_name_the_classes(tmp_path):
    layout = found(tmp_path, by_folder() | {"words.txt": b"dog\tDog, hound\nwolf\tWolf\n"})
    assert layout.classes == [("big cat", "big cat"), ("dog", "Dog, hound")]


def test_tiny_imagenet_sorted_into_folders(tmp_path):
    """As many do with its val images, whether they keep the lists or not."""
    files = members()
    rows = [line.split("\t") for line in files["val/val_annotations.txt"].decode().splitlines()]
    for file, wnid, *_ in rows:
        files[f"val/{wnid}/images/{file}"] = files.pop(f"val/images/{file}")
    for number, lists in enumerate(((), ("val/val_annotations.txt",), ("wnids.txt",))):
        for name in lists:
            del files[name]
        layout = found(tmp_path / str(number), files)
        assert layout.classes == [("n01", "goldfish, carp"), ("n02", "bull frog")]
        assert (len(layout.train), len(layout.test)) == (6, 4)


def test_tiny_imagenets_layout_with_images_of_any_format(tmp_path):
    odd = ("train/n01/images/a.webp", "train/n01/images/b.BMP", "val/images/c.gif")
    strays = ("train/n02/images/notes.txt", "val/images/README")
    files = members() | dict.fromkeys(odd + strays, b"")
    files["val/val_annotations.txt"] += b"c.gif\tn02\n"
    layout = found(tmp_path, files)
    assert (len(layout.train), len(layout.test)) == (8, 5)
    assert {name for name, _ in layout.train + layout.test} >= set(odd)
    assert layout.left_out == {".txt": 1, "no extension": 1}  # the boxes beside the images do not count


def test_lists_may_begin_with_a_byte_order_mark(tmp_path):
    files = members()
    plain = found(tmp_path / "plain", files)
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        files[name] = b"\xef\xbb\xbf" + files[name]
    assert found(tmp_path / "marked", files) == plain


def test_a_test_image_listed_twice_of_one_class_is_no_fault(tmp_path):
    files = members()
    files["val/val_annotations.txt"] *= 2
    assert len(found(tmp_path, files).test) == 4


def without_test(files):
    """As the canonical archive of own data may be."""
    return {n: c for n, c in files.items() if not n.startswith("val/images/")} | {"val/val_annotations.txt": b""}


def test_tiny_imagenets_layout_without_test_images(tmp_path):
    layout = found(tmp_path, without_test(members()), holdout=0.1)
    assert (len(layout.train), layout.test) == (6, [])


@pytest.mark.parametrize("where", ["train/wolf", "train/wolf/.thumbs", "train/wolf/images"])
def test_an_empty_class_folder_is_refused(tmp_path, where):
    (tmp_path / where).mkdir(parents=True)
    with pytest.raises(UserError, match="class folder wolf holds no image that is known: add some or remove it"):
        found(tmp_path, by_folder())


@pytest.mark.parametrize("hidden", ["", ".DS_Store"])
def test_an_empty_class_folder_in_a_zip_is_refused(tmp_path, hidden):
    files = {name.removeprefix("train/"): content for name, content in by_folder(test=0).items()}
    source = pack(tmp_path / "a.zip", files | {f"wolf/{hidden}": b""}, root="set/")
    with open_container(source) as opened, pytest.raises(UserError, match="class folder wolf holds no image"):
        read_layout(opened, holdout=0.1)


def test_a_class_folder_that_is_empty_on_one_side_is_refused(tmp_path):
    (tmp_path / "val/wolf").mkdir(parents=True)
    with pytest.raises(UserError, match="class wolf is in train/ but has no images in val/"):
        found(tmp_path, by_folder() | {f"train/wolf/{i}.png": b"" for i in range(2)})


def test_hidden_folders_and_empty_ones_elsewhere_are_no_classes(tmp_path):
    for name in ("train/.cache", "train/__MACOSX", "train/dog/more", "notes", "test/wolf"):
        (tmp_path / name).mkdir(parents=True)
    assert len(found(tmp_path, by_folder()).classes) == 2


KNOWN = "the layouts known are train/CLASS/* with val/CLASS/* or test/CLASS/*, CLASS/* alone, or train/ID/images/*"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, f"holds no images; {KNOWN}"),
        ({"train/cat/1.txt": b""}, "holds no images"),
        (by_folder(test=0), "has no val/CLASS/* or test/CLASS/*: have some training images held out"),
        (by_folder(test=0), "such as by -S data.holdout=0.1"),
        (without_test(members()), "has no val/CLASS/* or test/CLASS/*: have some training images held out"),
        (
            members() | {"val/val_annotations.txt": members()["val/val_annotations.txt"] + b"val_0.JPEG\tn01\n"},
            "val/val_annotations.txt lists val_0.JPEG as of n02 and of n01: keep one of them",
        ),
        ({"1.png": b"", "2.png": b""}, "1.png lies in no class folder"),
        (by_folder() | {"train/0.png": b""}, f"train/0.png lies in no class folder; {KNOWN}"),
        (by_folder() | {"val/0.png": b""}, "val/0.png lies in no class folder"),
        (renamed(by_folder(), train="learn"), "val/ is there, but no train/CLASS/*"),
        (renamed(by_folder(split="Test"), train="learn"), "Test/ is there, but no train/CLASS/*"),
        ({f"{name}/{i}.png": b"" for name in ("Train", "Test") for i in range(2)}, "Test/ is there, but no train/CL"),
        (
            renamed(by_folder(), train="Train") | renamed(by_folder(), train="training"),
            "Train and training could both be meant",
        ),
        (
            renamed(by_folder(split="test_set"), train="training_set"),
            "training_set and test_set look like splits: call them train and val, or, where they are classes, put the",
        ),
        (
            {f"{fold}/{name}/{i}.png": b"" for fold in "abc" for name in ("car", "dog") for i in range(2)},
            "a, b and 1 more look like splits",
        ),
        (
            renamed(by_folder(), **{"train/dog": "train", "train/big cat": "train"}),
            "val/ is there, but no train/CLASS/*",
        ),
        (
            renamed(by_folder(test=0), **{"train/dog": "a/train/dog", "train/big cat": "b/train/cat"}),
            "a/train and b/train could both be meant; the layouts known are",
        ),
        (
            by_folder() | {"train/wolf/1.png": b"", "train/wolf/2.png": b""},
            "class wolf is in train/ but has no images in val/",
        ),
        (by_folder() | {"val/wolf/1.png": b""}, "class wolf is in val/ but has no images in train/"),
        (by_folder() | {"train/wolf/1.txt": b""}, "class folder wolf holds no image that is known"),
        (by_folder(train=1), "class big cat has fewer than 2 training images"),
        (members(train=1), "class n02 has fewer than 2 training images"),
        (renamed(members(), train="Train"), "class n01 has no images in train/n01/images/*.JPEG"),
        (
            {name: content for name, content in by_folder().items() if "dog" in name},
            "dog is the only class, but at least two are needed",
        ),
        (
            renamed(by_folder(), **{"train/dog": "train/ dog", "val/dog": "val/ dog"}),
            "class folder ' dog' has odd white",
        ),
        (
            renamed(by_folder(), **{"train/dog": "train/d\tg", "val/dog": "val/d\tg"}),
            "class folder 'd\\tg' has odd white",
        ),
        ({"wnids.txt": b"dog\ncat\n", "words.txt": b"dog\tDog\n"}, f"val/val_annotations.txt is missing; {KNOWN}"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(tmp_path, files, message):
    source = pack(tmp_path / "a.zip", files, root="")
    with open_container(source) as opened, pytest.raises(UserError, match=re.escape(message)) as raised:
        read_layout(opened, holdout=0.0)
    assert str(source) in str(raised.value) and "\n" not in str(raised.value)
