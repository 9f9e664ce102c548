"""The archive: a zip in Tiny ImageNet's layout, read with care and written in one canonical form."""

import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..machine.files import atomic_write
from .container import open_container
from .layout import ANNOTATIONS, WNIDS, WORDS, tiny_imagenet

# SHA-256 of the canonical archive of the official data, however that was packed.
OFFICIAL_SHA256 = "baa8dae4b1ece1714033c40388b459c5f4687e272d05e53d8ee4ba7d8016ec79"
OFFICIAL_SIZE = 64  # pixels a side


class Archive:
    """Data in Tiny ImageNet's layout, opened and checked; use it in a `with`.

    Args:
        path: of a zip, a tar or a folder.
        scratch: see `open_container`.

    Attributes:
        classes: (id, names) of each class, in the order of `wnids.txt`.
        train: (file, label) of each training image, by label, then by name.
        test: the same of the `val` images.

    Raises:
        UserError: it cannot be opened, a file would lie outside of it, a list or a class's images are missing, or lists
            and images disagree.
    """

    def __init__(self, path: str | Path, scratch: Path | None = None):
        self._files = open_container(path, scratch)
        self.path = self._files.path
        try:
            layout = tiny_imagenet(self._files)
        except BaseException:
            self._files.close()
            raise
        self.classes, self.train, self.test = layout.classes, layout.train, layout.test

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def read(self, member: str) -> bytes:
        """The content of a file, named as in the layout.

        Raises:
            UserError: as `Container.read`.
        """
        return self._files.read(member)


def write_canonical(source: str | Path, target: str | Path, sha256: str | None = None) -> None:
    """Writes the labelled images and the lists of `source` to `target`: the same bytes however it was packed.

    Args:
        source: data in Tiny ImageNet's layout; its images are copied as they are.
        target: where the canonical zip appears, whole or not at all.
        sha256: what the canonical zip's SHA-256 must be; None takes any.

    Raises:
        UserError: `source` is broken, not in the layout, or other than `sha256` says, or no space is left.
    """
    with atomic_write(target) as temporary, Archive(source, temporary.parent) as archive:
        names = sorted(name for name, _ in archive.train + archive.test)
        images = ((name, archive.read(name)) for name in tqdm(names, "archive", unit=" files", disable=None))
        tested = {name: archive.classes[label][0] for name, label in archive.test}
        write_zip(temporary, with_lists(images, archive.classes, tested))
        if sha256 and sha256_of(temporary) != sha256:
            raise UserError(
                f"{source} does not hold the official Tiny ImageNet: fetch it again, or name other data in data.archive"
            )


def with_lists(
    images: Iterable[tuple[str, bytes]], classes: Sequence[tuple[str, str]], tested: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of `images`, then of the lists: the order of names.

    Args:
        classes: (id, names), in the order that numbers the classes.
        tested: the class id of each `val` image; read after `images`.
    """
    yield from images
    rows = sorted((name.rpartition("/")[2], wnid) for name, wnid in tested.items())
    yield ANNOTATIONS, "".join(f"{file}\t{wnid}\n" for file, wnid in rows).encode()
    yield WNIDS, "".join(f"{wnid}\n" for wnid, _ in classes).encode()
    yield WORDS, "".join(f"{wnid}\t{text}\n" for wnid, text in classes).encode()


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
