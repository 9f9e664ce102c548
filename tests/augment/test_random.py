import pytest
import torch
from scipy import stats

from coatnet.augment.random import BITS, beta, draw, integer, normal, uniform
from coatnet.seeds import derive_seed

KEY = derive_seed("test", 0, 1, 2)


def bits(n: int, lanes: int = 1, key: int = KEY) -> torch.Tensor:
    return draw(key, torch.arange(n), lanes)


def test_stream_is_splitmix64():
    # A plain-integer SplitMix64; stream 0's state is the mixed key.
    mask = (1 << 64) - 1

    def mixed(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    for stream in (0, 1, 12345):
        state = mixed((stream * 0x9E3779B97F4A7C15 + KEY) & mask)
        expected = [mixed((state + lane * 0x9E3779B97F4A7C15) & mask) >> (64 - BITS) for lane in (1, 2, 3)]
        assert draw(KEY, torch.tensor([stream]), 3)[0].tolist() == expected


def test_draws_do_not_depend_on_the_batch():
    assert torch.equal(bits(8, 5), draw(KEY, torch.arange(100), 7)[:8, :5])


def test_uniform_and_independent():
    u = uniform(bits(20_000, 12))
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.flatten()[:100_000].numpy(), "uniform").pvalue > 1e-3
    # Neighbouring lanes and neighbouring streams, in a 16 x 16 table each.
    for first, second in ((u[:, :-1], u[:, 1:]), (u[:-1], u[1:])):
        cell = (first * 16).long() * 16 + (second * 16).long()
        assert stats.chisquare(torch.bincount(cell.flatten(), minlength=256).numpy()).pvalue > 1e-3


def test_integer_is_exact_at_the_ends():
    ends = torch.tensor([0, (1 << BITS) - 1])
    for count in (1, 25, 64, 434):
        assert integer(ends, count).tolist() == [0, count - 1]
    counts = torch.bincount(integer(bits(100_000)[:, 0], 25), minlength=25)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 0.8, 1.0, 4.0])
def test_beta_distribution(alpha):
    values = beta(bits(100_000, 2), alpha)
    assert values.isfinite().all() and values.min() >= 0 and values.max() <= 1
    # Twenty equal bins but for those at the ends that float32 cannot tell from 0 or 1.
    reference = stats.beta(alpha, alpha)
    edges = [edge for edge in reference.ppf([i / 20 for i in range(1, 20)]) if 1e-6 < edge < 1 - 1e-6]
    counts = torch.bincount(torch.bucketize(values.double(), torch.tensor(edges, dtype=torch.float64)))
    expected = torch.tensor([0, *reference.cdf(edges), 1]).diff() * len(values)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-3


def test_normal_distribution():
    assert stats.kstest(normal(bits(100_000, 2)).numpy(), "norm").pvalue > 1e-3


@pytest.mark.gpu
def test_equal_across_devices():
    b = bits(4096, 64)
    c = draw(KEY, torch.arange(4096, device="cuda"), 64)
    assert torch.equal(b, c.cpu())
    assert torch.equal(uniform(b, -1, 3), uniform(c, -1, 3).cpu())
    assert torch.equal(integer(b, 25), integer(c, 25).cpu())
    torch.testing.assert_close(beta(b[:, :2], 0.2), beta(c[:, :2], 0.2).cpu(), rtol=0, atol=1e-5)
