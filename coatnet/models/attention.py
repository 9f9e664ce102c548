"""Self-attention with a learned bias for each relative position: CoAtNet, section 2.1, equation 3, "pre-softmax".

Shape suffixes: b batch, h height, w width, c channels, n = h w tokens in row-major order, k heads, d channels a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def position_bias(table: Tensor, height: int, width: int) -> Tensor:
    """The bias of every pair of tokens of a feature map, from one table of relative positions.

    `bias[k, i, j] = table[k, y_i - y_j + height - 1, x_i - x_j + width - 1]`. A table made for another size is first
    resized, so that gradients reach the table at any size.

    It is built from slices, whose backward adds them up in a fixed order. Indexing would scatter its gradient, which on
    a GPU adds in no fixed order. `Tensor.unfold` is shorter, but Inductor compiles its backward wrongly for a
    CPU with AVX2 (seen in torch 2.12: errors as large as the gradient).

    Args:
        table: heads x (2 H - 1) x (2 W - 1), for the feature map H x W that it was made for.

    Returns:
        heads x n x n, with n = height * width; in the table's dtype.
    """
    reversed_kyx = resize_table(table, (2 * height - 1, 2 * width - 1)).flip(1, 2)
    # Heads, x_i, every offset in y, x_j: row x_i of the bias is a window on the reversed table, and so is row y_i.
    along_x = torch.stack([reversed_kyx[:, :, width - 1 - x : 2 * width - 1 - x] for x in range(width)], 1)
    both = torch.stack([along_x[:, :, height - 1 - y : 2 * height - 1 - y] for y in range(height)], 1)
    return both.view(-1, height * width, height * width)


def resize_table(table: Tensor, size: tuple[int, ...]) -> Tensor:
    """A position table, heads x height x width, at another height and width: bilinearly, as in appendix A.1."""
    return table if table.shape[1:] == size else F.interpolate(table[None], size, mode="bilinear")[0]


def attention_reference(q_bknd: Tensor, k_bknd: Tensor, v_bknd: Tensor, bias_knn: Tensor) -> Tensor:
    """The plain mathematics, to read and to test against: softmax(q k^T / sqrt(d) + bias) v."""
    logits_bknn = q_bknd @ k_bknd.transpose(-2, -1) * q_bknd.shape[-1] ** -0.5 + bias_knn
    return logits_bknn.softmax(-1) @ v_bknd


def attention_fused(q_bknd: Tensor, k_bknd: Tensor, v_bknd: Tensor, bias_knn: Tensor) -> Tensor:
    """The same through the fastest kernel that PyTorch has for these inputs."""
    # A float32 bias beside bf16 queries gives silently wrong results in cuDNN's kernel (pytorch #191612).
    return F.scaled_dot_product_attention(q_bknd, k_bknd, v_bknd, attn_mask=bias_knn.to(q_bknd.dtype)[None])


class RelativeAttention(nn.Module):
    """Multi-head relative attention over all positions of a feature map, without an output projection.

    Args:
        in_width: channels of the input.
        width: channels of the output; divisible by `heads`.
        size: height and width of the feature map that the position table is made for; others work (`position_bias`).
        bias: whether queries, keys and values have one.
    """

    def __init__(self, in_width: int, width: int, heads: int, size: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(in_width, 3 * width, bias=bias)
        self.position_table = nn.Parameter(torch.empty(heads, 2 * size - 1, 2 * size - 1))
        nn.init.trunc_normal_(self.position_table, std=0.02)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """b x h x w x in_width to b x h x w x width."""
        b, h, w, _ = x_bhwc.shape
        qkv = self.qkv(x_bhwc).view(b, h * w, 3, self.heads, -1)
        q_bknd, k_bknd, v_bknd = qkv.permute(2, 0, 3, 1, 4).unbind()
        x_bknd = attention_fused(q_bknd, k_bknd, v_bknd, position_bias(self.position_table, h, w))
        return x_bknd.transpose(1, 2).reshape(b, h, w, -1)


def position_tables(model: nn.Module) -> set[str]:
    """The names of a model's position tables, which take no weight decay."""
    return {name for name, _ in model.named_parameters() if name.endswith("position_table")}
