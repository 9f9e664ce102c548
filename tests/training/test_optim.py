import pytest
import torch
from torch import nn

from coatnet import create_model
from coatnet.training.optim import Ema, optimizers


@pytest.mark.parametrize("variant", ["table", "paper"])
def test_only_matrices_and_kernels_decay(tiny, variant):
    params = tiny(model__variant=variant)
    model = create_model(params.model, 4)
    (adamw,) = optimizers(model, params.train)
    decayed, spared = adamw.param_groups
    assert decayed["weight_decay"] == 0.05
    assert spared["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    spared_names = {names[id(p)] for p in spared["params"]}
    norms = [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert {f"{name}.weight" for name in norms} <= spared_names
    assert all(name in spared_names for name in names.values() if name.endswith((".bias", "position_table")))
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    assert all(p.ndim > 1 for p in decayed["params"])


def test_the_average_follows_its_formula_statistics_included():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = Ema(model, 0.9)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(30):
        with torch.no_grad():
            for value in model.state_dict().values():
                value.add_(torch.randn(value.shape).to(value.dtype))
        ema.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in ema.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])
