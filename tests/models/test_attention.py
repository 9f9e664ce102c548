import pytest
import torch

from coatnet.models.attention import RelativeAttention, attention_fused, attention_reference, position_bias


def indexed_bias(table, height, width):
    """The definition, token pair by token pair."""
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    return table[:, y[:, None] - y + height - 1, x[:, None] - x + width - 1]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (3, 5)])
def test_position_bias_is_the_table_indexed_by_offset(height, width):
    table = torch.randn(2, 2 * height - 1, 2 * width - 1, dtype=torch.float64, requires_grad=True)
    bias = position_bias(table, height, width)
    expected = indexed_bias(table, height, width)
    assert torch.equal(bias, expected)
    weights = torch.randn_like(bias)
    torch.testing.assert_close(
        torch.autograd.grad((bias * weights).sum(), table), torch.autograd.grad((expected * weights).sum(), table)
    )


def test_one_entry_of_the_table_moves_exactly_the_pairs_at_that_offset():
    height, width, dy, dx = 4, 6, 2, -3
    table = torch.randn(3, 2 * height - 1, 2 * width - 1)
    before = position_bias(table, height, width)
    table[1, dy + height - 1, dx + width - 1] += 1
    changed = position_bias(table, height, width) != before
    for head, i, j in torch.cartesian_prod(torch.arange(3), *[torch.arange(height * width)] * 2).tolist():
        at_offset = (i // width - j // width, i % width - j % width) == (dy, dx)
        assert changed[head, i, j] == (head == 1 and at_offset)


@pytest.mark.parametrize("size", [1, 3, 6, 11])
def test_resized_table_keeps_centre_symmetry_and_slope(size):
    made_for = 6
    offsets = torch.arange(1.0 - made_for, made_for)
    table = offsets[None, :, None].repeat(1, 1, 2 * made_for - 1).requires_grad_()  # the bias is the offset in y
    bias = position_bias(table, size, size).view(size, size, size, size)
    assert bias[0, 0, 0, 0].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(bias, -bias.permute(2, 3, 0, 1))
    torch.testing.assert_close(bias, bias[:, :1, :, :1].expand_as(bias))  # no offset in x has entered
    if size > 2:  # one step of the new map is about made_for / size steps of the old
        step = (bias[1, 0, 0, 0] - bias[0, 0, 0, 0]).item()
        assert step == pytest.approx((2 * made_for - 1) / (2 * size - 1), rel=1e-4)
    bias.square().sum().backward()
    assert table.grad.isfinite().all() and (size == 1 or table.grad.any())


def operands(tokens, heads=3, head_dim=8, device="cpu"):
    size = round(tokens**0.5)
    q, k, v = (torch.randn(2, heads, tokens, head_dim, device=device, requires_grad=True) for _ in range(3))
    table = torch.randn(heads, 2 * size - 1, 2 * size - 1, device=device, requires_grad=True)
    return q, k, v, table, size


@pytest.mark.parametrize("tokens", [784, 196, 64, 49])
def test_fused_attention_equals_the_reference(tokens):
    *qkv, table, size = operands(tokens)
    weights = torch.randn(2, 3, tokens, 8)
    results = []
    for attention in (attention_reference, attention_fused):
        output = attention(*qkv, position_bias(table, size, size))
        results.append((output, *torch.autograd.grad((output * weights).sum(), (*qkv, table))))
    for expected, actual in zip(*results, strict=True):
        # Relative to the largest: an entry of the table's gradient sums hundreds of terms.
        assert (actual - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
    with torch.no_grad():
        output = attention_fused(*qkv, position_bias(table, size, size))
    torch.testing.assert_close(output, results[0][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [784, 196, 64, 49])
@pytest.mark.parametrize("grad", [True, False])
def test_attention_under_autocast_is_the_reference_to_bf16_rounding(tokens, grad):
    size = round(tokens**0.5)
    module = RelativeAttention(24, 24, 3, size, bias=False)
    torch.nn.init.normal_(module.position_table)
    x = torch.randn(2, size, size, 24)
    q, k, v = module.qkv(x).view(2, tokens, 3, 3, 8).permute(2, 0, 3, 1, 4)
    expected = attention_reference(q, k, v, position_bias(module.position_table, size, size))
    expected = expected.transpose(1, 2).reshape(2, size, size, 24)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(grad):
        actual = module(x)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, atol=0.03, rtol=0.03)
    if grad:
        (table_grad,) = torch.autograd.grad(actual.float().square().sum(), module.position_table)
        (expected_grad,) = torch.autograd.grad(expected.square().sum(), module.position_table)
        assert (table_grad - expected_grad).norm() <= 0.03 * expected_grad.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [784, 196, 64, 49])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [True, False])
def test_fused_attention_equals_the_reference_on_a_gpu(tokens, dtype, grad):
    *qkv, table, size = operands(tokens, head_dim=16, device="cuda")
    bias = position_bias(table, size, size)
    expected = attention_reference(*(x.double() for x in qkv), bias.double())
    # The bias stays float32, as it does under autocast.
    with torch.set_grad_enabled(grad):
        actual = attention_fused(*(x.to(dtype) for x in qkv), bias)
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(actual.double(), expected, atol=tolerance, rtol=tolerance)
    if grad:
        inputs = (*qkv, table)
        for ours, reference in zip(
            torch.autograd.grad(actual.float().square().sum(), inputs),
            torch.autograd.grad(expected.square().sum(), inputs),
            strict=True,
        ):
            assert (ours - reference).norm() <= tolerance * reference.norm()
