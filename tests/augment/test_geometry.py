import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from coatnet.augment.geometry import CROP_LANES, draw_crop, inside_box, policy_map, sample
from coatnet.augment.policy import SIGNED, Op, magnitudes
from coatnet.augment.random import draw
from coatnet.seeds import derive_seed

from .conftest import torchvisions

GEOMETRY = [Op.ShearX, Op.ShearY, Op.TranslateX, Op.TranslateY, Op.Rotate]
BILINEAR = F.InterpolationMode.BILINEAR
BLACK = torch.zeros(3)


def unchanged(images) -> torch.Tensor:
    return torch.arange(256.0, device=images.device).expand(len(images), 3, 256)


def ours(images, chain=(), size=64, box=(0, 0, 64, 64), flip=False, interpolation="nearest", fill=BLACK):
    n, device = len(images), images.device
    operations, values = zip(*(chain or [(Op.Identity, 0.0)]), strict=True)
    operation_bn = torch.tensor(operations, device=device).expand(n, -1)
    map_b23 = policy_map(operation_bn, torch.tensor(values, device=device).expand(n, -1), size)
    box_b4, flip_b = torch.tensor(box, device=device).expand(n, 4), torch.tensor(flip, device=device).expand(n)
    return sample(images, unchanged(images), box_b4, flip_b, map_b23, size, fill.to(device), interpolation)


def differing(x, expected) -> float:
    return (x != expected).any(1).float().mean().item()


def to_rounding_border(op, magnitude) -> torch.Tensor:
    """64 x 64: how far each output pixel's source is from the middle between two pixels, in exact arithmetic."""
    map_23 = policy_map(torch.tensor([[op]]), torch.tensor([[magnitude]], dtype=torch.float64), 64)[0]
    offset = torch.arange(64, dtype=torch.float64) - 31.5
    source = map_23[:, :1, None] * offset + map_23[:, 1:2, None] * offset[:, None] + map_23[:, 2:, None] + 31.5
    return (source - source.floor() - 0.5).abs().amin(0)


@pytest.mark.parametrize("op", GEOMETRY)
@pytest.mark.parametrize("wide", [False, True])
def test_nearest_equals_torchvision_at_every_magnitude(op, wide, images, device, path):
    """But for 0.5% of the pixels on average at most, and only where the source lies between two by float's grace."""
    images, different = images[:6].to(device), []
    for magnitude in magnitudes(op, 31, 64, wide).tolist():
        for signed in (magnitude, -magnitude):
            expected = torchvisions(images, [(op, signed)])
            differs = (ours(images, [(op, signed)]) != expected).any(1).cpu()
            assert not (differs & (to_rounding_border(op, signed) > 1e-4)).any(), signed
            different.append(differs.float().mean())
    assert torch.stack(different).mean() <= 0.005


@pytest.mark.parametrize("op", GEOMETRY)
def test_bilinear_equals_torchvision_inside(op, images, device, path):
    for magnitude in magnitudes(op, 10, 64).tolist()[1::4]:
        expected = torchvisions(images.float(), [(op, magnitude)], BILINEAR)
        # Where torchvision blends the border with black, ours ends sharply.
        inside = torchvisions(torch.ones(1, 64, 64), [(op, magnitude)], BILINEAR) == 1
        x = ours(images.to(device), [(op, magnitude)], interpolation="bilinear").cpu()
        torch.testing.assert_close(x * inside, expected * inside, rtol=0, atol=0.05)


@pytest.mark.parametrize("first", GEOMETRY)
@pytest.mark.parametrize("second", GEOMETRY)
def test_chains_keep_their_order(first, second, device):
    """A chain moves a point to where torchvision's two steps move it: to a pixel or so, as those round twice."""
    chain = [(first, 20.0 if first == Op.Rotate else 0.3 if "Shear" in first.name else 9.0)]
    chain += [(second, -25.0 if second == Op.Rotate else 0.2 if "Shear" in second.name else -6.0)]
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    coordinates = torch.stack([x, y, torch.full_like(x, 99)]).byte()  # each pixel says where it came from
    expected = torchvisions(coordinates, chain).int()
    actual = ours(coordinates[None].to(device), chain)[0].int().cpu()
    visible, also_theirs = actual[2] == 99, expected[2] == 99
    assert also_theirs.float().mean() > 0.3
    assert (actual - expected)[:, visible & also_theirs].abs().max() <= 1
    # One sampling keeps what torchvision's first step moves out of the image and its second step back in.
    assert (also_theirs & ~visible).float().mean() < 0.01


@pytest.mark.parametrize("size", [24, 64, 96])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 64, 64), (5, 9, 40, 31), (60, 0, 4, 64)])
def test_crop_and_flip_equal_torchvision(size, flip, box, images, device, path):
    left, top, w, h = box
    expected = F.resized_crop(images.float(), top, left, h, w, [size, size], BILINEAR, antialias=False)
    expected = F.horizontal_flip(expected) if flip else expected
    x = ours(images.to(device), size=size, box=box, flip=flip, interpolation="bilinear").cpu()
    torch.testing.assert_close(x, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_map_acts_on_the_flipped_crop(interpolation, images, device, path):
    """As torchvision, that augments the crop once it is cut out, resized and flipped; beyond it is the fill."""
    images = images.to(device)
    left, top, w, h = 8, 16, 48, 32
    chain, fill = [(Op.Rotate, 20.0), (Op.ShearX, 0.2)], torch.tensor([-5.0, 300.0, 2.5])
    crop = F.horizontal_flip(images[:, :, top : top + h, left : left + w])
    crop_alone = ours(crop, chain, 64, (0, 0, w, h), False, interpolation, fill)
    x = ours(images, chain, 64, (left, top, w, h), True, interpolation, fill)
    if interpolation == "nearest":
        assert differing(x, crop_alone) <= 0.005
    else:
        torch.testing.assert_close(x, crop_alone, rtol=0, atol=0.05)
    assert (x[:, 1, 0, 0] == 300).all()


def test_mixed_batch_equals_one_by_one(images, device, path):
    g = torch.Generator().manual_seed(0)
    n = len(images)
    operation = torch.randint(0, len(Op), (n, 2), generator=g)
    magnitude = torch.where(torch.isin(operation, torch.tensor(SIGNED)), torch.rand(n, 2, generator=g), 0) * 10
    box = draw_crop(draw(derive_seed("test", 3), torch.arange(n), CROP_LANES), (0.08, 1), (3 / 4, 4 / 3), 64, 64)
    flip, map_b23 = torch.arange(n) % 2 == 0, policy_map(operation, magnitude / 20, 80)
    arguments = [t.to(device) for t in (images, unchanged(images), box, flip, map_b23)]
    together = sample(*arguments, 80, BLACK.to(device))
    for i in range(n):
        one = slice(i, i + 1)
        alone = sample(*(t[one] for t in arguments), 80, BLACK.to(device))
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.9), (0.2, 0.4)), ((1, 1), (1, 1))]
)
def test_crop_distribution_is_torchvisions(scale, ratio, device):
    """Also where few of the ten attempts fit, and where none can."""
    reference = v2.RandomResizedCrop(64, scale=scale, ratio=ratio)
    torch.manual_seed(0)
    n, image = 4000, [torch.empty(3, 64, 64)]
    boxes = [reference.make_params(image) for _ in range(n)]
    theirs = torch.tensor([[b["left"], b["top"], b["width"], b["height"]] for b in boxes])
    drawn = draw_crop(
        draw(derive_seed("test", 4), torch.arange(10 * n, device=device), CROP_LANES), scale, ratio, 64, 64
    ).cpu()
    assert (drawn >= 0).all() and (drawn[:, :2] + drawn[:, 2:] <= 64).all() and (drawn[:, 2:] > 0).all()
    measures = {
        "area": lambda box: box[:, 2] * box[:, 3],
        "ratio": lambda box: box[:, 2] / box[:, 3],
        "left": lambda box: box[:, 0],
        "top": lambda box: box[:, 1],
    }
    for name, measure in measures.items():
        assert stats.ks_2samp(measure(drawn).numpy(), measure(theirs).numpy()).pvalue > 1e-3, name


def test_inside_box(device):
    inside = inside_box(torch.tensor([[1, 2, 3, 1], [0, 0, 0, 0]], device=device), 4, 5).cpu()
    expected = torch.zeros(2, 1, 4, 5, dtype=torch.bool)
    expected[0, 0, 2, 1:4] = True
    assert torch.equal(inside, expected)
