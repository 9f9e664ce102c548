"""Small models for the tests of this folder."""

from coatnet import load_params
from coatnet.params import ModelParams

SMALL = {
    "model.image_size": 32,
    "model.stem_width": 8,
    "model.dims": [16, 32, 32, 64],
    "model.table.heads": 4,
    "model.paper.head_dim": 8,
}


def small_params(overrides: dict | None = None) -> ModelParams:
    return load_params(overrides=SMALL | (overrides or {})).model
