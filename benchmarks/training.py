"""Training speed, loader included: this project's engine, a loop like timm's train.py, and a plain loop, in one run.

    python -m benchmarks.training

- this project: the engine as `dvc repro` runs it, at params.yaml's defaults or a preset's.
- one fixed batch: the same engine fed one augmented batch for ever; the rest is loader and augmentation.
- plain: the same model and recipe with nothing for speed: torchvision's transforms in DataLoader workers, eager, in the
  default memory format, AdamW as torch gives it.
- timm: its model of the same size (convnext_atto), transforms, Mixup, loss and optimizer, AMP and channels_last on a
  GPU, as its train.py sets them up. Another model, so its ratio compares what a user gets, not the loops alone.

They take turns, so that a machine that slows down slows all, and all keep freed memory as the engine does on a CPU
(--glibc-defaults: none does). FLOP/s are the forward pass's times 3, and beside them those of a large matrix product
here; GB/s are the least traffic of an unfused step (each layer's input and output once, times 3), and beside it a plain
copy's.
"""

import argparse
import copy
import itertools
import platform
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import timm
import timm.data
import timm.loss
import timm.optim
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from coatnet import Params, create_model, load_params
from coatnet.command.presets import read_overrides
from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.machine.memory import keep_freed_memory
from coatnet.machine.processes import World
from coatnet.params import SyntheticParams
from coatnet.training.engine import Trainer
from coatnet.training.kernels import PRECISIONS, autocast_dtype

from .augment import CLASSES, MEAN, MOST_BATCHES, STD, Jpegs, copy_bytes_per_second, jpegs, torchvision_batches
from .models import hardware, peak_memory, run, seconds, spread

Step = Callable[[], None]
OTHERS = ("one fixed batch", "plain", "timm")


def draw(folder: Path) -> Path:
    """The built-in data set, as the stages leave their data."""
    params = SyntheticParams(seed=0, classes=CLASSES, train_per_class=10, test_per_class=1)
    write_synthetic(params, folder / "archive.zip")
    write_shards(folder / "archive.zip", folder / "shards")
    return folder


def this_project(args: Namespace, params: Params, device: torch.device, folder: Path) -> tuple[nn.Module, Step]:
    trainer = Trainer(params, Shards(args.data / "shards"), World(0, 1, device), folder / "progress.pt")
    trainer.start_epoch(0)
    batches = itertools.chain.from_iterable(trainer.epoch_batches(0) for _ in itertools.count())
    return trainer.model, lambda: trainer.train_step(next(batches))


def one_fixed_batch(args: Namespace, params: Params, device: torch.device, folder: Path) -> tuple[nn.Module, Step]:
    trainer = Trainer(params, Shards(args.data / "shards"), World(0, 1, device), folder / "progress.pt")
    trainer.start_epoch(0)
    batch = next(trainer.epoch_batches(0))
    augmented = trainer.augment(batch.images, batch.labels, epoch=0, step=0)
    trainer.augment = lambda *_, **__: augmented  # type: ignore[assignment] # all that a step asks of it
    return trainer.model, lambda: trainer.train_step(batch)


def plain(args: Namespace, params: Params, device: torch.device, files: list[Tensor]) -> tuple[nn.Module, Step]:
    model = create_model(params.model, CLASSES).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.train.lr, weight_decay=params.train.weight_decay)
    batches = torchvision_batches(files, args.image_size, args, device)

    def step() -> None:
        images, targets = next(batches)
        loss = nn.functional.cross_entropy(model(images), targets, label_smoothing=params.augment.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model, step


def like_timm(args: Namespace, params: Params, device: torch.device, files: list[Tensor]) -> tuple[nn.Module, Step]:
    cuda = device.type == "cuda"
    model = timm.create_model("convnext_atto", num_classes=CLASSES)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
    optimizer = timm.optim.create_optimizer_v2(model, "adamw", lr=params.train.lr, weight_decay=0.05)
    transform = timm.data.create_transform(
        args.image_size, is_training=True, auto_augment="original", re_prob=0.25, mean=MEAN, std=STD
    )
    mixup = timm.data.Mixup(0.2, 0.2, prob=0.5, label_smoothing=0.1, num_classes=CLASSES)
    criterion = timm.loss.SoftTargetCrossEntropy()
    data = Jpegs(files, MOST_BATCHES * args.batch_size, transform, pillow=True)
    loader: Iterator[list[Tensor]] = iter(DataLoader(data, args.batch_size, num_workers=args.workers, pin_memory=cuda))

    def step() -> None:
        images, labels = (t.to(device, non_blocking=True) for t in next(loader))
        images, targets = mixup(images.contiguous(memory_format=torch.channels_last), labels)
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model.train(), step


def flops_and_bytes(model: nn.Module, image_size: int, bytes_a_value: int) -> tuple[float, float]:
    """Of one image's training step: FLOP (2 a multiply-add) and bytes in and out of all layers, forward times 3."""
    moved = 0
    model = copy.deepcopy(model).to("meta")  # on a CPU the counter misses fused attention

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += (sum(x.numel() for x in inputs) + output.numel()) * bytes_a_value

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, image_size, image_size, device="meta"))
    return 3 * counter.get_total_flops() / 2, 3 * moved / 2


def product_flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """What the arithmetic units give: a matrix product in the precision that training uses.

    On a CPU also as a convolution of 1x1, by another library: the faster counts.
    """
    cuda = device.type == "cuda"
    n = 8192 if cuda else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in "ab")
    products = [lambda: a @ b]
    if not cuda:
        image = a.t().reshape(1, n, 32, -1).to(memory_format=torch.channels_last)  # each row of a is a pixel
        kernels = b.view(n, n, 1, 1).to(memory_format=torch.channels_last)
        products.append(lambda: nn.functional.conv2d(image, kernels))
    for product in products:
        seconds(product, 3, device.type)
    return 2 * n**3 / min(seconds(product, 10, device.type) for product in products)


def profile(step: Step, device: torch.device) -> str:
    """Where a step's time goes: the dearest kernels (operators on a CPU)."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profiler:
        for _ in range(3):
            step()
    kind = "cuda" if device.type == "cuda" else "cpu"
    return profiler.key_averages().table(sort_by=f"self_{kind}_time_total", row_limit=15, max_name_column_width=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of archive.zip and shards; default: data, or else the built-in data set")
    parser.add_argument("--preset", help="of presets.yaml; default: params.yaml as it stands")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--precision", choices=("auto", "bf16", "float32"), default="auto", help="of this project's loops"
    )
    parser.add_argument("--workers", type=int, default=2, help="of the other loops' DataLoaders")
    parser.add_argument("--steps", type=int, default=5, help="a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--beside", nargs="+", choices=OTHERS, default=OTHERS, help="which other loops")
    parser.add_argument("--glibc-defaults", action="store_true", help="leave it to glibc what becomes of freed memory")
    parser.add_argument("--profile", action="store_true", help="also show where this project's step spends its time")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = {
        "model.image_size": args.image_size,
        "train.image_size": None,
        "evaluate.image_size": None,
        "train.batch_size": args.batch_size,
        "train.precision": args.precision,
    }
    params = load_params(overrides=read_overrides([], args.preset) | sizes)
    dtype = autocast_dtype(params.train, device)
    if not args.glibc_defaults:
        keep_freed_memory()

    versions = f"torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()}"
    print(f"{hardware(device.type)}; {versions};")
    print(
        f"{args.image_size} px, batch {args.batch_size}, {args.workers} workers, this project in {PRECISIONS[dtype]}, "
        f"medians of {args.turns} turns of {args.steps} steps, in brackets the extremes;"
    )
    with tempfile.TemporaryDirectory() as folder:
        drawn = args.data is None and not (Path("data/shards").exists() and Path("data/archive.zip").exists())
        args.data = draw(Path(folder)) if drawn else Path(args.data or "data")
        files = jpegs(args.data / "archive.zip", 2000)
        print(f"images of {'the built-in data set, since data/ is not there whole' if drawn else args.data}\n")
        make = {
            "this project": lambda: this_project(args, params, device, Path(folder)),
            "one fixed batch": lambda: one_fixed_batch(args, params, device, Path(folder)),
            "plain": lambda: plain(args, params, device, files),
            "timm": lambda: like_timm(args, params, device, files),
        }
        loops = {name: make[name]() for name in ("this project", *args.beside)}
        memory = {}
        for name, (_, step) in loops.items():
            step()  # compiles, starts the workers
            memory[name] = peak_memory(step, device.type)
        times: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(args.turns):
            for name, (_, step) in loops.items():
                times[name].append(seconds(step, args.steps, device.type))
                time.sleep(0 if device.type == "cuda" else 3)  # let the workers fill their queue, not the next turn
        arithmetic, bandwidth = product_flops_per_second(device, dtype), copy_bytes_per_second(device)
        print("| loop | images/s | ours / its | peak memory, MiB | TFLOP/s | of a product's | GB/s | of a copy's |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name, (model, _) in loops.items():
            speed = args.batch_size / statistics.median(times[name])
            ratio = spread(b / a for a, b in zip(times["this project"], times[name], strict=True))
            timms = torch.bfloat16 if device.type == "cuda" else torch.float32
            computed_in = {"plain": torch.float32, "timm": timms}.get(name, dtype)
            flops, moved = flops_and_bytes(model, args.image_size, computed_in.itemsize)
            print(
                f"| {name} | {speed:,.0f} | {ratio} | {memory[name]:,.0f} | {speed * flops / 1e12:.2f} | "
                f"{speed * flops / arithmetic:.1%} | {speed * moved / 1e9:,.0f} | {speed * moved / bandwidth:.1%} |"
            )
        if args.profile:
            print("\n" + profile(loops["this project"][1], device))


if __name__ == "__main__":
    run(main)
