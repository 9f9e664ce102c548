"""Augmentation speed, the default recipe: this project's, torchvision's with DataLoader workers, and kornia's.

    python -m benchmarks.augment --archive data/archive.zip

torchvision starts from JPEG files in memory, as its users do: opened with Pillow, as its `ImageFolder` does, or decoded
to tensors. Ours and kornia start from the decoded images, as this project keeps them. All end in a batch on the device.
They take turns, so that a machine that slows down slows all; the figures are medians of the turns.
"""

import argparse
import io
import itertools
import operator
import platform
import statistics
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import kornia
import kornia.augmentation as K
import torch
import torchvision
from kornia.augmentation.auto import AutoAugment
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg
from torchvision.transforms import v2

from coatnet import load_params
from coatnet.augment import BatchAugment
from coatnet.data.archive import Archive
from coatnet.machine.memory import keep_freed_memory

from .models import hardware, run, spread

CLASSES, MEAN, STD = 200, (0.480, 0.448, 0.398), (0.277, 0.269, 0.282)
MOST_BATCHES = 10_000  # of a DataLoader: more than any benchmark takes

Batch = tuple[Tensor, Tensor]  # images, targets
Make = Callable[[Any, int, Namespace, torch.device], Generator[Batch]]


def jpegs(archive: str | Path | None, count: int) -> list[Tensor]:
    """The bytes of `count` training images; without an archive, made-up ones of the same size."""
    if archive is None:
        coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
        images = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 255).byte()
        return [encode_jpeg(image, quality=90) for image in images]
    with Archive(archive) as opened:
        return [torch.frombuffer(bytearray(opened.read(name)), dtype=torch.uint8) for name, _ in opened.train[:count]]


class Jpegs(Dataset[tuple[Any, int]]):
    """`count` samples from `files`, each opened with Pillow or decoded to a tensor, then transformed."""

    def __init__(self, files: list[Tensor], count: int, transform: Callable[[Any], Any], pillow: bool):
        self.files: list[Any] = [file.numpy().tobytes() for file in files] if pillow else files
        self.count, self.transform, self.pillow = count, transform, pillow

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[Any, int]:
        file = self.files[i % len(self.files)]
        if self.pillow:
            with Image.open(io.BytesIO(file)) as opened:
                image = opened.convert("RGB")
        else:
            image = decode_jpeg(file, ImageReadMode.RGB)
        return self.transform(image), i % CLASSES


class Collate:
    mix = v2.RandomChoice(
        [v2.MixUp(alpha=0.2, num_classes=CLASSES), v2.CutMix(alpha=0.2, num_classes=CLASSES), v2.Identity()],
        p=[0.25, 0.25, 0.5],
    )

    def __call__(self, samples: list[tuple[Any, int]]) -> Batch:
        return self.mix(*default_collate(samples))


def torchvision_batches(
    files: list[Tensor], size: int, args: Namespace, device: torch.device, pillow: bool = False
) -> Generator[Batch]:
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.AutoAugment(interpolation=v2.InterpolationMode.BILINEAR),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
            v2.RandomErasing(0.25),
        ]
    )
    data = Jpegs(files, MOST_BATCHES * args.batch_size, transform, pillow)
    loader = DataLoader(
        data,
        args.batch_size,
        shuffle=True,
        num_workers=args.workers,
        collate_fn=Collate(),
        pin_memory=device.type == "cuda",
    )
    for x, targets in loader:
        yield x.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def our_batches(images: Tensor, size: int, args: Namespace, device: torch.device) -> Generator[Batch]:
    augment = BatchAugment(load_params().augment, image_size=size, num_classes=CLASSES, mean=MEAN, std=STD, seed=0)
    images = images.to(device)
    for step in itertools.count():
        index = torch.randint(len(images), (args.batch_size,), device=device)
        yield augment(images.index_select(0, index), index % CLASSES, epoch=0, step=step)


def kornia_batches(images: Tensor, size: int, args: Namespace, device: torch.device) -> Generator[Batch]:
    recipe = torch.nn.Sequential(
        K.RandomResizedCrop((size, size)),
        K.RandomHorizontalFlip(),
        AutoAugment("imagenet"),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        K.RandomErasing(p=0.25),
    ).to(device)
    mixes = [
        K.RandomMixUpV2(p=1.0, data_keys=["input", "class"]),
        K.RandomCutMixV2(p=1.0, data_keys=["input", "class"]),
    ]
    images = images.to(device)
    for step in itertools.count():
        index = torch.randint(len(images), (args.batch_size,), device=device)
        x, labels = recipe(images.index_select(0, index).float() / 255), index % CLASSES
        yield mixes[step % 2](x, labels) if step % 4 < 2 else (x, labels)


def images_per_second(batches: Generator[Batch], seconds: float, device: torch.device) -> float:
    for _ in range(2):  # workers start, kernels are chosen
        next(batches)
    _synchronise(device)
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        count += len(next(batches)[0])
    _synchronise(device)
    speed = count / (time.perf_counter() - start)
    batches.close()  # ends the workers
    return speed


def copy_bytes_per_second(device: torch.device) -> float:
    """What the memory gives: a copy of 1 GiB, bytes read and written."""
    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    _synchronise(device)
    return 20 * 2**30 / (time.perf_counter() - start)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 224], help="pixels of the output")
    parser.add_argument("--workers", type=int, default=2, help="of torchvision's DataLoader")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--archive", help="a Tiny ImageNet zip; made-up images without one")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # kornia's, on its own defaults
    device = torch.device(args.device)
    keep_freed_memory()  # as training does; for all
    files = jpegs(args.archive, 2000)
    images = torch.stack([decode_jpeg(file, ImageReadMode.RGB) for file in files])

    print(f"{hardware(device.type)}; torch {torch.__version__}, torchvision {torchvision.__version__},")
    print(f"kornia {kornia.__version__}, Python {platform.python_version()};")
    print(f"batch {args.batch_size}, {args.workers} workers, {(args.archive and 'real') or 'made-up'} images;")
    print(f"medians of {args.turns} turns of {args.seconds:g} s, in brackets the extremes\n")
    bandwidth = copy_bytes_per_second(device) if device.type == "cuda" else None
    columns = ["output", "augmentation", "images/s", "of Pillow's", "of tensors'"]
    columns += ["GB/s", "of a copy's"] if bandwidth else []
    print(f"| {' | '.join(columns)} |\n|---|---|{'---:|' * (len(columns) - 2)}")
    contenders: dict[str, tuple[Make, Any]] = {
        "torchvision v2, DataLoader, Pillow": (partial(torchvision_batches, pillow=True), files),
        "torchvision v2, DataLoader, tensors": (torchvision_batches, files),
        "kornia": (kornia_batches, images),
        "this project": (our_batches, images),
    }
    baselines = list(contenders)[:2]
    for size in args.size:
        speeds: dict[str, list[float]] = {label: [] for label in contenders}
        for _ in range(args.turns):
            for label, (make, source) in contenders.items():
                speeds[label].append(images_per_second(make(source, size, args, device), args.seconds, device))
        for label, turns in speeds.items():
            speed = statistics.median(turns)
            ratios = (spread(map(operator.truediv, turns, speeds[baseline]), 1) for baseline in baselines)
            row = f"| {size} px | {label} | {speed:,.0f} | {' | '.join(ratios)} |"
            if bandwidth:  # the least that must move: the source read once, the output written once
                moved = speed * (images[0].numel() + 3 * size**2 * 4)
                row += f" {moved / 1e9:,.0f} | {moved / bandwidth:.1%} |"
            print(row, flush=True)


if __name__ == "__main__":
    run(main)
