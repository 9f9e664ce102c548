"""Brings the data: one canonical zip, the same bytes whichever packing or address it came from.

The environment's TINY_IMAGENET_ZIP names a copy of the official archive on this machine.
"""

import os
from pathlib import Path

from coatnet import Params
from coatnet.data import OFFICIAL_SHA256, OFFICIAL_SIZE, fetch, write_canonical, write_own, write_synthetic

from . import ARCHIVE, run

COPY = "TINY_IMAGENET_ZIP"


def main(params: Params) -> None:
    data = params.data
    if data.archive:
        # data.holdout decides only whether the images are enough, so it is no parameter of this stage in dvc.yaml.
        write_own(data.archive, ARCHIVE, size=data.size, holdout=data.holdout)
    elif data.source == "synthetic":
        write_synthetic(data.synthetic, ARCHIVE, data.size)
    elif copy := os.environ.get(COPY):
        _write_official(copy, data.size, OFFICIAL_SHA256)
    else:
        # No out of the stage, so DVC leaves it there, and a download that was cut off goes on.
        partial = ARCHIVE.with_name(f"{data.sha256}.download")
        fetch(data.urls, data.sha256, partial, f", or set {COPY} to the path of a copy of tiny-imagenet-200.zip")
        _write_official(partial, data.size, None)  # fetch has checked it
        partial.unlink()


def _write_official(source: str | Path, size: int, sha256: str | None) -> None:
    """From Tiny ImageNet as it is published; `sha256` as in `write_canonical`."""
    if size == OFFICIAL_SIZE:
        write_canonical(source, ARCHIVE, sha256)
    else:
        native = ARCHIVE.with_name("native.zip")
        try:
            write_canonical(source, native, sha256)
            write_own(native, ARCHIVE, size=size)
        finally:
            native.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
