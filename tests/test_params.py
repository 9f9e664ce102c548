import math
import re
import typing

import pytest
import yaml
from pydantic import BaseModel

from coatnet import Params, UserError, load_params
from coatnet.params import read_yaml
from tests.conftest import PARAMS, ROOT


def load(**overrides):
    return load_params(PARAMS, {name.replace("__", "."): value for name, value in overrides.items()})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("model.layuot", "CCCT", "model.layuot is not a parameter; did you mean model.layout?"),
        ("train.epcohs", 3, "train.epcohs is not a parameter; did you mean train.epochs?"),
        ("trian.epochs", 3, "trian is not a parameter; did you mean train?"),
        ("augment.mixup.alhpa", 1.0, "augment.mixup.alhpa is not a parameter; did you mean augment.mixup.alpha?"),
        ("model.blocks", [1, 1, 3], "model.blocks has 3 entries but model.layout=CCTT has 4 stages"),
        ("model.dims", [8, 8], "model.dims has 2 entries"),
        ("model.strides", [2, 2, 2], "model.strides has 3 entries"),
        ("model.layout", "CCT", "model.blocks has 4 entries but model.layout=CCT has 3 stages"),
        ("model.layout", "CCXT", "C for convolution or T for attention"),
        ("model.image_size", 225, "model.image_size=225 is not divisible by the model's total stride 32; try 224"),
        ("evaluate.image_size", 100, "evaluate.image_size=100 is not divisible by the model's total stride 32; try 96"),
        ("model.paper.fused_stages", 3, "fused_stages=3 is more than the stages of convolution that model.layout=CCTT"),
        ("model.dims", [96, 192, 190, 384], "attention width 190 is not divisible by model.table.heads=12"),
        ("model.name", "convnext_atto", "expected coatnet, or timm/NAME"),
        ("model.pretrained", True, "is for timm's models: a CoAtNet starts from the checkpoint that train.init names"),
        ("train.init", False, "train.init=False is not valid: expected a valid string"),
        ("train.batch_size", "128", "train.batch_size='128' is not valid: expected a valid integer"),
        ("train.batch_size", 0, "train.batch_size=0 is not valid: expected greater than or equal to 1"),
        ("train.epochs", True, "train.epochs=True is not valid"),
        ("train.lr", -1.0, "train.lr=-1.0 is not valid: expected greater than 0"),
        ("train.compile", "maybe", "train.compile='maybe' is not valid: expected 'auto', True or False"),
        ("train.accumulation", 3, "train.batch_size=128 cannot be cut into train.accumulation=3 parts"),
        (
            "train.processes",
            3,
            "train.batch_size=128 cannot be cut into train.accumulation=1 parts in each of 3 processes: make it a "
            "multiple of 3",
        ),
        ("augment.passes", ["cutmx"], "='cutmx' is not valid: expected 'plain', 'mixup', 'cutmix' or 'erase'"),
        ("augment.passes", [], "augment.passes=[] is not valid: expected at least one entry"),
        ("augment.crop_scale", [0.1, 0.5, 1.0], "is not valid: expected at most 2 entries"),
        ("data.archive", "", "data.archive='' is not valid: expected some text"),
        ("model.dims", [96, 192, 192, 2**16 + 1], "is not valid: expected less than or equal to 65536"),
        ("model.stem_width", 10**30, "is not valid: expected less than or equal to 65536"),
        ("model.table.heads", 10**9, "is not valid: expected less than or equal to 65536"),
        ("model.paper.head_dim", 10**9, "is not valid: expected less than or equal to 65536"),
        ("model.expansion", 10**9, "model.expansion=1000000000 is not valid: expected less than or equal to 1024"),
        ("model.blocks", [1, 1, 10**9, 1], "is not valid: expected less than or equal to 1024"),
        ("data.archive", "", "data.archive='' is not valid: expected"),
        ("train.warmup_epochs", 81.0, "train.warmup_epochs=81.0 is more than train.epochs=80"),
        ("train.image_size", [[1, 224]], "train.image_size must start at epoch 0"),
        ("train.image_size", [[0, 64], [40, 128]], "ends with 128 but model.image_size=224"),
        ("train.image_size", [[0, 100], [40, 224]], "train.image_size=100 is not divisible"),
        (
            "train.image_size",
            [[0, 64], [80, 224]],
            "from epoch 80 on (the first is 0), but train.epochs=80 ends before it",
        ),
        ("evaluate.crop", 0.01, "evaluate.crop=0.01 is not valid: expected greater than or equal to 0.1"),
        ("data.holdout", 0.9, "data.holdout=0.9 is not valid: expected less than or equal to 0.5"),
        ("data.fraction", 0.0, "data.fraction=0.0 is not valid: expected greater than 0"),
        ("data.fraction", 1.5, "data.fraction=1.5 is not valid: expected less than or equal to 1"),
        ("data.size", 7, "data.size=7 is not valid: expected greater than or equal to 8"),
        ("data.sha256", "123", "expected 64 hexadecimal digits"),
        ("augment.policy", "autoaugment", "expected 'none', 'autoaugment-imagenet'"),
        ("augment.mixup.alpha", 0, "augment.mixup.alpha=0 is not valid: expected greater than 0"),
        ("augment.mixup.probability", 0.9, "add up to more than 1"),
        ("augment.cutmix.alpha", -0.2, "augment.cutmix.alpha=-0.2 is not valid: expected greater than 0"),
        ("augment.cutmix.probability", 0.8, "augment.cutmix.probability=0.8 add up to more than 1"),
        ("augment.randaugment.magnitude", 31, "expected less than or equal to 30"),
        ("augment.randaugment.magnitude", -1, "expected greater than or equal to 0"),
        ("augment.randaugment.ops", 11, "expected less than or equal to 10"),
        ("augment.flip", 1.5, "augment.flip=1.5 is not valid: expected less than or equal to 1"),
        ("augment.crop_scale", [0.0, 1.0], "augment.crop_scale=[0.0, 1.0] is empty"),
        ("augment.crop_scale", [0.5, 1.5], "augment.crop_scale=[0.5, 1.5] goes beyond the whole image"),
        ("augment.crop_ratio", [2.0, 0.5], "augment.crop_ratio=[2.0, 0.5] is empty"),
        ("augment.erase.value", "random", "augment.erase.value='random' is not valid: expected 'zero' or 'noise'"),
        ("augment.crop_scale", [0.5, 0.1], "augment.crop_scale=[0.5, 0.1] is empty"),
        ("augment.erase.area", [0.1], "augment.erase.area=[0.1] is not valid: expected more entries"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(name, value, sentence):
    with pytest.raises(UserError) as raised:
        load_params(PARAMS, {name: value})
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_numbers_are_numbers_however_yaml_spells_them(tmp_path):
    text = PARAMS.read_text()
    for spelling in ("1e-3", "1E-3", "1.e-3", "+1e-3", ".001"):
        (tmp_path / "params.yaml").write_text(re.sub(r"\n  lr: \S+", f"\n  lr: {spelling}", text))
        assert load_params(tmp_path / "params.yaml").train.lr == 1e-3


def test_every_knob_must_be_there(tmp_path):
    values = yaml.safe_load(PARAMS.read_text())
    del values["model"]["layout"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"model.layout is missing"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\tb: 1"])
def test_a_file_without_parameters_is_refused(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"no parameters|not valid YAML"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing.yaml cannot be read: No such file"):
        load_params(tmp_path / "nothing.yaml")


def test_parameters_are_frozen_all_the_way_down():
    params = load()
    with pytest.raises(ValueError, match="frozen"):
        params.train.epochs = 1
    assert isinstance(params.model.blocks, tuple)
    assert isinstance(params.data.urls, tuple)


def test_defaults_stand_in_the_file_alone():
    """A knob that params.yaml leaves out would keep a value that nobody sees there."""
    path = ROOT / "params.yaml"
    assert load_params(path).model_dump(mode="json") == read_yaml(path)


def test_timm_models_take_any_image_size():
    assert load(model__name="timm/resnet18", model__image_size=65).model.image_size == 65


def kinds(annotation) -> set:
    """The types that an annotation names, at any depth."""
    return {annotation}.union(*map(kinds, typing.get_args(annotation)))


def float_fields(section=Params, prefix=""):
    """Dotted name and annotation of each parameter with a float in it."""
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from float_fields(field.annotation, f"{prefix}{key}.")
        elif float in kinds(field.annotation):
            yield f"{prefix}{key}", field.annotation


def test_no_float_that_is_not_finite_is_accepted():
    fields = dict(float_fields())
    assert {"train.lr", "train.clip_norm", "evaluate.crop", "augment.crop_scale"} <= fields.keys()
    for name, annotation in fields.items():
        for number in (math.inf, -math.inf, math.nan):
            value = [number, number] if typing.get_origin(annotation) is tuple else number
            with pytest.raises(UserError, match=rf"{name}=.* is not valid: expected a finite number"):
                load_params(PARAMS, {name: value})
