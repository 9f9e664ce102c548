import pytest
import torch

from coatnet.augment.colour import apply_colour, look_up
from coatnet.augment.policy import SIGNED, Op, magnitudes

from .conftest import torchvisions

TABLE_OPS = [Op.Brightness, Op.Contrast, Op.Posterize, Op.Solarize, Op.AutoContrast, Op.Equalize, Op.Invert]
BLEND_OPS = [Op.Color, Op.Sharpness]


def ours(images, chain, inside=None):
    operations, values = zip(*chain, strict=True)
    n, device = len(images), images.device
    if inside is None:
        inside = torch.ones(n, 1, *images.shape[2:], dtype=torch.bool, device=device)
    operation_bn = torch.tensor(operations, device=device).expand(n, -1)
    return look_up(*apply_colour(images, operation_bn, torch.tensor(values, device=device).expand(n, -1), inside))


def every_magnitude(op):
    values = set(magnitudes(op, 10, 64).tolist() + magnitudes(op, 31, 64).tolist())
    values |= set(magnitudes(op, 31, 64, wide=True).tolist())
    return sorted(values | {-v for v in values}) if op in SIGNED else sorted(values)


@pytest.mark.parametrize("op", TABLE_OPS + BLEND_OPS)
def test_equals_torchvision_at_every_magnitude(op, images, device, path):
    images = images.to(device)
    for magnitude in every_magnitude(op):
        expected = torchvisions(images, [(op, magnitude)])
        difference = (ours(images, [(op, magnitude)]).int() - expected.int()).abs().max()
        assert difference <= (0 if op in TABLE_OPS else 1), magnitude


@pytest.mark.parametrize("first", TABLE_OPS)
@pytest.mark.parametrize("second", TABLE_OPS)
def test_chains_of_tables_equal_torchvision(first, second, images, device):
    images = images.to(device)
    chain = [(op, every_magnitude(op)[len(every_magnitude(op)) // 3]) for op in (first, second)]
    expected = torchvisions(images, chain)
    assert torch.equal(ours(images, chain), expected)


@pytest.mark.parametrize("blend", BLEND_OPS)
@pytest.mark.parametrize("table", [Op.Equalize, Op.Contrast, Op.Solarize])
@pytest.mark.parametrize("blend_first", [False, True])
def test_chains_with_blends_keep_their_order(blend, table, blend_first, images, device):
    images = images.to(device)
    chain = [(blend, 0.8), (table, 0.4)] if blend_first else [(table, 0.4), (blend, 0.8)]
    # Blends are within 1 of torchvision's; a table after one can spread that, so its input is taken from ours.
    after_first = ours(images, chain[:1])
    expected = torchvisions(after_first, chain[1:])
    difference = (ours(images, chain).int() - expected.int()).abs().max()
    assert difference <= (0 if blend_first else 1)


def test_each_image_has_its_own_chain(images, device, path):
    """A mixed batch equals the images one by one; images without an operation stay; the input is not written to."""
    images = images.to(device)
    before = images.clone()
    g = torch.Generator().manual_seed(0)
    operation = torch.randint(0, len(Op), (len(images), 3), generator=g)
    operation[0] = Op.Rotate
    magnitude = torch.where(operation == Op.Posterize, 4, torch.rand(operation.shape, generator=g))
    operation, magnitude = operation.to(device), magnitude.to(device)
    inside = torch.ones(len(images), 1, 64, 64, dtype=torch.bool, device=device)
    together = look_up(*apply_colour(images, operation, magnitude, inside))
    for i in range(len(images)):
        one = slice(i, i + 1)
        alone = look_up(*apply_colour(images[one], operation[one], magnitude[one], inside[one]))
        assert torch.equal(together[one], alone)
    assert torch.equal(together[0], before[0])
    assert torch.equal(images, before)


@pytest.mark.parametrize("op", [Op.AutoContrast, Op.Equalize, Op.Contrast])
def test_measures_the_crop(op, images, device):
    """Inside the crop, the same as torchvision does to the crop alone."""
    images = images.to(device)
    inside = torch.zeros(len(images), 1, 64, 64, dtype=torch.bool, device=device)
    inside[:, :, 10:50, 5:35] = True
    crop = images[:, :, 10:50, 5:35]
    expected = torchvisions(crop, [(op, 0.6)])
    assert torch.equal(ours(images, [(op, 0.6)], inside)[:, :, 10:50, 5:35], expected)
