"""Draws `reports/figures/operations.png`: a training image under every augmentation operation. No stage of dvc.yaml."""

from coatnet import Params
from coatnet.data import Shards
from coatnet.files import atomic_write
from coatnet.reporting.operations import operations

from . import REPORTS, SHARDS, run


def main(params: Params) -> None:
    images, _ = Shards(SHARDS).load("train")
    with atomic_write(REPORTS / "figures" / "operations.png") as path:
        operations(images[0]).savefig(path, dpi=params.plot.dpi, format="png")


if __name__ == "__main__":
    run(main)
