"""The archive: a zip in Tiny ImageNet's layout, read with care and written in one canonical form.

The layout, under any one folder or none:

    wnids.txt                       class ids, one a line; their order numbers the classes
    words.txt                       class id TAB names
    train/ID/images/*.JPEG
    val/images/*.JPEG
    val/val_annotations.txt         file name TAB class id [TAB anything]

Whatever else an archive holds (boxes, unlabelled images) is left alone.
"""

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..machine.files import atomic_write

# SHA-256 of the canonical archive of the official data, however that was packed.
OFFICIAL_SHA256 = "baa8dae4b1ece1714033c40388b459c5f4687e272d05e53d8ee4ba7d8016ec79"

WNIDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)  # absolute, or with a ".." in it
_TRAIN = re.compile(r"train/([^/]+)/images/[^/]+\.jpe?g", re.IGNORECASE)
_TEST = re.compile(r"val/images/[^/]+\.jpe?g", re.IGNORECASE)


class Archive:
    """An open archive whose layout was checked; use it in a `with`.

    Attributes:
        classes: (id, names) of each class, in the order of `wnids.txt`.
        train: (member, label) of each training image, by label, then by name.
        test: the same of the `val` images.

    Raises:
        UserError: the file is no whole zip, a member would lie outside of it, a list or a class's images are missing,
            or lists and images disagree.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise UserError(f"{path} is not a whole zip file, perhaps cut off: fetch or copy it again") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._read_layout()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, member: str) -> bytes:
        """The bytes of a member, named as in the layout.

        Raises:
            UserError: it is damaged, encrypted, or compressed in a way that Python cannot read.
        """
        try:
            return self._zip.read(self._root + member)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            raise UserError(f"{self.path}: {member} cannot be read ({error}): fetch or copy the zip again") from None

    def _read_layout(self) -> None:
        names = [name for name in self._zip.namelist() if not name.endswith("/")]
        if outside := next(filter(_OUTSIDE.match, names), None):
            raise UserError(f"{self.path}: {outside!r} would lie outside of the archive: do not use this zip")
        roots = [name.removesuffix(WNIDS) for name in names if name == WNIDS or name.endswith("/" + WNIDS)]
        self._root = min(roots, key=len, default="")
        self._names = sorted(name.removeprefix(self._root) for name in names if name.startswith(self._root))

        wnids = [row[0] for row in self._rows(WNIDS)]
        words = {wnid: text for wnid, text, *_ in self._rows(WORDS, columns=2)}
        self.classes = [(wnid, words.get(wnid, wnid)) for wnid in wnids]
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        if len(wnids) < 2 or len(labels) < len(wnids):
            raise UserError(f"{self.path}: {WNIDS} must name at least two classes, and none twice")
        annotated = {f"val/images/{file}": wnid for file, wnid, *_ in self._rows(ANNOTATIONS, columns=2)}

        train = {name: match[1] for name in self._names if (match := _TRAIN.fullmatch(name))}
        tested = [name for name in self._names if _TEST.fullmatch(name)]
        if lost := annotated.keys() - tested:
            raise UserError(f"{self.path}: {ANNOTATIONS} lists {min(lost)}, which is not there")
        if unlisted := next((name for name in tested if name not in annotated), None):
            raise UserError(f"{self.path}: {ANNOTATIONS} does not list {unlisted}")
        test = {name: annotated[name] for name in tested}
        for name, wnid in (train | test).items():
            if wnid not in labels:
                raise UserError(f"{self.path}: {name} is of class {wnid}, which {WNIDS} does not list")
        for where, found in (("train/{}/images/*.JPEG", train), ("val/images/*.JPEG", test)):
            if empty := labels.keys() - found.values():
                raise UserError(f"{self.path}: class {min(empty)} has no images in {where.format(min(empty))}")
        self.train, self.test = (
            sorted(((name, labels[wnid]) for name, wnid in found.items()), key=lambda item: (item[1], item[0]))
            for found in (train, test)
        )

    def _rows(self, member: str, columns: int = 1) -> list[list[str]]:
        """The tab-separated rows of a list."""
        if member not in self._names:
            raise UserError(f"{self.path}: {member} is missing: the zip must be in Tiny ImageNet's layout")
        lines = self.read(member).decode("utf-8-sig", errors="replace").splitlines()
        rows = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
        if short := next((row for row in rows if len(row) < columns), None):
            raise UserError(f"{self.path}: {member} has the row {short[0]!r}, but {columns} columns belong there")
        return rows


def write_canonical(source: str | Path, target: str | Path, sha256: str | None = None) -> None:
    """Writes the labelled images and the lists of `source` to `target`: the same bytes however it was packed.

    Args:
        source: a zip in Tiny ImageNet's layout.
        target: where the canonical zip appears, whole or not at all.
        sha256: what the canonical zip's SHA-256 must be; None takes any.

    Raises:
        UserError: `source` is broken, not in the layout, or other than `sha256` says, or no space is left.
    """
    with Archive(source) as archive, atomic_write(target) as temporary:
        labels = {name.rpartition("/")[2]: archive.classes[label][0] for name, label in archive.test}
        lists = {
            WNIDS: "".join(f"{wnid}\n" for wnid, _ in archive.classes),
            WORDS: "".join(f"{wnid}\t{text}\n" for wnid, text in archive.classes),
            ANNOTATIONS: "".join(f"{file}\t{wnid}\n" for file, wnid in sorted(labels.items())),
        }
        names = sorted([name for name, _ in archive.train + archive.test] + list(lists))
        members = ((name, lists[name].encode() if name in lists else archive.read(name)) for name in names)
        write_zip(temporary, tqdm(members, "archive", len(names), unit=" files", disable=None))
        if sha256 and sha256_of(temporary) != sha256:
            raise UserError(
                f"{source} does not hold the official Tiny ImageNet: fetch it again, or name other data in data.archive"
            )


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes (name, content) pairs, uncompressed, with nothing that depends on when, where or by whom."""
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members:
            info = zipfile.ZipInfo(name)  # its time is 1980-01-01
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o644 << 16
            out.writestr(info, content)


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
