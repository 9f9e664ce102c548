"""What a CPU runs in place of the plain versions beside this file: the same results, many times quicker.

A CPU can look at what was drawn, so it works on the images that need it alone; and it gains from its cache, from
NumPy's copies and from the few operations of torch that have vector code. Tests hold each against its plain version.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Function = TypeVar("Function", bound=Callable[..., Any])
_CACHED = 64  # images whose indices a CPU's cache holds: as int64 they take eight times the images' bytes


def serves(x: Tensor) -> bool:
    """Whether the versions of this file are used for a batch that lies where `x` does. The one place that says so."""
    return x.device.type == "cpu"


def replaced_by(quick: Callable[..., Any]) -> Callable[[Function], Function]:
    """The decorated plain version, or `quick` in its place where this file serves its first argument."""

    def decorate(plain: Function) -> Function:
        @functools.wraps(plain)
        def either(x: Tensor, *arguments: Any, **options: Any) -> Any:
            return (quick if serves(x) else plain)(x, *arguments, **options)

        return either  # type: ignore[return-value] # of the same signature

    return decorate


def keep_batch_memory() -> None:
    """Lets glibc keep a batch's memory from step to step.

    It keeps what was freed only up to twice the largest block of at most 32 MiB freed so far, and each page that it
    gives back costs a fault to get again: freeing one such block halves a CPU's time at 64 pixels.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


# Some images of a batch (select.py)


def split_by_code(codes_b: Tensor, codes: Iterable[int]) -> dict[int, Tensor]:
    """The numbers of the images with each code, int64; codes that do not occur are left out."""
    drawn_b = codes_b.numpy()  # a tenth of torch's time for arrays this small
    numbers = {code: (drawn_b == code).nonzero()[0] for code in codes}
    return {code: torch.from_numpy(found) for code, found in numbers.items() if len(found)}


def update_where(where: Tensor, x: Tensor, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    """Calls `function` with these images alone. `where`: B bool, or the images' numbers."""
    if where.dtype == torch.bool:
        where = where.nonzero().squeeze(1)
    if len(where):
        # NumPy copies whole images; torch's index_copy_ takes up to ten times as long.
        x.numpy()[where.numpy()] = function(*(a.index_select(0, where) for a in arguments)).numpy()
    return x


# colour.py


def look_up(images: Tensor, table: Tensor) -> Tensor:
    """A few images at a time, whose indices the cache holds."""
    pixels_bcn = images.flatten(2)
    values_bcn = table.new_empty(pixels_bcn.shape)
    for some in zip(*(x.split(_CACHED) for x in (table, pixels_bcn, values_bcn)), strict=True):
        torch.gather(some[0], 2, some[1].long(), out=some[2])
    return values_bcn.view_as(images)


# geometry.py


def resize(
    images: Tensor,
    table: Tensor,
    box_b4: Tensor,
    scale_b2: Tensor,
    centre_b2: Tensor,
    offset: Tensor,
    interpolation: str,
    resized_b: Tensor,
) -> Tensor:
    """The images in `resized_b` (B bool, at least one), which no policy's map moves: one axis after the other.

    What the other images' pixels hold is not defined.
    """
    first_b21, count_b21 = box_b4[:, :, None].split(2, 1)
    last_b21 = first_b21 + count_b21 - 1
    at_b2s = (scale_b2[:, :, None] * offset + centre_b2[:, :, None]).clamp(first_b21, last_b21)
    if interpolation == "nearest":
        at_b2s = at_b2s.round()
    above_b2s = at_b2s.floor()
    part_b2s = at_b2s - above_b2s
    tap_b2s2 = torch.stack([above_b2s, torch.minimum(above_b2s + 1, last_b21)], 3).int()
    weight_b2s2 = torch.stack([1 - part_b2s, part_b2s], 3)
    (x_tap, y_tap), (x_weight, y_weight) = tap_b2s2.unbind(1), weight_b2s2.unbind(1)
    # N of the B images are resized. All but the last sum is done with these alone; the last puts them in their places.
    b_of_n, n_of_b = resized_b.nonzero().squeeze(1), resized_b.cumsum(0, dtype=torch.int32).sub_(1).clamp_(min=0)
    images, table, x_tap, x_weight = (v.index_select(0, b_of_n) for v in (images, table, x_tap, x_weight))
    n = torch.arange(len(b_of_n), dtype=torch.int32)
    # Transposed first, while they are bytes. In one expression: each result's memory is free for the next but one, and
    # still in the cache.
    resized = _transpose(_sum_rows(look_up(_transpose(images), table), n, x_tap, x_weight))
    return _sum_rows(resized, n_of_b, y_tap, y_weight)


def _sum_rows(x_nchw: Tensor, n_of_b: Tensor, row_bs2: Tensor, weight_bs2: Tensor) -> Tensor:
    """B x C x S x W: for each of S a weighted sum of two rows of image `n_of_b`."""
    _, c, height, width = x_nchw.shape
    first_row = (n_of_b[:, None] * c + torch.arange(c, dtype=torch.int32)) * height
    row, weight = row_bs2[:, None] + first_row[:, :, None, None], weight_bs2[:, None].expand(-1, c, -1, -1)
    return embedding_bag(  # the one operation that adds weighted rows in a single pass
        row.view(-1, 2), x_nchw.view(-1, width), per_sample_weights=weight.reshape(-1, 2), mode="sum"
    ).view(len(row), c, -1, width)


def _transpose(x_bchw: Tensor) -> Tensor:
    """B x C x W x H, contiguous."""
    b, c, height, width = x_bchw.shape
    # Each matrix as the channels of one pixel: shuffling those is the transposing copy that is vectorised, four times
    # as quick as `mT.contiguous()`.
    pixels = x_bchw.reshape(1, b * c, 1, height * width).permute(0, 3, 1, 2)
    return torch.channel_shuffle(pixels, height).permute(0, 2, 3, 1).view(b, c, width, height)


# mix.py


def erase(x_bchw: Tensor, box_b4: Tensor) -> Tensor:
    """Writes each box by itself."""
    pixels = x_bchw.numpy()  # the same memory; NumPy finds a box in a fifth of torch's time
    for i, (left, top, w, h) in enumerate(box_b4.tolist()):
        if w:
            pixels[i, :, top : top + h, left : left + w] = 0
    return x_bchw


def mix(x_bchw: Tensor, weight_b: Tensor, box_b4: Tensor) -> Tensor:
    """Blends or pastes in place, image by image."""
    images, pixels, last = x_bchw.unbind(), x_bchw.numpy(), x_bchw[-1].clone()
    weights, boxes = weight_b.tolist(), box_b4.tolist()
    for i in reversed(range(len(pixels))):  # backwards, so that each partner is still as it was
        left, top, w, h = boxes[i]
        if weights[i]:
            images[i].lerp_(images[i - 1] if i else last, weights[i])
        elif w and h:
            box = (slice(None), slice(top, top + h), slice(left, left + w))
            pixels[i][box] = (pixels[i - 1] if i else last.numpy())[box]
    return x_bchw
