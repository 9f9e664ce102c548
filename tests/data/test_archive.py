import errno
import hashlib
import re
import zipfile

import pytest

from coatnet import UserError
from coatnet.data import OFFICIAL_SHA256, write_canonical
from coatnet.data.archive import Archive, sha256_of
from tests.data.layout import members, pack


def canonical(source, tmp_path) -> bytes:
    write_canonical(source, tmp_path / "canonical.zip")
    return (tmp_path / "canonical.zip").read_bytes()


def test_the_layout_is_read_by_class_then_by_name(tmp_path):
    with Archive(pack(tmp_path / "a.zip", members(train=2))) as archive:
        assert archive.classes == [("n02", "bull frog"), ("n01", "goldfish, carp")]
        assert archive.train == [
            ("train/n02/images/n02_0.JPEG", 0),
            ("train/n02/images/n02_1.JPEG", 0),
            ("train/n01/images/n01_0.JPEG", 1),
            ("train/n01/images/n01_1.JPEG", 1),
        ]
        assert archive.test == [(f"val/images/val_{i}.JPEG", label) for i, label in [(0, 0), (2, 0), (1, 1), (3, 1)]]
        assert archive.read("train/n01/images/n01_0.JPEG") == members()["train/n01/images/n01_0.JPEG"]


def test_any_packing_gives_the_same_canonical_bytes(tmp_path):
    files = members()
    expected = canonical(pack(tmp_path / "a.zip", files), tmp_path)
    other = pack(tmp_path / "b.zip", files, root="", compression=zipfile.ZIP_STORED, backwards=True)
    assert canonical(other, tmp_path) == expected
    rows = files["val/val_annotations.txt"].splitlines()
    files["val/val_annotations.txt"] = b"\r\n".join(reversed(rows))
    files["words.txt"] += b"n03\tnot a class here\n"
    files["__MACOSX/train/n01/images/._n01_0.JPEG"] = b"not an image"
    assert canonical(pack(tmp_path / "c.zip", files, root="renamed/"), tmp_path) == expected
    assert canonical(tmp_path / "canonical.zip", tmp_path) == expected


def test_the_canonical_bytes_are_the_same_on_every_machine(tmp_path):
    """A new Python that packs otherwise would outdate every committed dvc.lock, and `OFFICIAL_SHA256`."""
    files = {name: content if name.endswith(".txt") else name.encode() for name, content in members().items()}
    content = canonical(pack(tmp_path / "a.zip", files), tmp_path)
    assert hashlib.sha256(content).hexdigest() == "c0a168c04d58351f465a803b999542dbc1c9bddbd3df44e024bd57deeff60262"
    with zipfile.ZipFile(tmp_path / "canonical.zip") as opened:
        names = opened.namelist()
        assert names == sorted(names)
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
        assert not [name for name in names if "boxes" in name or name.startswith("test/")]


def test_the_real_cut(real_cut, tmp_path):
    expected = "02d7bc4648fb1f74bf3b6b4f4d5cd6f9e290920ff372aae68554d0ce5a840231"
    write_canonical(real_cut, tmp_path / "a.zip", expected)
    assert sha256_of(tmp_path / "a.zip") == expected


def test_other_content_than_expected_is_refused(tmp_path):
    source = pack(tmp_path / "a.zip", members())
    with pytest.raises(UserError, match=r"a\.zip does not hold the official Tiny ImageNet"):
        write_canonical(source, tmp_path / "out" / "a.zip", OFFICIAL_SHA256)
    assert list((tmp_path / "out").iterdir()) == []


def without(*names):
    return lambda files: {name: content for name, content in files.items() if not name.startswith(names)}


def added(name, content=b"content"):
    return lambda files: files | {name: content}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("wnids.txt"), "wnids.txt is missing"),
        (without("words.txt"), "words.txt is missing"),
        (without("val/val_annotations.txt"), "val/val_annotations.txt is missing"),
        (added("wnids.txt", b""), "wnids.txt must name at least two classes"),
        (added("wnids.txt", b"n02\n"), "wnids.txt must name at least two classes"),
        (added("wnids.txt", b"n02\nn01\nn02\n"), "none twice"),
        (added("wnids.txt", b"n02\nn01\nn03\n"), "class n03 has no images in train/n03/images/*.JPEG"),
        (added("wnids.txt", b"n02\nn03\n"), "n01_0.JPEG is of class n01, which wnids.txt does not list"),
        (without("train/n01/images"), "class n01 has no images in train/n01/images/*.JPEG"),
        (added("val/val_annotations.txt", b"val_0.JPEG\tn02\n"), "does not list val/images/val_1.JPEG"),
        (added("val/val_annotations.txt", b"val_0.JPEG n02\n"), "has the row 'val_0.JPEG n02', but 2 columns"),
        (without("val/images/val_3"), "lists val/images/val_3.JPEG, which is not there"),
        (
            lambda files: added("wnids.txt", b"n02\nn01\nn03\n")(added("train/n03/images/n03_0.JPEG")(files)),
            "class n03 has no images in val/images/*.JPEG",
        ),
    ],
)
def test_what_breaks_the_layout_is_named(tmp_path, change, message):
    source = pack(tmp_path / "a.zip", change(members()))
    with pytest.raises(UserError, match=re.escape(message)):
        write_canonical(source, tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("name", ["../evil", "train/../../evil", "/etc/evil", "..\\evil", "C:evil", "\\evil", "a/.."])
def test_members_that_would_lie_outside_are_refused(tmp_path, name):
    source = pack(tmp_path / "a.zip", members() | {name: b""}, root="")
    with pytest.raises(UserError, match="would lie outside"):
        Archive(source)


def test_dots_within_a_name_are_no_way_out(tmp_path):
    Archive(pack(tmp_path / "a.zip", members() | {"a..b/..c/d..": b""}, root=""))


def test_a_truncated_zip(tmp_path):
    source = pack(tmp_path / "a.zip", members())
    source.write_bytes(source.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"a\.zip is not a whole zip file"):
        Archive(source)


def test_a_missing_zip(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Archive(tmp_path / "a.zip")


def test_a_damaged_member_is_named(tmp_path):
    files = members()
    source = pack(tmp_path / "a.zip", files, compression=zipfile.ZIP_STORED)
    image = files["val/images/val_2.JPEG"]
    source.write_bytes(source.read_bytes().replace(image, image[:-9] + b"damaged!!"))
    former = tmp_path / "out.zip"
    former.write_bytes(b"former")
    with pytest.raises(UserError, match=r"val/images/val_2\.JPEG cannot be read \(Bad CRC"):
        write_canonical(source, former)
    assert former.read_bytes() == b"former"


def test_an_encrypted_member_is_named(tmp_path):
    source = pack(tmp_path / "a.zip", {"wnids.txt": b"n01"})
    packed = bytearray(source.read_bytes())
    packed[packed.find(b"PK\x03\x04") + 6] |= 1  # the flag in the member's own header
    packed[packed.find(b"PK\x01\x02") + 8] |= 1  # and in the directory
    source.write_bytes(packed)
    with pytest.raises(UserError, match=r"wnids\.txt cannot be read .*encrypted"):
        Archive(source)


def test_a_full_disk(tmp_path, monkeypatch):
    source = pack(tmp_path / "a.zip", members())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(UserError, match=r"no space is left to write .*out\.zip"):
        write_canonical(source, tmp_path / "out.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
