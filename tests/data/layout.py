"""Small archives in Tiny ImageNet's layout, to pack whole, in other ways, or broken."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torchvision.io import encode_jpeg

WNIDS = ("n02", "n01")  # not sorted: their order numbers the classes


def jpeg(seed: int, height: int = 64, width: int = 64) -> bytes:
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    return encode_jpeg((image * 255).to(torch.uint8), 95).numpy().tobytes()


def members(train: int = 3, test: int = 2) -> dict[str, bytes]:
    """Names (without a root) and contents: two classes, and what the official archive holds besides."""
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": b"n00\tentity\nn01\tgoldfish, carp\nn02\tbull frog\n"}
    rows = []
    for label, wnid in enumerate(WNIDS):
        for i in range(train):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(100 * label + i)
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        for i in range(test):
            number = 2 * i + label
            files[f"val/images/val_{number}.JPEG"] = jpeg(1000 + number)
            rows.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    files["val/val_annotations.txt"] = "".join(rows).encode()
    files["test/images/test_0.JPEG"] = jpeg(2000)
    return files


def pack(
    path: Path,
    files: Mapping[str, bytes],
    *,
    root: str = "tiny-imagenet-200/",
    compression: int = zipfile.ZIP_DEFLATED,
    backwards: bool = False,
) -> Path:
    names = sorted(files, reverse=backwards)
    with zipfile.ZipFile(path, "w", compression) as out:
        for name in names:
            out.writestr(root + name, files[name])  # of this moment's time
    return path
