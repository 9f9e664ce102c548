"""Random numbers as a pure function of where they are used: no state, so a resumed run draws what it would have drawn.

Each image owns a SplitMix64 stream (Steele et al. 2014, "Fast splittable pseudorandom number generators", with
Stafford's mixer 13), keyed by (seed, epoch, step) and the image's place in the global batch. The streams are made by
integer tensor operations alone, and `uniform` and `integer` are exact, so these draws are bit for bit the same on
every device. What passes through a logarithm, root or cosine (`beta`, `normal`, the sides of a crop) is rounded by
the device's own library and may differ in the last bit.
"""

import math

import torch
from torch import Tensor

BITS = 24  # of each draw: as many as a float32 in [0, 1) holds exactly
_GOLDEN, _MIX1, _MIX2 = (c - (1 << 64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(x: Tensor) -> Tensor:
    # int64 products wrap as unsigned ones do; its right shift copies the sign, so the copies are masked out.
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MIX1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MIX2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def draw(key: int | Tensor, streams: Tensor, lanes: int) -> Tensor:
    """`lanes` draws of each stream.

    Args:
        key: of `derive_seed`; or several, int64, of a shape that broadcasts with that of `streams`.
        streams: int64, any shape: the number of each stream, such as the image's place in the batch.

    Returns:
        int64, shape of `streams` (with the keys') x lanes, uniform in [0, 2^24).
    """
    state = _mix(streams * _GOLDEN + key)
    lane = torch.arange(1, lanes + 1, device=streams.device) * _GOLDEN
    return (_mix(state[..., None] + lane) >> (64 - BITS)) & ((1 << BITS) - 1)


def uniform(bits: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """float32, uniform in [low, high)."""
    return bits * 2.0**-BITS * (high - low) + low


def integer(bits: Tensor, count: int | Tensor) -> Tensor:
    """int64, uniform in [0, count); `count` may be a tensor of int64."""
    return (bits * count) >> BITS  # in whole numbers: a float32 product could round up to `count` itself


def beta(bits_2: Tensor, alpha: float | Tensor) -> Tensor:
    """Beta(alpha, alpha) for any alpha > 0, from two draws in the last axis and without rejection.

    Devroye 1996, "Random variate generation in one line of code": a symmetric beta is a Student t with 2 alpha
    degrees of freedom put through (1 + t / sqrt(2 alpha + t^2)) / 2, and Bailey's polar method gives that t.
    """
    radius = (1 - uniform(bits_2[..., 0])).pow(-1 / alpha) - 1  # may be infinite for a small alpha: then beta is 0 or 1
    cosine = torch.cos(2 * math.pi * uniform(bits_2[..., 1]))
    return 0.5 + 0.5 * cosine.sign() / torch.sqrt(1 + 1 / (radius * cosine.square()))


def normal(bits_2: Tensor) -> Tensor:
    """Standard normal, from two draws in the last axis (Box and Muller 1958)."""
    radius = torch.sqrt(-2 * torch.log(1 - uniform(bits_2[..., 0])))
    return radius * torch.cos(2 * math.pi * uniform(bits_2[..., 1]))
