"""Archive -> shards -> batches on the device; the synthetic data set."""

from .archive import OFFICIAL_SHA256, write_canonical
from .batches import Batches
from .download import fetch
from .shards import Shards, holdout_mask, write_shards
from .synthetic import write_synthetic

__all__ = [
    "OFFICIAL_SHA256",
    "Batches",
    "Shards",
    "fetch",
    "holdout_mask",
    "write_canonical",
    "write_shards",
    "write_synthetic",
]
