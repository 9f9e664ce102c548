from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import interpolate, one_hot

from coatnet import UserError
from coatnet.augment import AugmentParams, BatchAugment
from coatnet.augment.batch import STEPS_AT_ONCE
from coatnet.data.transform import EvalTransform
from coatnet.params import EraseParams, MixParams, RandAugmentParams

MEAN, STD = (0.48, 0.45, 0.40), (0.28, 0.27, 0.29)
EVERYTHING = AugmentParams(
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    flip=0.5,
    policy="randaugment",
    mixup=MixParams(probability=0.3, alpha=0.2),
    cutmix=MixParams(probability=0.3),
    erase=EraseParams(probability=0.5, value="noise"),
    label_smoothing=0.1,
)


def make(params=EVERYTHING, size=32, **arguments):
    return BatchAugment(
        params, **{"image_size": size, "num_classes": 10, "mean": MEAN, "std": STD, "seed": 0} | arguments
    )


def normalised(images):
    return (images.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@pytest.fixture
def labels(images):
    return torch.arange(len(images)) % 10


def test_nothing_on_only_normalises(images, labels, device):
    x, targets = make(AugmentParams(), 64)(images.to(device), labels.to(device), epoch=0, step=0)
    torch.testing.assert_close(x.cpu(), normalised(images), rtol=0, atol=1e-4)
    assert torch.equal(targets.cpu(), one_hot(labels, 10).float())


def test_it_normalises_by_the_statistics_of_the_shards(images, labels, tiny):
    params = tiny().model_copy(update={"augment": AugmentParams()})
    augment = BatchAugment.of(params, SimpleNamespace(num_classes=10, mean=MEAN, std=STD), 64)
    x, _ = augment(images, labels, epoch=0, step=0)
    torch.testing.assert_close(x, normalised(images), rtol=0, atol=1e-4)


def test_nearest_takes_pixels_as_they_are(images, labels, device, path):
    augment = make(AugmentParams(interpolation="nearest"), 128)
    x, _ = augment(images.to(device), labels.to(device), epoch=0, step=0)
    expected = interpolate(normalised(images), 128, mode="nearest-exact")
    torch.testing.assert_close(x.cpu(), expected, rtol=0, atol=1e-4)


def test_of_an_oblong_image_the_middle_square_is_taken(images, labels, path):
    oblong, square = images[:, :, :48], images[:, :, :48, 8:56]
    x, expected = (make(AugmentParams(), 48)(some, labels, epoch=0, step=0)[0] for some in (oblong, square))
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)


def test_beyond_the_image_is_black(device, path):
    grey = torch.full((64, 3, 64, 64), 128, dtype=torch.uint8, device=device)
    params = AugmentParams(policy="randaugment", randaugment=RandAugmentParams(ops=1, magnitude=30))
    x, _ = make(params, 64)(grey, torch.zeros(64, dtype=torch.int64, device=device), epoch=0, step=0)
    black = normalised(torch.zeros(3, 1, 1, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(x.amin((0, 2, 3)).cpu(), black, rtol=0, atol=1e-4)


def test_images_are_flipped_at_their_rate(path):
    ramps = torch.arange(0, 128, 16, dtype=torch.uint8).expand(2000, 3, 8, 8).contiguous()
    x, _ = make(AugmentParams(flip=0.3), 8)(ramps, torch.zeros(2000, dtype=torch.int64), epoch=0, step=0)
    assert abs((x[:, 0, 0, 0] > x[:, 0, 0, -1]).double().mean() - 0.3) < 0.04


def test_every_image_its_own_result(images, device):
    params = EVERYTHING.model_copy(update={"erase": EraseParams()})
    same = images[:1].expand(64, -1, -1, -1).to(device)
    x, _ = make(params)(same, torch.zeros(64, dtype=torch.int64, device=device), epoch=0, step=0)
    assert len({tuple(image.flatten().tolist()) for image in x}) == 64


@pytest.mark.parametrize("value", ["zero", "noise"])
def test_same_place_same_bytes(images, labels, device, value):
    """Whatever came before, and for another object; and every word of the place counts."""
    images, labels = images.to(device), labels.to(device)
    params = EVERYTHING.model_copy(update={"erase": EraseParams(probability=0.5, value=value)})
    augment, place = make(params), {"epoch": 1, "step": STEPS_AT_ONCE + 2, "rank": 3}
    x, _ = augment(images, labels, **place)
    for word in ({"epoch": 0}, {"rank": 0}, {"only": "mixup"}, {"step": 2}, {"step": STEPS_AT_ONCE + 1}):
        other = augment(images, labels, **place | word)
        assert not torch.equal(other[0], x)
        assert all(map(torch.equal, other, make(params)(images, labels, **place | word)))
        assert torch.equal(augment(images, labels, **place)[0], x)
    for some in (images[:, :, :48], images[:5]):
        augment(some, labels[: len(some)], **place)
        assert torch.equal(augment(images, labels, **place)[0], x)
    assert not torch.equal(x, make(params, seed=1)(images, labels, **place)[0])


def test_ranks_share_one_global_batch(images, labels):
    params = EVERYTHING.model_copy(update={"mixup": MixParams(), "cutmix": MixParams()})  # partners stay in a rank
    whole, _ = make(params)(images, labels, epoch=0, step=0)
    half = len(images) // 2
    second, _ = make(params)(images[half:], labels[half:], epoch=0, step=0, rank=1)
    torch.testing.assert_close(second, whole[half:])


def test_input_is_not_written_to_and_both_ways_agree(images, labels, monkeypatch):
    before = images.clone()
    x, targets = make(size=64)(images, labels, epoch=0, step=0)
    assert torch.equal(images, before)
    monkeypatch.setattr("coatnet.augment.cpu.serves", lambda x: False)
    other, other_targets = make(size=64)(images, labels, epoch=0, step=0)
    assert torch.equal(targets, other_targets)
    # Sampling rounds otherwise, which moves a pixel over a sharp border now and then.
    assert ((x - other).abs() > 1e-3).float().mean() < 1e-3


@pytest.mark.gpu
def test_equal_across_devices(images, labels):
    x, targets = make(size=64)(images, labels, epoch=0, step=0)
    on_gpu, gpu_targets = make(size=64)(images.cuda(), labels.cuda(), epoch=0, step=0)
    torch.testing.assert_close(gpu_targets.cpu(), targets)
    assert ((x - on_gpu.cpu()).abs() > 1e-2).float().mean() < 5e-3


def test_targets(images, labels):
    x, targets = make()(images, labels, epoch=0, step=0)
    assert x.shape == (len(images), 3, 32, 32) and x.dtype == targets.dtype == torch.float32
    assert x.isfinite().all()
    torch.testing.assert_close(targets.sum(1), torch.ones(len(images)))
    assert (targets >= 0.1 / 10 - 1e-6).all()


@pytest.mark.parametrize("only", ["plain", "mixup", "cutmix", "erase"])
def test_passes_apply_their_own_augmentation_alone(only, images, labels):
    off = AugmentParams(mixup=MixParams(alpha=1.0), cutmix=MixParams(alpha=1.0), erase=EraseParams(area=(0.1, 0.3)))
    for params in (off, EVERYTHING.model_copy(update={"policy": "none", "flip": 0.0, "label_smoothing": 0.0})):
        params = params.model_copy(update={"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)})
        x, targets = make(params, 64)(images, labels, epoch=0, step=0, only=only)
        x, plain = x.round(decimals=3), normalised(images).round(decimals=3)
        changed = (x != plain).flatten(1).any(1)
        mixed = (targets != one_hot(labels, 10)).any(1)
        assert changed.float().mean() == 0 if only == "plain" else changed.float().mean() > 0.8
        assert mixed.float().mean() > 0.8 if only in ("mixup", "cutmix") else not mixed.any()
        if only == "erase" and params is off:
            assert (x == 0).all(1).flatten(1).float().mean(1).min() > 0.05


@pytest.mark.parametrize("only", ["mixup", "cutmix"])
def test_targets_are_of_the_images_that_were_mixed(only, device, path):
    """Images of one grey each: the targets say how grey each result is."""
    labels, params = torch.arange(25, device=device), AugmentParams(mixup=MixParams(alpha=1.0))
    grey = labels * 10 / 255
    images = (labels * 10).byte().view(25, 1, 1, 1).expand(25, 3, 64, 64)
    x, targets = make(params, num_classes=25)(images, labels, epoch=0, step=0, only=only)
    x = x * torch.tensor(STD, device=device).view(3, 1, 1) + torch.tensor(MEAN, device=device).view(3, 1, 1)
    torch.testing.assert_close(x.mean((1, 2, 3)), targets @ grey, rtol=0, atol=1e-3)
    assert (targets.amax(1) < 1).sum() > 20


@pytest.mark.parametrize("only", ["mixup", "cutmix"])
def test_each_way_of_mixing_has_its_own_alpha(only, images, labels):
    alphas = {name: MixParams(alpha=100.0 if name == only else 0.01) for name in ("mixup", "cutmix")}
    _, targets = make(AugmentParams(**alphas))(images, labels, epoch=0, step=0, only=only)
    assert targets.amax(1).max() < 0.95  # of Beta(100, 100): about a half, but boxes reach beyond the image


def test_erase_with_noise_is_standard_normal(device, path):
    params = AugmentParams(erase=EraseParams(probability=1.0, area=(0.3, 0.33), value="noise"))
    black = torch.zeros(64, 3, 64, 64, dtype=torch.uint8)
    x, _ = make(params, 64)(black.to(device), torch.zeros(64, dtype=torch.int64, device=device), epoch=0, step=0)
    noise = x.cpu()[(x.cpu() - normalised(black)).abs() > 1e-4]
    assert len(noise) > 200_000
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert len(noise.unique()) > 0.98 * len(noise)  # no two images or pixels share their noise


def test_each_step_has_noise_of_its_own(images, labels):
    erase = EraseParams(probability=1.0, area=(0.9, 0.95), ratio=(1.0, 1.0), value="noise")
    augment = make(AugmentParams(erase=erase), 64)
    one, other = (augment(images, labels, epoch=0, step=step)[0] for step in (0, 1))
    assert not torch.equal(one[:, :, 32, 32], other[:, :, 32, 32])


def test_compiles_without_graph_breaks(patterns, decoded, monkeypatch):
    """The way of a GPU reads no value back: proven by tracing it whole."""
    monkeypatch.setattr("coatnet.augment.cpu.serves", lambda x: False)
    monkeypatch.setattr("coatnet.augment.batch.derive_seed", lambda *words: 1)
    params = EVERYTHING.model_copy(update={"policy": "autoaugment-imagenet"})
    augment, images = make(params), torch.cat([patterns, decoded])
    labels = torch.arange(len(images)) % 10
    compiled = torch.compile(augment.__call__, backend="eager", fullgraph=True)
    for x, expected in zip(
        compiled(images, labels, epoch=0, step=0), augment(images, labels, epoch=0, step=0), strict=True
    ):
        torch.testing.assert_close(x, expected)


def test_evaluation_sees_what_training_sees(images, labels, device):
    x = EvalTransform(image_size=96, mean=MEAN, std=STD)(images.to(device))
    expected, _ = make(AugmentParams(), 96)(images.to(device), labels.to(device), epoch=0, step=0)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "B x 3 x H x W"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "B x 3 x H x W"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "labels"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2), "int64"),
    ],
)
def test_bad_batches_are_refused(images, labels, message):
    with pytest.raises(UserError, match=message) as error:
        make()(images, labels, epoch=0, step=0)
    assert "\n" not in str(error.value)
