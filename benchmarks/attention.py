"""Attention with a learned bias, forward and backward: the ways PyTorch has, at the table model's two shapes.

    python -m benchmarks.attention

Each is first held against the plain mathematics in float32, gradients of queries and position table included.
"""

import argparse
import functools
import platform
from collections.abc import Callable

import torch
from torch import Tensor

from coatnet.models.attention import attention_fused, attention_reference, position_bias

from .models import hardware, peak_memory, seconds, spread

SHAPES = {784: (28, 12, 16), 196: (14, 12, 32)}  # tokens: side of the feature map, heads, channels a head
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def flex(q_bknd: Tensor, k_bknd: Tensor, v_bknd: Tensor, bias_knn: Tensor) -> Tensor:
    """FlexAttention, the bias added to each logit inside the kernel: nothing of size batch x heads x n x n."""
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q_bknd, k_bknd, v_bknd, lambda logit, b, h, i, j: logit + bias_knn[h, i, j])


def candidates(device: str) -> dict[str, Attention]:
    found: dict[str, Attention] = {"mathematics": attention_reference, "scaled_dot_product_attention": attention_fused}
    if device == "cuda":  # compilation for a CPU takes a minute each; FlexAttention has no backward there
        found["mathematics, compiled"] = torch.compile(attention_reference, dynamic=False)
        found["flex_attention, compiled"] = torch.compile(flex, dynamic=False)
    return found


def inputs(tokens: int, batch: int, device: str, dtype: torch.dtype) -> list[Tensor]:
    side, heads, channels = SHAPES[tokens]
    generator = torch.Generator(device).manual_seed(0)
    shapes = [(batch, heads, tokens, channels)] * 3 + [(heads, 2 * side - 1, 2 * side - 1)]
    q, k, v, table = (torch.randn(shape, generator=generator, device=device) for shape in shapes)
    return [t.to(dtype).requires_grad_() for t in (q, k, v)] + [table.requires_grad_()]


def forward_backward(attention: Attention, tensors: list[Tensor], side: int) -> list[Tensor]:
    q, k, v, table = tensors
    out = attention(q, k, v, position_bias(table, side, side).to(q.dtype))
    return [out, *torch.autograd.grad(out.float().square().sum(), tensors)]


def largest_error(attention: Attention, tokens: int, device: str, dtype: torch.dtype) -> float:
    """Against float32 mathematics, relative to each tensor's largest value."""
    side = SHAPES[tokens][0]
    expected = forward_backward(attention_reference, inputs(tokens, 2, device, torch.float32), side)
    found = forward_backward(attention, inputs(tokens, 2, device, dtype), side)
    return max(((f - e).abs().max() / e.abs().max()).item() for f, e in zip(found, expected, strict=True))


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=256 if device == "cuda" else 4)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    print(f"{hardware(device)}; torch {torch.__version__}, Python {platform.python_version()};")
    print(f"batch {args.batch_size}, {dtype}, forward and backward;")
    print(f"medians of {args.steps} steps, in brackets the extremes\n")
    print("| tokens | attention | ms | memory, MiB | largest error |")
    print("|---:|---|---:|---:|---:|")
    for tokens, (side, *_) in SHAPES.items():
        for name, attention in candidates(device).items():
            error = largest_error(attention, tokens, device, dtype)
            step = functools.partial(forward_backward, attention, inputs(tokens, args.batch_size, device, dtype), side)
            seconds(step, 3, device)
            memory = peak_memory(step, device)
            milliseconds = spread([1000 * seconds(step, 1, device) for _ in range(args.steps)], 1)
            print(f"| {tokens} | {name} | {milliseconds} | {memory:,.0f} | {error:.0e} |", flush=True)


if __name__ == "__main__":
    main()
