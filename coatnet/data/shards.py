"""Shards: every image decoded once, as uint8 tensors in a few safetensors files beside one JSON index."""

import hashlib
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..machine.files import atomic_write, write_text
from .archive import Archive
from .layout import Item

SHARD = 20_000 * 3 * 64 * 64  # bytes of images a file at most: 246 MB, one of them in memory at a time
_BLOCK = 250 * 3 * 64 * 64  # bytes of images that a thread decodes at a time
_LISTED = 100  # groups of duplicates that the report names


def write_shards(archive: str | Path, folder: str | Path) -> dict[str, Any]:
    """Decodes an archive into `folder`: `train-*.safetensors`, `test-*.safetensors` and `index.json`.

    Each file holds `images` (uint8, N x 3 x size x size, RGB; greyscale is widened) and `labels` (int64, N), in index
    order: by class, then by file name. The same archive gives the same bytes everywhere. Uses as many threads as torch.

    Returns:
        The report: numbers of images, channel mean and standard deviation (0..1, over the training images), a digest
        of each split, and the files that are byte for byte the same under two labels or on both sides of the split.

    Raises:
        UserError: the archive or an image in it is broken, images differ in size, or no space is left.
    """
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed run left
    try:
        with Archive(archive) as opened:
            index, report = _write(opened, temporary)
        write_text(temporary / "index.json", json.dumps(index, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def _write(archive: Archive, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the shards; returns the index and the report."""
    files: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    digests = {}
    moments = {}
    sources: defaultdict[bytes, list[Item]] = defaultdict(list)  # the items of each content
    first, _ = archive.train[0]
    size = _decode_image(archive.path, first, archive.read(first)).shape[-1]
    per_file = max(1, SHARD // (3 * size**2))
    for split, items in (("train", archive.train), ("test", archive.test)):
        labels = torch.tensor([label for _, label in items], dtype=torch.int64)
        digest = hashlib.sha256()
        moments[split] = np.zeros((2, 3), np.int64)
        with tqdm(desc=f"decode {split}", total=len(items), unit=" images", disable=None) as progress:
            for start in range(0, len(items), per_file):
                shard = slice(start, start + per_file)
                images = torch.empty(len(items[shard]), 3, size, size, dtype=torch.uint8)
                _decode(archive, items[shard], images, sources, moments[split], progress)
                digest.update(images.numpy().data)
                path = folder / f"{split}-{len(files[split])}.safetensors"
                with atomic_write(path) as temporary:
                    save_file({"images": images, "labels": labels[shard].clone()}, temporary)
                files[split].append({"file": path.name, "images": len(images)})
                del images  # else it stays in memory while the next shard is decoded
        digest.update(labels.numpy().data)
        digests[split] = digest.hexdigest()

    mean, std = _mean_std(moments["train"], len(archive.train) * size * size)
    shared = {"size": size, "mean": mean, "std": std, "digests": digests}
    index = {"classes": archive.classes, **shared, "files": files}
    counts = {"train": len(archive.train), "test": len(archive.test)}
    report = {"classes": len(archive.classes), "images": counts, **shared, "duplicates": _duplicates(sources.values())}
    return index, report


def _decode(
    archive: Archive,
    items: list[Item],
    out_bchw: Tensor,
    sources: dict[bytes, list[Item]],
    moments: np.ndarray,
    progress: tqdm,
) -> None:
    """Decodes `items` into `out_bchw`; adds to `moments`, and enters each item under its content's hash."""

    def read(block: list[Item]) -> list[tuple[str, bytes]]:
        files = [(member, archive.read(member)) for member, _ in block]
        for item, (_, content) in zip(block, files, strict=True):
            sources[hashlib.sha256(content).digest()].append(item)
        return files

    # This thread reads the zip (under Python's lock) while the others decode (without it).
    count = max(1, _BLOCK // out_bchw[0].numel())
    blocks = [items[start : start + count] for start in range(0, len(items), count)]
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        decoded = threads.map(partial(_decode_block, archive.path), map(read, blocks), out_bchw.split(count))
        for block, sums in zip(blocks, decoded, strict=True):
            moments += sums
            progress.update(len(block))


def _decode_block(archive: Path, files: list[tuple[str, bytes]], out_bchw: Tensor) -> np.ndarray:
    """Decodes into `out_bchw`; returns the sums and the sums of squares of each channel's pixels, 2 x 3."""
    size = out_bchw.shape[-1]
    images_chw = []
    for member, content in files:
        image_chw = _decode_image(archive, member, content)
        _, height, width = image_chw.shape
        if (height, width) != (size, size):
            raise UserError(f"{archive}: {member} is {width}x{height} pixels, but images must be {size}x{size}")
        images_chw.append(image_chw)
    torch.stack(images_chw, out=out_bchw)
    # In NumPy, since torch would start threads of its own in each of these threads.
    x_bcp = out_bchw.flatten(2).numpy()
    return np.stack([x_bcp.sum((0, 2), dtype=np.int64), np.einsum("bcp,bcp->c", x_bcp, x_bcp, dtype=np.int64)])


def _decode_image(archive: Path, member: str, content: bytes) -> Tensor:
    """uint8, 3 x H x W, RGB."""
    from torchvision.io import ImageReadMode, decode_jpeg, decode_png  # a second to import; no other stage decodes

    kind, decode = ("PNG", decode_png) if member.lower().endswith(".png") else ("JPEG", decode_jpeg)
    try:
        return decode(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    except (RuntimeError, ValueError):
        raise UserError(f"{archive}: {member} does not decode as {kind}: fetch or copy the zip again") from None


def _mean_std(moments: np.ndarray, pixels: int) -> tuple[list[float], list[float]]:
    """Of each channel, 0..1; in whole numbers until the division, so the same on every machine.

    A channel that is the same everywhere has no spread to divide by: its standard deviation counts as 1.
    """
    sums, squares = moments.tolist()
    mean = [s / (255 * pixels) for s in sums]
    std = [math.sqrt(pixels * q - s**2) / (255 * pixels) or 1.0 for s, q in zip(sums, squares, strict=True)]
    return mean, std


def _duplicates(groups: Iterable[list[Item]]) -> dict[str, Any]:
    """Files of the same bytes: in training under several labels, and in training and test at once."""
    across_labels, across_splits = [], []
    for group in groups:
        if len(group) > 1:  # training items come first, in index order
            train = [item for item in group if item[0].startswith("train/")]
            names = [member for member, _ in group]
            if len({label for _, label in train}) > 1:
                across_labels.append(names[: len(train)])
            if 0 < len(train) < len(group):
                across_splits.append(names)
    return {
        "train_across_labels": {"groups": len(across_labels), "files": across_labels[:_LISTED]},
        "train_and_test": {"groups": len(across_splits), "files": across_splits[:_LISTED]},
    }


class Shards:
    """What `write_shards` left in `folder`.

    Attributes:
        classes: (id, names) of each class, by label.
        size: of the images, pixels a side.
        mean, std: of the three channels over the training images, 0..1.

    Raises:
        UserError: there are no whole shards in `folder`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            self.classes: list[tuple[str, str]] = [(wnid, name) for wnid, name in index["classes"]]
            self.size: int = index["size"]
            self.mean: list[float] = index["mean"]
            self.std: list[float] = index["std"]
            self._digests, self._files = index["digests"], index["files"]
        except (OSError, ValueError, TypeError, KeyError):
            raise self._broken("index.json") from None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def digest(self, split: str) -> str:
        """The SHA-256 of the pixels and labels of "train" (all of it) or "test", however they are cut into files."""
        return self._digests[split]

    def evaluated(self, holdout: float) -> str:
        """The split that models are evaluated on: "holdout" where `holdout` is not 0, else "test".

        Raises:
            UserError: it would be "test", but there are no test images.
        """
        if not holdout and not self._files["test"]:
            raise UserError(
                "these data have no test images: have some training images held out for evaluation, such as by "
                "-S data.holdout=0.1"
            )
        return "holdout" if holdout else "test"

    def load(self, split: str, holdout: float = 0.0, fraction: float = 1.0) -> tuple[Tensor, Tensor]:
        """Reads a split whole.

        Args:
            split: "train" (without the held-out images), "holdout" or "test".
            holdout: fraction of each class's training images held out, chosen by `evenly_spaced`.
            fraction: fraction of each class's other training images that "train" has, chosen in the same way; the
                held-out images are the same for any.

        Returns:
            Images, uint8, N x 3 x size x size, and labels, int64, N, in index order.

        Raises:
            UserError: a file is missing or broken.
        """
        files = self._files["test" if split == "test" else "train"]
        labels = torch.cat([torch.empty(0, dtype=torch.int64)] + [self._read(f["file"], "labels") for f in files])
        keep = torch.ones(len(labels), dtype=torch.bool)
        if split != "test":
            keep = evenly_spaced(labels, holdout) == (split == "holdout")
        if split == "train":
            keep[keep.clone()] = evenly_spaced(labels[keep], fraction)
        images = torch.empty(int(keep.sum()), 3, self.size, self.size, dtype=torch.uint8)
        start = read = 0
        for entry in files:  # file by file, so that memory holds little more than the result
            part = self._read(entry["file"], "images")
            kept = keep[read : read + len(part)]
            count = int(kept.sum())
            images[start : start + count] = part[kept]
            start, read = start + count, read + len(part)
        return images, labels[keep]

    def _read(self, file: str, tensor: str) -> Tensor:
        try:
            with safe_open(self.folder / file, "pt") as opened:
                return opened.get_tensor(tensor)
        except (OSError, SafetensorError):
            raise self._broken(file) from None

    def _broken(self, file: str) -> UserError:
        return UserError(f"{self.folder / file} is missing or broken: preprocess the data again")


def evenly_spaced(labels: Tensor, fraction: float) -> Tensor:
    """Chooses evenly spaced images of each class, `round(fraction * n)` of its n, but at least one.

    The choice depends on the order alone, so every seed and every run chooses the same images. What a smaller fraction
    chooses need not be among what a larger one does.

    Args:
        labels: int64, N.
        fraction: of each class, 0 to 1; 0 chooses nothing.

    Returns:
        bool, N.
    """
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique() if fraction else ():
        (of_class,) = torch.nonzero(labels == label, as_tuple=True)
        n = len(of_class)
        count = max(1, round(fraction * n))
        mask[of_class[(2 * torch.arange(count) + 1) * n // (2 * count)]] = True
    return mask
