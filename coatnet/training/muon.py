"""Muon: each matrix's momentum made orthogonal before it is applied.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon).

Ours, since torch's refuses convolutions' kernels, and timm's works in bf16 on any device, which is slow on most CPUs,
and on one matrix after the other.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5: the post's, which bring 0..1 quickly to 0.7..1.2


def orthogonalise(matrices_bmn: Tensor, steps: int) -> Tensor:
    """The nearest matrices whose singular values are all about 1, by Newton and Schulz's iteration.

    Args:
        matrices_bmn: m at most n, else there is more to multiply.
    """
    a, b, c = COEFFICIENTS
    x = matrices_bmn / matrices_bmn.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


def as_matrix(kernel: Tensor) -> Tensor:
    """Out x in, of a matrix or a convolution's kernel, out x in x height x width."""
    return kernel.flatten(1)


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, orthogonalised, with decoupled weight decay.

    The step of an out x in matrix is `lr * sqrt(max(1, out / in))` times an orthogonal one, as in the post's code. In
    float32, but on CUDA in bf16; matrices of the same shape go through the iteration together.

    Args:
        parameters: matrices and kernels of convolutions (`as_matrix`).
        lr: a scalar tensor.
        momentum: decay of the gradients' average.
        steps: of the iteration.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: Tensor,
        *,
        momentum: float,
        steps: int,
        weight_decay: float,
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "steps": steps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override] # no loss comes back
        """One update of all parameters that have a gradient; `closure` is not called."""
        for group in self.param_groups:
            same_shape: defaultdict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same_shape[tuple(sorted(as_matrix(parameter).shape))].append(parameter)
            for parameters in same_shape.values():
                self._update(parameters, **{key: value for key, value in group.items() if key != "params"})

    def _update(
        self, parameters: list[Tensor], lr: Tensor, momentum: float, steps: int, weight_decay: float, **_: object
    ) -> None:
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - momentum)
            direction = as_matrix(gradient.lerp(state["momentum"], momentum))
            directions.append(direction.mT if _is_tall(direction) else direction)
        stack = torch.stack(directions)
        orthogonal_bmn = orthogonalise(stack.bfloat16() if stack.device.type == "cuda" else stack, steps)
        for parameter, direction in zip(parameters, orthogonal_bmn.to(stack.dtype), strict=True):
            matrix = as_matrix(parameter)
            if _is_tall(matrix):
                direction = direction.mT
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
            parameter.mul_(1 - lr * weight_decay).sub_(direction.reshape(parameter.shape) * (lr * scale))


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]
