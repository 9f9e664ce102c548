"""What a trained CoAtNet looks at: the attention of its tokens, and Grad-CAM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..models.attention import RelativeAttention, position_bias
from ..params import ModelParams


def last_attentions(model: nn.Module) -> dict[str, RelativeAttention]:
    """The last attention of each stage that has any, by the stage's name; none in a model that is no CoAtNet."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, RelativeAttention):
            found[name.partition(".")[0]] = module
    return found


def last_convolution(model: nn.Module, params: ModelParams) -> nn.Module | None:
    """The last stage of convolutions; None where there is none, or the model is no CoAtNet."""
    number = params.layout.rfind("C") + 1
    if params.name != "coatnet" or not number:
        return None
    return model.get_submodule(f"stage{number}")


@torch.no_grad()
def attention(
    model: nn.Module, layers: dict[str, RelativeAttention], x_bchw: Tensor, places: Sequence[tuple[float, float]]
) -> dict[str, Tensor]:
    """Where chosen tokens look: softmax(q k^T / sqrt(d) + bias), computed again from each layer's queries and keys.

    Args:
        x_bchw: what the model takes.
        places: the tokens, as fractions of the feature map's height and width.

    Returns:
        By layer: b x heads x places x h x w; each map adds up to 1.
    """
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.qkv.register_forward_hook(lambda _, args, output, name=name: seen.update({name: output}))
        for name, layer in layers.items()
    ]
    try:
        model(x_bchw)
    finally:
        for hook in hooks:
            hook.remove()
    maps = {}
    for name, layer in layers.items():
        b, h, w, _ = seen[name].shape
        q_bknd, k_bknd, _ = seen[name].view(b, h * w, 3, layer.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        tokens = [int(y * h) * w + int(x * w) for y, x in places]
        logits_bktn = q_bknd[:, :, tokens] @ k_bknd.transpose(-2, -1) * q_bknd.shape[-1] ** -0.5
        bias_ktn = position_bias(layer.position_table, h, w)[:, tokens]
        maps[name] = (logits_bktn + bias_ktn).softmax(-1).view(b, layer.heads, len(tokens), h, w)
    return maps


def grad_cam(model: nn.Module, layer: nn.Module, x_bchw: Tensor, classes_b: Tensor) -> Tensor:
    """Where the features of `layer` speak for a class: Grad-CAM (Selvaraju et al. 2017, equations 1 and 2).

    Args:
        model: in eval mode, so that no image of the batch touches another.
        layer: one whose output is b x channels x h x w.
        classes_b: the class of each image to ask about.

    Returns:
        b x h x w, each map divided by its largest value: 0 to 1, or all 0 where nothing speaks for the class.
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, args, output: seen.append(output))
    try:
        with torch.enable_grad():
            logits_bk = model(x_bchw)
            chosen = logits_bk.gather(1, classes_b[:, None]).sum()
            (gradient_bchw,) = torch.autograd.grad(chosen, seen[0])
    finally:
        hook.remove()
    weights_bc11 = gradient_bchw.mean((2, 3), keepdim=True)
    cam_bhw = (weights_bc11 * seen[0].detach()).sum(1).relu()
    return cam_bhw / cam_bhw.amax((1, 2), keepdim=True).clamp_min(1e-12)
