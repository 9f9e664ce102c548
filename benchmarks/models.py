"""Training speed of our presets beside timm's nearest models, in one run: `python -m benchmarks.models`.

Each model takes the same training steps (forward, cross entropy, backward, AdamW) on one fixed random batch, in the
same format (channels_last; bf16 autocast and torch.compile on a GPU). The models of a pair take turns, so that a
machine that slows down slows both.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import timm
import torch
from torch import nn

from coatnet import UserError, create_model, load_params
from coatnet.command.presets import read_overrides

# Our presets and timm's nearest. convnext_atto is as large as the original's model.
PAIRS = {"original-224": "convnext_atto"} | {f"paper-coatnet-{size}": f"coatnet_{size}_224" for size in range(5)}


def training_step(
    model: nn.Module, batch_size: int, image_size: int, device: str, compiled: bool
) -> Callable[[], None]:
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch_size, 3, image_size, image_size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(200, (batch_size,), device=device)
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = nn.functional.cross_entropy(forward(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def spread(values: Iterable[float], digits: int = 2) -> str:
    """The median and, in brackets, the least and the greatest."""
    turns = list(values)
    median, least, greatest = (f"{f(turns):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({least} to {greatest})"


def seconds(step: Callable[[], object], steps: int, device: str) -> float:
    """A step's mean time over `steps`."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def peak_memory(step: Callable[[], object], device: str) -> float:
    """MiB that one step takes at its worst moment, beside the weights and the optimiser's state."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
        step()
    held = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def compare(name: str, options: argparse.Namespace, device: str) -> str:
    size, peer = options.image_size, PAIRS[name]
    params = load_params(overrides=read_overrides([f"model.image_size={size}"], name)).model
    same = {} if params.variant == "table" else {"drop_path_rate": params.paper.drop_path, "img_size": size}
    models = {name: create_model(params), f"timm/{peer}": timm.create_model(peer, num_classes=200, **same)}
    counts = [sum(parameter.numel() for parameter in model.parameters()) / 1e6 for model in models.values()]
    steps, memory = [], []
    for model in models.values():
        steps.append(training_step(model, options.batch_size, size, device, options.compile))
        seconds(steps[-1], 2, device)  # warm up, compile
        memory.append(peak_memory(steps[-1], device))
    times = [[seconds(step, 1 if device == "cpu" else 10, device) for step in steps] for _ in range(options.steps)]
    speed = [options.batch_size / statistics.median(column) for column in zip(*times, strict=True)]
    ratio = spread(theirs / ours for ours, theirs in times)
    cells = (f"{a} | {b:.1f} | {c:,.1f} | {d:,.0f}" for a, b, c, d in zip(models, counts, speed, memory, strict=True))
    return f"| {' | '.join(cells)} | {ratio} |"


def run(main: Callable[[], None]) -> None:
    """Calls a benchmark's `main`; what its user can mend ends in one sentence and exit status 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")


def hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__.partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=128 if device == "cuda" else 16, help="default: %(default)s")
    parser.add_argument("--image-size", type=int, default=224, help="pixels; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="turns each model takes; default: %(default)s")
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=PAIRS,
        default=list(PAIRS)[:3],
        metavar="PRESET",
        help=f"of {', '.join(PAIRS)}; default: the first three",
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=device == "cuda")
    options = parser.parse_args()
    print(
        f"{hardware(device)}; torch {torch.__version__}, timm {timm.__version__}, Python {platform.python_version()};"
    )
    print(
        f"batch {options.batch_size}, {options.image_size} px, {'bf16' if device == 'cuda' else 'float32'}, "
        f"{'compiled' if options.compile else 'eager'}; medians of {options.steps} turns, in brackets the extremes\n"
    )
    model = "parameters (M) | images/s | memory (MiB)"
    print(f"| ours | {model} | timm's | {model} | speed, ours / timm's |")
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for name in options.presets:
        print(compare(name, options, device), flush=True)


if __name__ == "__main__":
    run(main)
