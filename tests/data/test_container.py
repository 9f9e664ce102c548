"""What all kinds of containers have in common, and what only one of them can do. Zips: also test_archive.py."""

import errno
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from coatnet import UserError
from coatnet.data.container import open_container
from tests.data.layout import pack, pack_tar, put

FILES = {"a/1.png": b"one", "a/b/2.txt": b"two", "3": b"three" * 100_000}
CLUTTER = {"a/.DS_Store": b"", "__MACOSX/a/._1.png": b"", "a/Thumbs.db": b"", ".git/config": b"", "a/@eaDir/1.png": b""}
PACKED = {
    "folder": put,
    "zip": lambda path, files: pack(path, files, root=""),
    "tar": pack_tar,
    "tar.gz": lambda path, files: pack_tar(path, files, compression="gz"),
    "tar.bz2": lambda path, files: pack_tar(path, files, root="", compression="bz2"),
    "tar.xz": lambda path, files: pack_tar(path, files, compression="xz"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_kind_has_the_same_files(tmp_path, kind):
    source = PACKED[kind](tmp_path / "data", FILES | CLUTTER)  # the content tells what it is, not the name
    with open_container(source, tmp_path) as files:
        assert files.names == sorted(FILES)
        assert {name: files.read(name) for name in reversed(files.names)} == FILES
        files.enter("a/")
        assert files.names == ["1.png", "b/2.txt"]
        assert files.read("b/2.txt") == b"two"
    assert os.listdir(tmp_path) == ["data"]


def _with_empty_folders(path: Path, kind: str) -> Path:
    folder = put(path, {"a/b/1.png": b"", "c/.DS_Store": b"", "d/@eaDir/1.png": b"", "__MACOSX/a/1.png": b""})
    for name in ("e/f", ".g/h"):
        (folder / name).mkdir(parents=True)
    if kind == "folder":
        return folder
    return Path(shutil.make_archive(str(path) + "-packed", kind, folder))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_folders_are_there_with_nothing_or_only_hidden_files_in_them(tmp_path, kind):
    with open_container(_with_empty_folders(tmp_path / "data", kind)) as files:
        assert files.folders == {"a", "a/b", "c", "d", "e", "e/f"} and files.names == ["a/b/1.png"]
        files.enter("a/")
        assert files.folders == {"b"}


def test_an_entry_for_the_root_of_all_is_no_file_outside(tmp_path):
    with open_container(pack(tmp_path / "a.zip", {"/": b"", "a/1.png": b"one"}, root="")) as files:
        assert files.names == ["a/1.png"] and files.folders == {"a"}


def test_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put(tmp_path / "data", FILES)
    with open_container("~/data") as files:
        assert files.names == sorted(FILES)


def test_backslashes_of_windows_part_folders(tmp_path):
    source = pack(tmp_path / "a.zip", {"train\\cat\\1.png": b"one", "train\\dog\\": b""}, root="")
    with open_container(source) as files:
        assert files.names == ["train/cat/1.png"]
        assert files.read("train/cat/1.png") == b"one"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_folder_may_be_called_as_a_drive(tmp_path):
    with open_container(put(tmp_path / "data", {"A: cats/1.png": b"one"})) as files:
        assert files.names == ["A: cats/1.png"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing.zip", "No such file or directory"),
        ("~nobodyhere/pics", "Could not determine home directory"),
        ("a\0b", "embedded null byte"),
        pytest.param(
            "x" * 300,
            "File name too long",
            marks=pytest.mark.skipif(os.name == "nt", reason="Windows gives other reasons for a long name"),
        ),
    ],
)
def test_a_path_that_cannot_be_read_is_one_sentence(path, reason):
    with pytest.raises(UserError, match=rf"{path} cannot be read: {reason}"):
        open_container(path)


def test_a_folder_that_may_not_be_entered_is_one_sentence(tmp_path, monkeypatch):
    def refuse(_):  # no permission stops root
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(UserError, match="data cannot be read: Permission denied"):
        open_container(tmp_path / "data")


@pytest.mark.parametrize("name", ["../evil", "train/../../evil", "/etc/evil", "C:/evil"])
def test_a_file_outside_of_a_tar_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="would lie outside of it"):
        open_container(pack_tar(tmp_path / "a.tar", {name: b""}, root=""))


def linked_tar(path: Path, target: str, kind: bytes) -> Path:
    with tarfile.open(path, "w") as out:
        file = tarfile.TarInfo("a/1.png")
        file.size = 3
        out.addfile(file, io.BytesIO(b"one"))
        link = tarfile.TarInfo("a/2.png")
        link.type, link.linkname = kind, target
        out.addfile(link)
    return path


@pytest.mark.parametrize(("target", "kind"), [("1.png", tarfile.SYMTYPE), ("a/1.png", tarfile.LNKTYPE)])
def test_links_within_a_tar_are_followed(tmp_path, target, kind):
    with open_container(linked_tar(tmp_path / "a.tar", target, kind)) as files:
        assert files.read("a/2.png") == b"one"


@pytest.mark.parametrize("target", ["nothing.png", "../../outside.png", "/etc/hostname"])
def test_links_out_of_a_tar_lead_nowhere(tmp_path, target):
    (tmp_path / "outside.png").write_bytes(b"outside")
    source = linked_tar(tmp_path / "a.tar", target, tarfile.SYMTYPE)
    with open_container(source) as files, pytest.raises(UserError, match=r"a/2\.png cannot be read \(it is no file"):
        files.read("a/2.png")


def test_links_in_a_folder_are_followed(tmp_path):
    put(tmp_path / "elsewhere", FILES)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "elsewhere")
    with open_container(tmp_path / "data") as files:
        assert files.names == sorted(f"{link}/{name}" for link in ("again", "train") for name in FILES)


def test_a_link_that_leads_round_in_a_circle(tmp_path):
    put(tmp_path / "data", FILES)
    (tmp_path / "data" / "a" / "round").symlink_to(tmp_path / "data")
    with pytest.raises(UserError, match=r"round is a link to a folder that it lies in: remove it"):
        open_container(tmp_path / "data")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "link.png").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    with open_container(tmp_path) as files:
        for name in ("link.png", "pipe.png"):
            with pytest.raises(UserError, match=rf"{name} cannot be read \(it is no file, or a link to nothing\)"):
                files.read(name)


def _patched(path: Path, find: bytes, put: bytes) -> Path:
    """The zip at `path` with other bytes in the heads of its files."""
    content = path.read_bytes()
    assert find in content and len(find) == len(put)
    path.write_bytes(content.replace(find, put))
    return path


@pytest.mark.parametrize("name", ["Käse/1.png", "猫/1.png"])
def test_a_zip_of_macos_has_its_names_in_utf8_without_a_word(tmp_path, name):
    stand_in = "x" * len(name.encode())  # ASCII, so that the flag for UTF-8 is not set
    source = _patched(pack(tmp_path / "a.zip", {stand_in: b"one"}, root=""), stand_in.encode(), name.encode())
    with open_container(source) as files:
        assert files.names == [name] and files.read(name) == b"one"


def test_a_zip_of_dos_has_its_names_in_its_encoding(tmp_path):
    source = _patched(pack(tmp_path / "a.zip", {"K_se/1.png": b"one"}, root=""), b"K_se", "Käse".encode("cp437"))
    with open_container(source) as files:
        assert files.names == ["Käse/1.png"]


def test_a_zip_whose_names_are_not_in_the_encoding_that_it_says(tmp_path):
    source = pack(tmp_path / "a.zip", {"é/1.png": b"one"}, root="")
    _patched(source, "é/1.png".encode(), b"\xff\xfe/1.png")
    with pytest.raises(UserError, match=r"a\.zip is not a whole zip file"):
        open_container(source)


def test_a_zip_of_a_later_version(tmp_path):
    source = pack(tmp_path / "a.zip", {"1.png": b"one"}, root="")
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99  # the version needed, 9.9
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip is not a whole zip file"):
        open_container(source)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_not_in_utf8(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).touch()
    with pytest.raises(UserError, match=r"the name 'caf\\udce9\.png' is not in UTF-8: rename that file"):
        open_container(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_file_that_was_cut_off(tmp_path, kind):
    source = PACKED[kind](tmp_path / "data", {"a": os.urandom(20_000), "b": b"end"})
    source.write_bytes(source.read_bytes()[:-15_000])
    with pytest.raises(UserError, match=r"data is (not a whole|neither a folder nor a whole|damaged or cut off)"):
        open_container(source, tmp_path)
    assert os.listdir(tmp_path) == ["data"]


def _heads(content: bytes) -> list[int]:
    """Where in an uncompressed tar its members begin."""
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return [member.offset for member in opened]


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_that_was_cut_off_between_two_files(tmp_path, kind):
    whole = pack_tar(tmp_path / "whole", FILES).read_bytes()
    content = whole[: _heads(whole)[-1]]
    (tmp_path / "data").write_bytes(gzip.compress(content) if kind == "tar.gz" else content)
    with pytest.raises(UserError, match=r"data is neither a folder nor a whole zip or tar: fetch or copy it again"):
        open_container(tmp_path / "data")


def test_a_tar_with_a_damaged_head(tmp_path):
    content = bytearray(pack_tar(tmp_path / "data", FILES).read_bytes())
    content[_heads(content)[-1]] ^= 255  # the first letter of a name, so that the checksum is wrong
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(UserError, match=r"data is neither a folder nor a whole zip or tar: fetch or copy it again"):
        open_container(tmp_path / "data")


def test_a_tar_with_a_head_of_zeros_is_not_taken_for_a_shorter_one(tmp_path):
    content = bytearray(pack_tar(tmp_path / "data", FILES).read_bytes())
    head = _heads(content)[1]
    content[head : head + tarfile.BLOCKSIZE] = bytes(tarfile.BLOCKSIZE)
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(UserError, match=r"data is neither a folder nor a whole zip or tar: fetch or copy it again"):
        open_container(tmp_path / "data")


def test_a_zip_with_a_damaged_name_is_one_sentence(tmp_path):
    source = pack(tmp_path / "a.zip", {"vögel.png": b"bird"}, root="")
    content = bytearray(source.read_bytes())
    content[content.index("ö".encode()) + 1] = ord("x")  # of the file itself, not of the list at the end
    source.write_bytes(content)
    with open_container(source) as files, pytest.raises(UserError, match=r"vögel\.png cannot be read \(.*\): fetch"):
        files.read("vögel.png")


def test_a_tar_of_the_program_tar(tmp_path):
    if shutil.which("tar") is None:
        pytest.skip("there is no program tar here")
    put(tmp_path / "folder", FILES)
    for blocks in (1, 20):  # to a record: the zeros at the end fill it
        subprocess.run(["tar", "-cf", "data", "-b", str(blocks), "-C", "folder", "."], cwd=tmp_path, check=True)
        with open_container(tmp_path / "data") as files:
            assert files.names == sorted(FILES)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x1f\x8b", b"PK", b"Rar!\x1a\x07\x00" * 1000])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(UserError, match=r"data is (not a whole|neither a folder nor a whole|damaged or cut off)"):
        open_container(tmp_path / "data")


def test_a_damaged_compressed_tar(tmp_path):
    source = pack_tar(tmp_path / "a.tgz", {"a": os.urandom(20_000)}, compression="gz")
    content = bytearray(source.read_bytes())
    content[10_000] ^= 255
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tgz is damaged or cut off \(.*\): fetch or copy it again"):
        open_container(source)


def test_no_space_to_unpack_is_told_apart_from_damage(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(OSError, match="No space left"):
        open_container(pack_tar(tmp_path / "a.tgz", FILES, compression="gz"))
