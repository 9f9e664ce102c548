"""Archive -> shards -> batches on the device; the synthetic data set."""

from .archive import OFFICIAL_SHA256, OFFICIAL_SIZE, write_canonical
from .batches import Batches
from .download import fetch
from .own import write_own
from .shards import Shards, evenly_spaced, write_shards
from .synthetic import write_synthetic

__all__ = [
    "OFFICIAL_SHA256",
    "OFFICIAL_SIZE",
    "Batches",
    "Shards",
    "evenly_spaced",
    "fetch",
    "write_canonical",
    "write_own",
    "write_shards",
    "write_synthetic",
]
