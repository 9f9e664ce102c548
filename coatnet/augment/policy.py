"""Which operations an image goes through: the published policies as tables, and the draw from them.

AutoAugment (Cubuk et al. 2018, tables 7 and 9), RandAugment (Cubuk et al. 2019) and TrivialAugment Wide (Mueller and
Hutter 2021), with the magnitudes of torchvision's `transforms.v2`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from torch import Tensor

from ..params import MAX_OPERATIONS, AugmentParams
from .random import integer, uniform


class Op(IntEnum):
    """The operations, by the names that torchvision's policies give them."""

    Identity = 0
    ShearX = 1
    ShearY = 2
    TranslateX = 3
    TranslateY = 4
    Rotate = 5
    Brightness = 6
    Color = 7
    Contrast = 8
    Sharpness = 9
    Posterize = 10
    Solarize = 11
    AutoContrast = 12
    Equalize = 13
    Invert = 14


# Which row, whether it applies, which sign: for each operation. Another number would give all later lanes, and so all
# runs, other random numbers.
POLICY_LANES = 3 * MAX_OPERATIONS
# Their magnitude is negated half of the time.
SIGNED = (
    *(Op.ShearX, Op.ShearY, Op.TranslateX, Op.TranslateY, Op.Rotate),
    *(Op.Brightness, Op.Color, Op.Contrast, Op.Sharpness),
)

# Sub-policies: (operation, probability, index of the magnitude among ten) twice.
AUTOAUGMENT_IMAGENET = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, None), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, None)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, None)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, None), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, None)),
    (("Equalize", 0.0, None), ("Equalize", 0.8, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, None)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, None)),
    (("Color", 0.4, 0), ("Equalize", 0.6, None)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
)
AUTOAUGMENT_CIFAR10 = (
    (("Invert", 0.1, None), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, None), ("Equalize", 0.9, None)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, None), ("Equalize", 0.5, None)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, None), ("AutoContrast", 0.4, None)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, None)),
    (("Equalize", 0.2, None), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.2, None), ("Equalize", 0.6, None)),
    (("Color", 0.9, 9), ("Equalize", 0.6, None)),
    (("AutoContrast", 0.8, None), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, None)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, None), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, None), ("Invert", 0.1, None)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, None)),
)


def magnitudes(op: Op, bins: int, image_size: int, wide: bool = False) -> Tensor:
    """The `bins` magnitudes of an operation, weakest first; zeros where it has none.

    Shears are slopes, translations pixels of an `image_size` output, rotations degrees, posterize bits, solarize a
    threshold as a fraction of 255, the others the factor's distance from 1. `wide` gives TrivialAugment's ranges.
    """
    match op:
        case Op.ShearX | Op.ShearY:
            return torch.linspace(0, 0.99 if wide else 0.3, bins)
        case Op.TranslateX | Op.TranslateY:
            return torch.linspace(0, 32 if wide else 150 / 331 * image_size, bins)
        case Op.Rotate:
            return torch.linspace(0, 135 if wide else 30, bins)
        case Op.Brightness | Op.Color | Op.Contrast | Op.Sharpness:
            return torch.linspace(0, 0.99 if wide else 0.9, bins)
        case Op.Posterize:
            return (8 - torch.arange(bins) / ((bins - 1) / (6 if wide else 4))).round()
        case Op.Solarize:
            return torch.linspace(1, 0, bins)
    return torch.zeros(bins)


@dataclass(frozen=True)
class Policy:
    """A table of rows that an image draws from with equal probability; a row is a chain of operations.

    Shapes: R rows x K operations.
    """

    operation_rk: Tensor  # int64, codes of Op
    probability_rk: Tensor  # of each operation, once its row is drawn
    magnitude_rk: Tensor
    signed_rk: Tensor  # bool
    repeats: int = 1  # rows drawn for an image, one after the other

    @classmethod
    def of(cls, params: AugmentParams, image_size: int) -> "Policy":
        """The policy that the parameters name."""
        match params.policy:
            case "none":
                return cls._from_rows([[(Op.Identity, 1.0, 0.0)]])
            case "randaugment":
                ops, magnitude = [op for op in Op if op != Op.Invert], params.randaugment.magnitude
                rows = [[(op, 1.0, magnitudes(op, 31, image_size)[magnitude])] for op in ops]
                return cls._from_rows(rows, repeats=params.randaugment.ops)
            case "trivialaugment":
                ops = [op for op in Op if op != Op.Invert]
                return cls._from_rows([[(op, 1.0, m)] for op in ops for m in magnitudes(op, 31, image_size, wide=True)])
        table = AUTOAUGMENT_IMAGENET if params.policy == "autoaugment-imagenet" else AUTOAUGMENT_CIFAR10
        return cls._from_rows(
            [
                [(Op[name], p, magnitudes(Op[name], 10, image_size)[index or 0]) for name, p, index in row]
                for row in table
            ]
        )

    @classmethod
    def _from_rows(cls, rows: Sequence[Sequence[tuple[Op, float, float | Tensor]]], repeats: int = 1) -> "Policy":
        operation_rk, probability_rk, magnitude_rk = torch.tensor(rows).unbind(-1)
        operation_rk = operation_rk.long()
        return cls(operation_rk, probability_rk, magnitude_rk, torch.isin(operation_rk, torch.tensor(SIGNED)), repeats)

    @property
    def operations(self) -> frozenset[Op]:
        """The operations that can be drawn."""
        return frozenset(map(Op, self.operation_rk.unique().tolist()))

    def to(self, device: torch.device) -> "Policy":
        tensors = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "repeats"}
        return Policy(**tensors, repeats=self.repeats)

    def draw(self, bits_b3n: Tensor) -> tuple[Tensor, Tensor]:
        """Each image's chain of N = repeats x K operations, in the order in which they apply.

        Args:
            bits_b3n: draws for the rows, for whether to apply, and for the signs; only the first N of each are used.

        Returns:
            codes of Op (Identity where the probability said no) and magnitudes with their signs, each B x N.
        """
        row_bits, apply_bits, sign_bits = bits_b3n.unbind(1)
        row_bn = integer(row_bits[:, : self.repeats], len(self.operation_rk))
        operation, probability, magnitude, signed = (
            table[row_bn].flatten(1)
            for table in (self.operation_rk, self.probability_rk, self.magnitude_rk, self.signed_rk)
        )
        n = operation.shape[1]
        applied = uniform(apply_bits[:, :n]) < probability
        negative = signed & (uniform(sign_bits[:, :n]) < 0.5)
        return torch.where(applied, operation, Op.Identity), torch.where(negative, -magnitude, magnitude)
