import errno
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from coatnet import UserError
from coatnet.machine.files import atomic_write


def test_a_failure_leaves_the_former_file_and_nothing_else(tmp_path):
    file = tmp_path / "file"
    file.write_text("former")
    with pytest.raises(ZeroDivisionError), atomic_write(file) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "former"


NAMED_OTHERWISE = pytest.mark.skipif(sys.platform == "win32", reason="Windows gives other reasons for a long name")


@pytest.mark.parametrize(
    "place", ["file/below", "file/below/deeper", "folder", pytest.param("x" * 300, marks=NAMED_OTHERWISE)]
)
def test_a_path_that_cannot_be_is_one_sentence(tmp_path, place):
    (tmp_path / "file").write_text("former")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written: "), atomic_write(tmp_path / place) as temporary:
        temporary.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "former"


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EIO])
def test_a_disk_that_cannot_take_the_file_is_one_sentence(tmp_path, number):
    reason = os.strerror(number)
    with (
        pytest.raises(UserError, match=f"file cannot be written: {reason}$"),
        atomic_write(tmp_path / "file") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(number, reason)
    assert not list(tmp_path.iterdir())


def test_folders_are_made(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of its own with 64 KiB free."""
    folder = tmp_path / "full"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode
    ):
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("writer", ["python", "torch", "safetensors"])
def test_a_full_disk_is_one_sentence(full_disk, writer):
    values = torch.zeros(2**20)
    write = {
        "python": lambda path: path.write_bytes(bytes(2**20)),
        "torch": lambda path: torch.save(values, path),
        "safetensors": lambda path: save_file({"values": values}, path),
    }[writer]
    file = full_disk / "file"
    file.write_text("former")
    with pytest.raises(UserError, match=r"no space is left to write .*/file: free some"), atomic_write(file) as path:
        write(path)
    assert [path.name for path in full_disk.iterdir()] == ["file"]
    assert file.read_text() == "former"
