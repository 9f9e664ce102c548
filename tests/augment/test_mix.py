import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from coatnet.augment.mix import ERASE_LANES, MIX_LANES, draw_erase, draw_mix, erase, mix
from coatnet.augment.random import draw
from coatnet.params import EraseParams
from coatnet.seeds import derive_seed

N = 20_000


def mix_draws(device, mixup=(0.3, 1.0), cutmix=(0.5, 1.0), size=64, n=N):
    return draw_mix(draw(derive_seed("test", 5), torch.arange(n, device=device), MIX_LANES), mixup, cutmix, size)


def test_label_mass_is_pixel_mass_exactly(device, path):
    """Images of one colour each: what the partner gives to the label is what it gives to the pixels."""
    n, size = 256, 31
    mixed, box, share = mix_draws(device, size=size, n=n)
    own = torch.zeros(n, 3, size, size, device=device)
    own[::2] = 1  # partners differ
    mass = mix(own.clone(), mixed, box).double().mean((1, 2, 3))
    from_partner = torch.where(own[:, 0, 0, 0] == 1, 1 - mass, mass)
    cut = box[:, 2] * box[:, 3] > 0
    assert cut.sum() > 50 and (mixed > 0).sum() > 50 and not (cut & (mixed > 0)).any()
    assert torch.equal((from_partner[cut] * size**2).round(), (share[cut].double() * size**2).round())
    torch.testing.assert_close(from_partner.float(), share, rtol=0, atol=1e-6)
    assert (box[:, :2] >= 0).all() and (box[:, :2] + box[:, 2:] <= size).all()


def test_both_ways_are_equal_and_the_partner_is_unmixed(images, device, monkeypatch):
    x = images.to(device).float()
    mixed, box, _ = mix_draws(device, n=len(x))
    expected = torch.stack(
        [
            torch.where(inside, partner, own.lerp(partner, part))
            for own, partner, part, inside in zip(x, x.roll(1, 0), mixed, boxes(box), strict=True)
        ]
    )
    assert torch.equal(mix(x.clone(), mixed, box), expected)
    monkeypatch.setattr("coatnet.augment.cpu.serves", lambda x: False)
    assert torch.equal(mix(x.clone(), mixed, box), expected)


def boxes(box_b4, size=64):
    inside = torch.zeros(len(box_b4), 1, size, size, dtype=torch.bool, device=box_b4.device)
    for i, (left, top, w, h) in enumerate(box_b4.tolist()):
        inside[i, :, top : top + h, left : left + w] = True
    return inside


def test_probabilities_and_shares(device):
    mixed, box, share = mix_draws(device)
    cut = box[:, 2:].prod(1) > 0
    assert stats.binomtest(int((mixed > 0).sum()), N, 0.3).pvalue > 1e-3
    # A quarter-pixel half side or less leaves no box: about (2 / 64)^2 of Beta(1, 1)'s draws.
    assert stats.binomtest(int(cut.sum()), N, 0.5 * (1 - (2 / 64) ** 2)).pvalue > 1e-3
    assert (share[(mixed == 0) & ~cut] == 0).all()


def test_mixups_share_is_of_its_own_beta(device):
    mixed, _, _ = mix_draws(device, (0.5, 0.4), (0.5, 4.0))
    assert stats.kstest(mixed[mixed > 0].cpu().numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_cutmix_boxes_are_torchvisions(device):
    torch.manual_seed(0)
    reference = v2.CutMix(alpha=0.7, num_classes=2)
    theirs = torch.tensor([reference.make_params([torch.empty(3, 64, 64)])["box"] for _ in range(4000)])
    left, top, w, h = mix_draws(device, (0, 1.0), (1, 0.7))[1].cpu().unbind(1)
    for ours, other in (
        (left, theirs[:, 0]),
        (top + h, theirs[:, 3]),
        (w * h, (theirs[:, 2:] - theirs[:, :2]).prod(1)),
    ):
        some = ours[w * h > 0], other[(theirs[:, 2:] > theirs[:, :2]).all(1)]  # an empty box has no place
        assert stats.ks_2samp(some[0].numpy(), some[1].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("params", [EraseParams(), EraseParams(area=(0.5, 1.0), ratio=(0.3, 3.3))])
def test_erase_boxes_are_torchvisions(params, device):
    """Also where some attempts do not fit, or none of ten does."""
    torch.manual_seed(0)
    reference = v2.RandomErasing(1.0, scale=params.area, ratio=params.ratio)
    found = [reference.make_params([torch.empty(3, 64, 64)]) for _ in range(4000)]
    theirs = torch.tensor([[f["j"], f["i"], f["w"], f["h"]] for f in found if f["v"] is not None])
    drawn = draw_erase(draw(derive_seed("test", 6), torch.arange(N, device=device), ERASE_LANES), params, 1.0, 64).cpu()
    ours = drawn[drawn[:, 2] > 0]
    assert abs(len(ours) / N - len(theirs) / 4000) < 0.02
    for measure in (lambda b: b[:, 0], lambda b: b[:, 1], lambda b: b[:, 2], lambda b: b[:, 3] / b[:, 2]):
        assert stats.ks_2samp(measure(ours).numpy(), measure(theirs).numpy()).pvalue > 1e-3


def test_erase_probability(device):
    box = draw_erase(draw(derive_seed("test", 7), torch.arange(N, device=device), ERASE_LANES), EraseParams(), 0.25, 64)
    assert stats.binomtest(int((box[:, 2] > 0).sum()), N, 0.25).pvalue > 1e-3


def test_erase_zeroes_the_box_and_nothing_else(device, path):
    box = torch.tensor([[3, 5, 7, 2], [0, 0, 0, 0]], device=device)
    ones = torch.ones(2, 3, 64, 64, device=device)
    assert torch.equal(erase(ones.clone(), box), torch.where(boxes(box), 0.0, ones))
