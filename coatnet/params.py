"""The typed parameters: what `params.yaml` may say. Reads no data and imports no torch.

`params.yaml` is the one place that holds values; here stand names, types, ranges and what must fit together. The
exception is `AugmentParams`, whose defaults are "off", so that it can be built by hand outside this project.
"""

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from .errors import UserError, one_line

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=2**16)]  # channels; more would fill any memory before it is refused
Pixels = Annotated[int, Field(ge=8, le=1024)]
Item = TypeVar("Item")
# YAML's lists, as tuples: frozen like all else.
Listed = Annotated[tuple[Item, ...], Strict(False)]
Range = Annotated[tuple[float, float], Strict(False)]  # least and greatest
SizeFrom = Annotated[tuple[Annotated[int, Field(ge=0)], Pixels], Strict(False)]  # epoch, pixels
MAX_OPERATIONS = 10  # that an image goes through; another number would change all random numbers (augment/policy.py)


def _matching(pattern: str, meaning: str) -> AfterValidator:
    """For a string: its error says what is expected in words, not as a pattern."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(meaning)
        return value

    return AfterValidator(check)


class Section(BaseModel):
    # Strict: "128" or 128.0 is no batch size.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class SyntheticParams(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    classes: Annotated[int, Field(ge=2, le=200)]
    train_per_class: Positive
    test_per_class: Positive


class DataParams(Section):
    source: Literal["tiny-imagenet", "synthetic"]
    archive: Annotated[str, Field(min_length=1)] | None
    urls: Annotated[Listed[str], Field(min_length=1)]
    sha256: Annotated[str, _matching("[0-9a-f]{64}", "64 hexadecimal digits, in lower case")]
    size: Pixels
    holdout: Annotated[float, Field(ge=0, le=0.5)]
    fraction: Annotated[float, Field(gt=0, le=1)]
    synthetic: SyntheticParams

    @property
    def like_original(self) -> bool:
        """Whether the data are Tiny ImageNet, so that the original's accuracies compare."""
        return self.source == "tiny-imagenet" and self.archive is None


class TableParams(Section):
    """Knobs of `variant: table` alone."""

    heads: Width


class PaperParams(Section):
    """Knobs of `variant: paper` alone."""

    head_dim: Width
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    stride_on: Literal["expand", "depthwise"]
    pool: Literal["max", "avg"]
    se_place: Literal["after_norm", "before_norm"]
    se_activation: Literal["gelu", "silu"]
    layer_scale: Annotated[float, Field(gt=0)] | None
    activation: Literal["gelu", "relu", "silu"]
    fused_stages: Annotated[int, Field(ge=0)]
    head: Literal["linear", "tanh"]


class ModelParams(Section):
    name: Annotated[str, _matching(r"coatnet|timm/[\w.]+", "coatnet, or timm/NAME for one of timm's models")]
    pretrained: bool
    variant: Literal["table", "paper"]
    image_size: Pixels
    layout: Annotated[str, _matching("[CT]+", "a letter a stage, C for convolution or T for attention, such as CCTT")]
    blocks: Listed[Annotated[int, Field(ge=1, le=1024)]]
    dims: Listed[Width]
    stem_width: Width
    stem_stride: Literal[1, 2]
    strides: Literal[1, 2] | Listed[Literal[1, 2]]
    kernel: Literal[3, 5, 7]
    expansion: Annotated[int, Field(ge=1, le=1024)]
    se_ratio: Fraction
    table: TableParams
    paper: PaperParams

    @property
    def total_stride(self) -> int:
        """Pixels of the image behind one position of the last feature map, along a side."""
        if isinstance(self.strides, int):
            return self.stem_stride * int(self.strides ** len(self.layout))
        return self.stem_stride * math.prod(self.strides)

    def check_image_size(self, image_size: int, name: str = "model.image_size") -> None:
        """Raises `ValueError` where the strides do not divide `image_size`; what a timm model takes shows in use."""
        stride = self.total_stride
        if self.name == "coatnet" and image_size % stride:
            near = max(stride, round(image_size / stride) * stride)
            raise ValueError(f"{name}={image_size} is not divisible by the model's total stride {stride}; try {near}")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        stages = len(self.layout)
        for name, values in (("blocks", self.blocks), ("dims", self.dims), ("strides", self.strides)):
            if isinstance(values, tuple) and len(values) != stages:
                raise ValueError(
                    f"model.{name} has {len(values)} entries but model.layout={self.layout} has {stages} stages: "
                    "give one entry a stage"
                )
        self.check_image_size(self.image_size)
        if self.pretrained and self.name == "coatnet":
            raise ValueError(
                "model.pretrained=true is for timm's models: a CoAtNet starts from the checkpoint that train.init names"
            )
        divisor, name = {
            "table": (self.table.heads, "model.table.heads"),
            "paper": (self.paper.head_dim, "model.paper.head_dim"),
        }[self.variant]
        if not set(self.layout[: self.paper.fused_stages]) <= {"C"} or self.paper.fused_stages > stages:
            raise ValueError(
                f"model.paper.fused_stages={self.paper.fused_stages} is more than the stages of convolution that "
                f"model.layout={self.layout} begins with"
            )
        for kind, dim in zip(self.layout, self.dims, strict=True):
            if kind == "T" and dim % divisor:
                raise ValueError(f"model.dims: the attention width {dim} is not divisible by {name}={divisor}")
        return self


def _ordered(low_high: tuple[float, float], name: str) -> None:
    if not 0 < low_high[0] <= low_high[1]:
        raise ValueError(f"augment.{name}={list(low_high)} is empty: give two positive numbers, the smaller one first")


class RandAugmentParams(Section):
    ops: Annotated[int, Field(ge=1, le=MAX_OPERATIONS)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9


class MixParams(Section):
    probability: Fraction = 0.0
    alpha: Annotated[float, Field(gt=0)] = 1.0


class EraseParams(Section):
    probability: Fraction = 0.0
    area: Range = (0.02, 0.33)
    ratio: Range = (0.3, 3.3)
    value: Literal["zero", "noise"] = "zero"


class AugmentParams(Section):
    """What is done to training images. Everything is off unless named, so `AugmentParams()` only resizes."""

    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    crop_scale: Range = (1.0, 1.0)
    crop_ratio: Range = (1.0, 1.0)
    flip: Fraction = 0.0
    policy: Literal["none", "autoaugment-imagenet", "autoaugment-cifar10", "randaugment", "trivialaugment"] = "none"
    randaugment: RandAugmentParams = RandAugmentParams()
    mixup: MixParams = MixParams()
    cutmix: MixParams = MixParams()
    erase: EraseParams = EraseParams()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    passes: Annotated[Listed[Literal["plain", "mixup", "cutmix", "erase"]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _ordered(self.crop_scale, "crop_scale")
        _ordered(self.crop_ratio, "crop_ratio")
        _ordered(self.erase.area, "erase.area")
        _ordered(self.erase.ratio, "erase.ratio")
        for name, area in (("crop_scale", self.crop_scale), ("erase.area", self.erase.area)):
            if area[1] > 1:
                raise ValueError(f"augment.{name}={list(area)} goes beyond the whole image: at most 1")
        if self.mixup.probability + self.cutmix.probability > 1:
            raise ValueError(
                f"augment.mixup.probability={self.mixup.probability} and augment.cutmix.probability="
                f"{self.cutmix.probability} add up to more than 1: an image gets one of them or neither"
            )
        return self


class MuonParams(Section):
    """Knobs of `optimizer: muon` alone."""

    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    steps: Annotated[int, Field(ge=1, le=10)]
    weight_decay: Annotated[float, Field(ge=0)]
    stem: bool
    head: bool


class TrainParams(Section):
    init: Annotated[str, Field(min_length=1)]
    epochs: Positive
    batch_size: Positive
    accumulation: Positive
    optimizer: Literal["adamw", "muon"]
    lr: Annotated[float, Field(gt=0)]
    final_lr: Fraction
    warmup_epochs: Annotated[float, Field(ge=0)]
    schedule: Literal["cosine", "linear", "trapezoid"]
    weight_decay: Annotated[float, Field(ge=0)]
    muon: MuonParams
    clip_norm: Annotated[float, Field(gt=0)] | None
    ema: Annotated[float, Field(gt=0, lt=1)] | None
    image_size: Annotated[Listed[SizeFrom], Field(min_length=1)] | None
    evaluate_every: Annotated[int, Field(ge=0)]
    precision: Literal["auto", "bf16", "float32"]
    compile: Literal["auto", True, False]
    deterministic: bool
    processes: Positive | Literal["auto"]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"train.warmup_epochs={self.warmup_epochs} is more than train.epochs={self.epochs}")
        self.check_parts(1 if self.processes == "auto" else self.processes)
        if self.image_size:
            starts = [epoch for epoch, _ in self.image_size]
            if starts[0] != 0 or sorted(set(starts)) != starts:
                raise ValueError(f"train.image_size must start at epoch 0 and go up, but its epochs are {starts}")
            if starts[-1] >= self.epochs:
                raise ValueError(
                    f"train.image_size has a size from epoch {starts[-1]} on (the first is 0), but train.epochs="
                    f"{self.epochs} ends before it"
                )
        return self

    def check_parts(self, processes: int) -> None:
        """Raises `ValueError` where a batch cannot be cut into equal parts for so many processes."""
        parts = processes * self.accumulation
        if self.batch_size % parts:
            each = f" in each of {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"train.batch_size={self.batch_size} cannot be cut into train.accumulation={self.accumulation} parts"
                f"{each}: make it a multiple of {parts}"
            )

    @property
    def checkpoint(self) -> str | None:
        """The path of the one to start from; none for random weights."""
        return None if self.init == "scratch" else self.init

    @property
    def image_sizes(self) -> list[int]:
        """The sizes of the schedule; none where `model.image_size` is the only one."""
        return [size for _, size in self.image_size or ()]


class EvaluateParams(Section):
    image_size: Pixels | None
    crop: Annotated[float, Field(ge=0.1, le=1)] | None
    flip: bool
    batch_size: Positive


class PlotParams(Section):
    images: Annotated[int, Field(ge=1, le=256)]
    dpi: Annotated[int, Field(ge=30, le=600)]


class Params(Section):
    """All parameters, frozen and checked; made by `load_params`."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    data: DataParams
    model: ModelParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams
    plot: PlotParams

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.train.image_size:
            for size in self.train.image_sizes:
                self.model.check_image_size(size, "train.image_size")
            last = self.train.image_sizes[-1]
            if last != self.model.image_size:
                raise ValueError(
                    f"train.image_size ends with {last} but model.image_size={self.model.image_size}: make them equal"
                )
        if self.evaluate.image_size:
            self.model.check_image_size(self.evaluate.image_size, "evaluate.image_size")
        if self.train.checkpoint and self.model.pretrained:
            raise ValueError("train.init and model.pretrained=true both give the first weights: take one of them")
        return self


class Loader(yaml.SafeLoader):
    """YAML 1.2's numbers, as DVC reads them: PyYAML alone takes 1e-3 for a string."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises:
        UserError: it is missing, or no YAML.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from None


def load_params(path: str | Path = "params.yaml", overrides: Mapping[str, Any] | None = None) -> Params:
    """Reads, checks and freezes the parameters.

    Args:
        path: a YAML file with every section.
        overrides: values to put in place of the file's, by dotted name: `{"model.blocks": [1, 1, 3, 1]}`.

    Raises:
        UserError: the file is missing or no YAML, a name is unknown (the nearest known one is given) or missing, or
            a value is out of its range or does not fit the others.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no parameters")
    for name, value in (overrides or {}).items():
        _set(values, name, value)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_sentence(error)}") from None


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"{name} is not a parameter: {section} is not a section")
    values[key] = value


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def parameter_names(model: type[BaseModel] = Params, prefix: str = "") -> list[str]:
    """Every dotted parameter name, sections included."""
    names = []
    for key, field in model.model_fields.items():
        names.append(prefix + key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += parameter_names(field.annotation, f"{prefix}{key}.")
    return names


def _sentence(error: ValidationError) -> str:
    """The first error in words; unknown names first, since a mistyped name is also a missing one."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # A union's error path ends in the names of its members; a parameter's path does not.
    known = parameter_names()
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        return f"{name} is not a parameter" + (f"; did you mean {near[0]}?" if near else "")
    if first["type"] == "missing" and name in known:
        return f"{name} is missing"
    given = first["input"]
    if first["type"] == "value_error" and isinstance(given, dict):  # what the checks above say of a whole section
        return str(first["ctx"]["error"])
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    errors = [e for e in error.errors() if _under(e, name)]
    # A list whose items are wrong is also said to be too short.
    expected = dict.fromkeys(_expected(e) for e in errors if e is errors[0] or e["type"] != "too_short")
    given = list(given) if isinstance(given, tuple) else given
    return f"{name}={given!r} is not valid: expected {' or '.join(expected)}"


def _expected(error: Any) -> str:
    match error["type"]:
        case "missing":
            return "more entries"
        case "value_error":
            return str(error["ctx"]["error"])
        case "tuple_type":
            return "a list"
        case "too_short":  # none has a least length above 1
            return "at least one entry"
        case "too_long":
            return f"at most {error['ctx']['max_length']} entries"
        case "string_too_short":
            return "some text"
        case "model_type":
            return "a section"
    return error["msg"].removeprefix("Input should be ")


def _under(error: Any, name: str) -> bool:
    dotted = ".".join(str(part) for part in error["loc"])
    return dotted == name or dotted.startswith(name + ".")
