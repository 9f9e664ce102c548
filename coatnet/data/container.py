"""Files in a folder, a zip or a tar, found by the same names and read one at a time."""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import tarfile
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from ..errors import UserError

_OUTSIDE = re.compile(r"[/\\]|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)  # absolute, or with a ".." in it
_DRIVE = re.compile("[A-Za-z]:")  # of Windows, before a path
# What systems leave behind; so do names that begin with a dot.
_CLUTTER = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
Unpack = Callable[[Path], io.BufferedIOBase]
_UNPACK: dict[bytes, Unpack] = {  # how a compressed file begins, and what reads it
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
_PIECE = 1 << 20  # bytes


class Container(ABC):
    """Use it in a `with`.

    Attributes:
        path: of the folder or the archive.
        names: of its files, sorted, with "/" between folders; hidden files and what systems leave behind left out.
        folders: the same of its folders, also of empty ones, where the archive has these.
    """

    _is_packed = True  # else its names are those of the system, where "A: cats" may be one

    def __init__(self, path: Path):
        self.path = path
        self._opened = ExitStack()
        self._members: dict[str, Any] = {}
        self.folders: set[str] = set()
        try:
            for name, member in self._open():
                self._add(name, member)
        except BaseException:
            self.close()
            raise
        self.names = sorted(self._members)

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def enter(self, root: str) -> None:
        """Keeps what lies under `root` ("" or "FOLDER/.../"), named from there."""
        self._members = {n.removeprefix(root): member for n, member in self._members.items() if n.startswith(root)}
        self.folders = {name.removeprefix(root) for name in self.folders if name.startswith(root)}
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """The content of one of `names`.

        Raises:
            UserError: it is damaged, encrypted, compressed in a way that Python cannot read, or no file.
        """
        try:
            return self._read(self._members[name])
        except (OSError, EOFError, RuntimeError, UnicodeDecodeError, *_DAMAGED) as e:
            reason = getattr(e, "strerror", None) or e
            raise UserError(f"{self.path}: {name} cannot be read ({reason}): fetch or copy it again") from None

    def _add(self, name: str, member: Any) -> None:
        is_folder = name.endswith(("/", "\\"))
        if _OUTSIDE.match(name) or (self._is_packed and _DRIVE.match(name)):
            if is_folder:  # such as "/", which some programs write: nothing lies there
                return
            raise UserError(f"{self.path}: {name!r} would lie outside of it: do not use these data")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{self.path}: the name {name!r} is not in UTF-8: rename that file") from None
        parts = posixpath.normpath(name.replace("\\", "/")).split("/")
        shown = list(takewhile(lambda part: not part.startswith(".") and part not in _CLUTTER, parts))
        if shown == parts and not is_folder:
            self._members["/".join(parts)] = member
        # A folder is there even where all that it holds is hidden.
        folders = shown if is_folder else shown[: len(parts) - 1]
        self.folders.update("/".join(folders[: i + 1]) for i in range(len(folders)))

    @abstractmethod
    def _open(self) -> Iterable[tuple[str, Any]]:
        """The name of each file, and what `_read` knows it by; the name of a folder ends in "/"."""

    @abstractmethod
    def _read(self, member: Any) -> bytes: ...


class _Folder(Container):
    _is_packed = False

    def _open(self) -> Iterable[tuple[str, str]]:
        try:
            yield from _walk(str(self.path), "", ())
        except OSError as error:
            raise UserError(f"{error.filename or self.path} cannot be read: {error.strerror}") from None

    def _read(self, member: str) -> bytes:
        if not os.path.isfile(member):  # opening a pipe would wait for ever
            raise OSError("it is no file, or a link to nothing")
        with open(member, "rb") as file:
            return file.read()


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names, from the first folder on, and paths of all files and folders. Links are followed."""
    real = os.path.realpath(folder)
    if real in above:
        raise UserError(f"{folder} is a link to a folder that it lies in: remove it")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield f"{prefix}{entry.name}/", entry.path
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, real))
            else:
                yield prefix + entry.name, entry.path


def _name(info: zipfile.ZipInfo) -> str:
    """macOS writes UTF-8 without saying so, which Python then reads as an encoding of DOS."""
    if info.flag_bits & 0x800:  # it says so
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


class _Zip(Container):
    def _open(self) -> Iterable[tuple[str, zipfile.ZipInfo]]:
        try:
            self._zip = self._opened.enter_context(zipfile.ZipFile(self.path))
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
            raise UserError(f"{self.path} is not a whole zip file, perhaps cut off: fetch or copy it again") from None
        return [(_name(info), info) for info in self._zip.infolist()]

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        return self._zip.read(member)


class _Tar(Container):
    """Args: `unpack`: what reads the compressed file; `scratch`: the folder for what it held."""

    def __init__(self, path: Path, unpack: Unpack | None, scratch: Path | None):
        self._unpack, self._scratch = unpack, scratch
        super().__init__(path)

    def _open(self) -> Iterable[tuple[str, tarfile.TarInfo]]:
        file: IO[bytes]
        if self._unpack:  # a compressed file can only be read from its beginning
            file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 # closed with all else
            self._opened.enter_context(file)
            self._unpack_to(file, self._unpack)
        else:
            file = self._opened.enter_context(self.path.open("rb"))
        try:
            self._tar = self._opened.enter_context(tarfile.TarFile(fileobj=file))
            members = list(self._tar)
            file.seek(self._tar.offset)
            # Python takes a damaged header, or none, for the end; that is two blocks of zeros, and zeros after them.
            end = 2 * tarfile.BLOCKSIZE
            if file.read(end) != bytes(end) or any(map(any, iter(lambda: file.read(_PIECE), b""))):
                raise tarfile.ReadError("no end")
            return [(f"{member.name}/" if member.isdir() else member.name, member) for member in members]
        except tarfile.TarError:
            raise UserError(f"{self.path} is neither a folder nor a whole zip or tar: fetch or copy it again") from None

    def _unpack_to(self, file: IO[bytes], unpack: Unpack) -> None:
        try:
            with unpack(self.path) as packed, tqdm(desc="unpack", unit="B", unit_scale=True, disable=None) as progress:
                while piece := packed.read(_PIECE):
                    file.write(piece)
                    progress.update(len(piece))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if getattr(error, "errno", None):  # the system's, such as a full disk
                raise
            raise UserError(f"{self.path} is damaged or cut off ({error}): fetch or copy it again") from None
        file.seek(0)

    def _read(self, member: tarfile.TarInfo) -> bytes:
        try:
            file = self._tar.extractfile(member)  # of a link, what it points to; never outside of the tar
        except KeyError:
            file = None
        if file is None:
            raise OSError("it is no file, or a link to nothing in this tar")
        return file.read()


def open_container(path: str | Path, scratch: Path | None = None) -> Container:
    """Opens a folder, a zip or a tar (plain or compressed by gzip, bzip2 or xz), whatever its name ends in.

    Args:
        path: "~" is the user's own folder.
        scratch: the folder in which a compressed tar lies unpacked while it is open (default: the system's).

    Raises:
        UserError: it is nothing of these, cut off or damaged, or a file in it would lie outside of it.
    """
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            start = None
        else:
            with open(path, "rb") as opened:
                start = opened.read(max(map(len, _UNPACK)))
    except (OSError, RuntimeError, ValueError) as error:  # also an unknown "~user", or a path with a NUL
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if start is None:
        return _Folder(path)
    if start.startswith(b"PK"):
        return _Zip(path)
    return _Tar(path, next((unpack for magic, unpack in _UNPACK.items() if start.startswith(magic)), None), scratch)
