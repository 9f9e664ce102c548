import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from coatnet.augment import policy
from coatnet.augment.policy import SIGNED, Op, Policy, magnitudes
from coatnet.augment.random import draw
from coatnet.params import AugmentParams, RandAugmentParams
from coatnet.seeds import derive_seed

AUTO = {"autoaugment-imagenet": v2.AutoAugmentPolicy.IMAGENET, "autoaugment-cifar10": v2.AutoAugmentPolicy.CIFAR10}
N = 100_000


def draws(params: AugmentParams, n: int = N):
    return Policy.of(params, 64).draw(draw(derive_seed("test", 1), torch.arange(n), 30).unflatten(1, (3, -1)))


def p_value(values: torch.Tensor, expected: dict) -> float:
    """Chi-squared of how often each key of `expected` (value -> probability) occurs; nothing else may."""
    found, counts = values.unique(return_counts=True)
    assert set(found.tolist()) == {value for value, p in expected.items() if p}
    expectation = torch.tensor([expected[value] for value in found.tolist()], dtype=torch.float64) * len(values)
    return stats.chisquare(counts.numpy(), expectation.numpy()).pvalue


def test_there_are_random_numbers_for_as_many_operations_as_the_parameters_allow():
    assert policy.POLICY_LANES == 30  # another number changes all that is drawn


@pytest.mark.parametrize("name", AUTO)
def test_autoaugment_tables_are_torchvisions(name):
    reference = v2.AutoAugment(AUTO[name])
    table = {
        "autoaugment-imagenet": policy.AUTOAUGMENT_IMAGENET,
        "autoaugment-cifar10": policy.AUTOAUGMENT_CIFAR10,
    }[name]
    assert list(table) == reference._policies


@pytest.mark.parametrize(
    ("reference", "bins", "wide"),
    [(v2.AutoAugment, 10, False), (v2.RandAugment, 31, False), (v2.TrivialAugmentWide, 31, True)],
)
@pytest.mark.parametrize("size", [32, 64, 224])
def test_magnitudes_are_torchvisions(reference, bins, wide, size):
    space = reference._AUGMENTATION_SPACE
    assert set(space) <= set(Op.__members__)
    for name, (function, signed) in space.items():
        expected = function(bins, size, size)
        expected = torch.zeros(bins) if expected is None else expected.float()
        assert torch.equal(magnitudes(Op[name], bins, size, wide), expected), name
        assert (Op[name] in SIGNED) == signed, name


@pytest.mark.parametrize("name", AUTO)
def test_autoaugment_frequencies(name):
    """Which sub-policy applied which of its two operations, and each operation's sign, against the published table."""
    operation, magnitude = draws(AugmentParams(policy=name))
    # Two draws look alike when (operation, |magnitude|) twice are the same: the expectation adds those rows up.
    expected, space = {}, v2.AutoAugment._AUGMENTATION_SPACE
    for row in v2.AutoAugment(AUTO[name])._policies:
        outcomes = []
        for op, p, index in row:
            values = space[op][0](10, 64, 64)
            value = 0 if values is None else round(float(values[index]), 4)
            outcomes.append((((int(Op[op]), value), p), (None, 1 - p)))
        for first, p1 in outcomes[0]:
            for second, p2 in outcomes[1]:
                expected[(first, second)] = expected.get((first, second), 0) + p1 * p2 / 25
    codes = {chain: code for code, chain in enumerate(expected)}
    steps = [
        [None if op == Op.Identity else (op, abs(round(m, 4))) for op, m in zip(ops, mags, strict=True)]
        for ops, mags in zip(operation.tolist(), magnitude.tolist(), strict=True)
    ]
    drawn = torch.tensor([codes[tuple(chain)] for chain in steps])
    assert p_value(drawn, {codes[chain]: p for chain, p in expected.items()}) > 1e-3
    signed = magnitude[(magnitude != 0) & torch.isin(operation, torch.tensor(SIGNED))]
    assert p_value(signed.sign(), {-1.0: 0.5, 1.0: 0.5}) > 1e-3


@pytest.mark.parametrize("ops", [1, 2, 10])
def test_randaugment_frequencies(ops):
    params = AugmentParams(policy="randaugment", randaugment=RandAugmentParams(ops=ops, magnitude=15))
    operation, magnitude = draws(params, N // ops)
    assert operation.shape == (N // ops, ops)
    names = v2.RandAugment._AUGMENTATION_SPACE
    assert p_value(operation.flatten(), {int(Op[name]): 1 / len(names) for name in names}) > 1e-3
    if ops > 1:  # successive operations are independent
        pair = operation[:, 0] * 100 + operation[:, 1]
        every = {int(Op[a]) * 100 + int(Op[b]): 1 / len(names) ** 2 for a in names for b in names}
        assert p_value(pair, every) > 1e-3
    assert p_value(magnitude[operation == Op.Rotate], {-15.0: 0.5, 15.0: 0.5}) > 1e-3


def test_trivialaugment_frequencies():
    operation, magnitude = draws(AugmentParams(policy="trivialaugment"))
    names = v2.TrivialAugmentWide._AUGMENTATION_SPACE
    assert p_value(operation[:, 0], {int(Op[name]): 1 / len(names) for name in names}) > 1e-3
    angles = magnitudes(Op.Rotate, 31, 64, wide=True).tolist()
    expected = dict.fromkeys(angles[1:], 1 / 62) | {-angle: 1 / 62 for angle in angles[1:]} | {0.0: 1 / 31}
    assert p_value(magnitude[operation == Op.Rotate], expected) > 1e-3
    bits = {8.0: 0, 7.0: 0, 6.0: 0, 5.0: 0, 4.0: 0, 3.0: 0, 2.0: 0}
    for value in magnitudes(Op.Posterize, 31, 64, wide=True).tolist():
        bits[value] += 1 / 31
    assert p_value(magnitude[operation == Op.Posterize], bits) > 1e-3
