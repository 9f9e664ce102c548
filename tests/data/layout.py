"""Small data sets in each layout, to pack whole, in other ways, or broken."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
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


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def picture(seed: int, width: int = 20, height: int = 16) -> Image.Image:
    with Image.open(io.BytesIO(jpeg(seed, height, width))) as image:
        return image.convert("RGB")


def by_folder(train: int = 3, test: int = 2, split: str = "val") -> dict[str, bytes]:
    """Names and contents: PNGs of mixed sizes in a folder for each of the classes "dog" and "big cat"."""
    files = {}
    for number, name in enumerate(("dog", "big cat")):
        for folder, count in (("train", train), (split, test)):
            for i in range(count):
                seed = 1000 * number + (100 if folder != "train" else 0) + i
                files[f"{folder}/{name}/{i}.png"] = saved(picture(seed, 20 + 5 * i, 30 - 3 * number))
    return files


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    """As files in a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack_tar(path: Path, files: Mapping[str, bytes], *, root: str = "./", compression: str = "") -> Path:
    """As a tar, with an entry for each folder, in no order."""
    with tarfile.open(path, f"w:{compression}") as out:
        for folder in {root + name.rpartition("/")[0] for name in files}:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            out.addfile(info)
        for name in sorted(files, reverse=True):
            info = tarfile.TarInfo(root + name)
            info.size = len(files[name])
            out.addfile(info, io.BytesIO(files[name]))
    return path
