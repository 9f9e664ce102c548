"""Attention and Grad-CAM against the model's own outputs and plain mathematics."""

import pytest
import torch

from coatnet import create_model
from coatnet.reporting.inside import attention, grad_cam, last_attentions, last_convolution


@pytest.fixture(params=["table", "paper"])
def params(request, tiny):
    return tiny(model__variant=request.param, model__layout="CTCT", model__blocks=[1, 2, 1, 1]).model


@pytest.fixture
def model(params):
    torch.manual_seed(0)
    return create_model(params, 5).eval()


@pytest.mark.parametrize("size", [32, 64])  # the tables' size and another
def test_attention_is_what_the_layer_used(model, params, size):
    layers = last_attentions(model)
    assert list(layers) == ["stage2", "stage4"]
    x_bchw, outputs, values = torch.randn(2, 3, size, size), {}, {}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, args, out, name=name: outputs.update({name: out}))
        layer.qkv.register_forward_hook(lambda _, args, out, name=name: values.update({name: out.chunk(3, -1)[2]}))
    is_table = params.variant == "table"
    h = size // (4 if is_table else 8)  # of stage 2
    places = [((y + 0.5) / h, (x + 0.5) / h) for y in range(h) for x in range(h)]
    maps_bkthw = attention(model, layers, x_bchw, places)["stage2"]
    torch.testing.assert_close(maps_bkthw.sum((3, 4)), torch.ones(2, layers["stage2"].heads, h * h))
    v_bkhwd = values["stage2"].unflatten(-1, (layers["stage2"].heads, -1)).permute(0, 3, 1, 2, 4)
    mixed_btc = torch.einsum("bkthw,bkhwd->btkd", maps_bkthw, v_bkhwd).flatten(2)
    output = outputs["stage2"]
    if is_table:  # its attention gives b x c x h x w
        output = output.permute(0, 2, 3, 1)
    torch.testing.assert_close(mixed_btc.view(2, h, h, -1), output, rtol=1e-4, atol=1e-5)


def test_grad_cam_by_hand(model, params):
    layer = last_convolution(model, params)
    assert layer is model.stage3
    x_bchw, classes_b = torch.randn(2, 3, 32, 32), torch.tensor([3, 0])
    maps_bhw = grad_cam(model, layer, x_bchw, classes_b)
    features = []
    layer.register_forward_hook(lambda _, args, out: features.append(out))
    for i in range(2):  # one image at a time, by autograd on the features alone
        logits = model(x_bchw[i : i + 1])
        (gradient,) = torch.autograd.grad(logits[0, classes_b[i]], features[-1])
        cam = torch.einsum("c,chw->hw", gradient[0].mean((1, 2)), features[-1][0]).relu().detach()
        torch.testing.assert_close(maps_bhw[i], cam / cam.max().clamp_min(1e-12), rtol=1e-3, atol=1e-4)
    assert maps_bhw.min() >= 0 and maps_bhw.max() <= 1


def test_models_without_these_layers_have_none(tiny):
    params = tiny(model__layout="TTTT").model
    assert last_convolution(create_model(params, 3), params) is None
    assert last_attentions(create_model(tiny(model__layout="CCCC").model, 3)) == {}
    peer = tiny(model__name="timm/resnet18").model
    assert last_convolution(torch.nn.Sequential(), peer) is None
