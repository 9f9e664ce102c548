"""Own data: images of any format and size, in any known layout, made into the canonical archive."""

import hashlib
import io
import posixpath
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..errors import UserError
from ..machine.files import atomic_write
from .archive import with_lists, write_zip
from .container import Container, open_container
from .layout import Layout, read_layout
from .pictures import decode_jpeg, fit, open_picture

_NAMED = 10  # problems that the error names
_SPACE = re.compile(r"\s")  # tabs and line ends would break the lists


class _Entry(NamedTuple):
    stored: str  # its name in the canonical archive, with the extension that it has in its own
    file: str
    label: int
    is_test: bool


def write_own(source: str | Path, target: str | Path, *, size: int, holdout: float = 0.0) -> None:
    """Decodes each image of `source` and stores it with `size` pixels a side, in the canonical form.

    Images are fitted (see `pictures.fit`) and stored as PNG, which keeps every pixel; a JPEG that has this size already
    is copied as it is. The same files give the same pixels in whichever container they come. Where each class has a
    folder, copies of a file in one class and on one side are left out: one could be held out and another trained on.
    Uses as many threads as torch; memory holds a few images at a time.

    Args:
        source: a folder, zip or tar, in a layout that `read_layout` knows.
        target: where the canonical zip appears, whole or not at all.
        size: pixels a side.
        holdout: fraction of each class's training images to be held out: needed where `source` has no test images.

    Raises:
        UserError: `source` cannot be read or is in no known layout; images are broken or, where each class has a
            folder, the same file in two classes or on both sides; or no space is left.
    """
    with atomic_write(target) as temporary, open_container(source, temporary.parent) as files:
        layout = read_layout(files, holdout)
        if layout.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(layout.left_out.items()))
            tqdm.write(f"{files.path}: left out what is no image: {kinds}")
        train, test = len(layout.train), len(layout.test)
        tqdm.write(f"{files.path}: {len(layout.classes):,} classes, {train:,} training and {test:,} test images")
        tested: dict[str, str] = {}
        write_zip(temporary, with_lists(_images(files, layout, size, tested), layout.classes, tested))


def _images(files: Container, layout: Layout, size: int, tested: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the stored images; enters the class ids of those of the test set in `tested`.

    It goes on after a bad image, so that the error at the end can name more than the first.
    """
    entries = _entries(layout)
    problems: list[str] = []
    copies: list[tuple[_Entry, _Entry]] = []
    contents: Iterable[tuple[_Entry, bytes]] = (
        (entry, files.read(entry.file)) for entry in tqdm(entries, "images", unit=" images", disable=None)
    )
    if layout.by_folder:  # Tiny ImageNet itself has a few such files: there they are only reported
        contents = _distinct(contents, problems, copies)
    broken: set[_Entry] = set()
    trained: Counter[int] = Counter()
    for entry, future in _in_threads(contents, size):
        if not entry.is_test:
            trained[entry.label] += 1
        try:
            content, is_copy = future.result()
        except UserError as error:
            problems.append(f"{error}: mend or remove it")
            broken.add(entry)
            continue
        stem, end = posixpath.splitext(entry.stored)
        name = stem + (".png" if not is_copy else end if end.lower() in (".jpg", ".jpeg") else ".JPEG")
        if entry.is_test:
            tested[name] = layout.classes[entry.label][0]
        yield name, content
    problems += [f"{copy.file} is a copy of {entry.file}: remove it" for entry, copy in copies if entry in broken]
    problems += [
        f"class {layout.classes[label][0]} has nothing but copies of one training image: add others or remove it"
        for label in sorted({copy.label for _, copy in copies if not copy.is_test})
        if trained[label] == 1
    ]
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise UserError(f"{files.path}: {'; '.join(problems[:_NAMED])}{more}")
    if copies:
        _, copy = copies[0]
        kind = "copy of a file" if len(copies) == 1 else "copies of files"
        tqdm.write(f"{files.path}: left out {len(copies):,} {kind} in the same class, such as {copy.file}")


def _entries(layout: Layout) -> list[_Entry]:
    """All images by the names that they get, which are sorted."""
    entries: dict[str, _Entry] = {}  # by name, less its extension
    for is_test, items in ((False, layout.train), (True, layout.test)):
        for number, (file, label) in enumerate(items):
            stored = file
            if layout.by_folder:  # from now on in one folder, at whatever depth it lay
                folder = "val/images" if is_test else f"train/{layout.classes[label][0]}/images"
                stored = f"{folder}/{number:06d}-{_SPACE.sub('_', posixpath.basename(file))}"
            entry = _Entry(stored, file, label, is_test)
            other = entries.setdefault(posixpath.splitext(stored)[0], entry)
            if other is not entry:
                raise UserError(f"{other.file} and {file} differ in their extensions alone: rename or remove one")
    return sorted(entries.values())


def _distinct(
    contents: Iterable[tuple[_Entry, bytes]], problems: list[str], copies: list[tuple[_Entry, _Entry]]
) -> Iterator[tuple[_Entry, bytes]]:
    """Passes the first of the same files on, and enters the others: in `copies`, with the first, where they are in the
    same class and on the same side, else in `problems`.
    """
    first: dict[bytes, _Entry] = {}
    for entry, content in contents:
        same = first.setdefault(hashlib.sha256(content).digest(), entry)
        if same is entry:
            yield entry, content
        elif (same.label, same.is_test) == (entry.label, entry.is_test):
            copies.append((same, entry))
        else:
            where = "of two classes" if same.label != entry.label else "in training and test"
            problems.append(f"{same.file} and {entry.file} are one file {where}: remove one")


def _in_threads(
    images: Iterable[tuple[_Entry, bytes]], size: int
) -> Iterator[tuple[_Entry, Future[tuple[bytes, bool]]]]:
    """What `_stored` makes of each image, in order; it takes few images in advance."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[_Entry, Future[tuple[bytes, bool]]]] = deque()
        for entry, content in images:
            waiting.append((entry, pool.submit(_stored, content, entry.file, size)))
            if len(waiting) > 4 * threads:
                yield waiting.popleft()
        yield from waiting


def _stored(content: bytes, name: str, size: int) -> tuple[bytes, bool]:
    """The image as it is stored: a PNG, or the very JPEG that it was (True)."""
    image = open_picture(content, name)
    if image.size == (size, size) and _is_jpeg_of(content, image):
        return content, True
    fitted = fit(image, size)
    fitted.info = {}  # else colour profiles and the like come along
    png = io.BytesIO()
    fitted.save(png, "PNG")
    return png.getvalue(), False


def _is_jpeg_of(content: bytes, image: Image.Image) -> bool:
    """Whether `write_shards` makes the same pixels of it."""
    decoded = decode_jpeg(content) if content.startswith(b"\xff\xd8") else None
    return decoded is not None and np.array_equal(np.asarray(decoded), np.asarray(image))
