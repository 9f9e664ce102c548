import itertools

import pytest
import torch
from torch import nn

from coatnet import create_model
from coatnet.training.optim import Ema, adamw, learning_rate


def test_the_cosine_goes_from_lr_to_its_final_share(tiny):
    train = tiny(train__epochs=10, train__lr=1.0, train__final_lr=0.01).train
    rates = [learning_rate(train, step, 7) for step in range(70)]
    assert rates[0] == 1.0
    assert rates[-1] == pytest.approx(0.01)
    # A plain reference: torch's own schedule.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=69, eta_min=0.01)
    for rate in rates:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_warm_up_is_linear_and_never_zero(tiny):
    train = tiny(train__epochs=10, train__warmup_epochs=2.0, train__lr=0.5).train
    rates = [learning_rate(train, step, 4) for step in range(40)]
    steps = [b - a for a, b in itertools.pairwise(rates[:9])]
    assert rates[0] > 0
    assert rates[8] == max(rates) == 0.5
    assert steps == pytest.approx([steps[0]] * 8)


def test_the_trapezoid_falls_over_the_last_fifth(tiny):
    train = tiny(train__epochs=10, train__schedule="trapezoid", train__lr=1.0, train__final_lr=0.0).train
    rates = [learning_rate(train, step, 10) for step in range(100)]
    assert rates[:80] == [1.0] * 80
    assert rates[90] == pytest.approx(0.4545, abs=1e-3)
    assert rates[-1] == 0


@pytest.mark.parametrize("variant", ["table", "paper"])
def test_only_matrices_and_kernels_decay(tiny, variant):
    params = tiny(model__variant=variant)
    model = create_model(params.model, 4)
    decayed, spared = adamw(model, params.train).param_groups
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
