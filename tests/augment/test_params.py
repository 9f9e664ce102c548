from pathlib import Path

import pytest

from coatnet import UserError, load_params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("augment.randaugment.magnitude", 31),
        ("augment.randaugment.magnitude", -1),
        ("augment.randaugment.ops", 11),
        ("augment.cutmix.alpha", -0.2),
        ("augment.cutmix.probability", 0.8),  # with the 0.25 of mixup
        ("augment.flip", 1.5),
        ("augment.policy", "autoaugment-svhn"),
        ("augment.crop_scale", [0.0, 1.0]),
        ("augment.crop_scale", [0.5, 1.5]),
        ("augment.crop_ratio", [2.0, 0.5]),
        ("augment.erase.value", "random"),
    ],
)
def test_bad_values_end_in_one_sentence_that_names_them(name, value):
    with pytest.raises(UserError) as error:
        load_params(Path(__file__).parents[2] / "params.yaml", {name: value})
    assert name in str(error.value) and "\n" not in str(error.value)
