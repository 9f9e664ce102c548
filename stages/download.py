"""Brings the data: one canonical zip, the same bytes whichever packing or address it came from.

The environment's TINY_IMAGENET_ZIP names a copy of the official archive on this machine.
"""

import os

from coatnet import Params
from coatnet.data import OFFICIAL_SHA256, fetch, write_canonical, write_synthetic

from . import ARCHIVE, run

COPY = "TINY_IMAGENET_ZIP"


def main(params: Params) -> None:
    data = params.data
    if data.archive:
        write_canonical(data.archive, ARCHIVE)
    elif data.source == "synthetic":
        write_synthetic(data.synthetic, ARCHIVE)
    elif copy := os.environ.get(COPY):
        write_canonical(copy, ARCHIVE, OFFICIAL_SHA256)
    else:
        # No out of the stage, so DVC leaves it there, and a download that was cut off goes on.
        partial = ARCHIVE.with_name(f"{data.sha256}.download")
        fetch(data.urls, data.sha256, partial, f", or set {COPY} to the path of a copy of tiny-imagenet-200.zip")
        write_canonical(partial, ARCHIVE)
        partial.unlink()


if __name__ == "__main__":
    run(main)
