import itertools

import pytest
import torch
from torch import nn

from coatnet.training.schedule import image_size, learning_rate


def test_the_cosine_goes_from_lr_to_its_final_fraction(tiny):
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


def test_linear_falls_evenly_after_the_warm_up(tiny):
    values = {"train__epochs": 10, "train__warmup_epochs": 1.0, "train__lr": 1.0, "train__final_lr": 0.2}
    train = tiny(train__schedule="linear", **values).train
    rates = [learning_rate(train, step, 10) for step in range(100)]
    falls = [a - b for a, b in itertools.pairwise(rates[10:])]
    assert falls == pytest.approx([0.8 / 89] * 89)
    assert (rates[10], rates[-1]) == pytest.approx((1.0, 0.2))


@pytest.mark.parametrize(("warmup", "falls", "halfway"), [(0, 80, 0.4545), (5, 90, 0.4082)])
def test_the_trapezoid_falls_over_the_last_fifth_after_the_warm_up(tiny, warmup, falls, halfway):
    values = {"train__epochs": 10, "train__warmup_epochs": float(warmup), "train__lr": 1.0, "train__final_lr": 0.0}
    train = tiny(train__schedule="trapezoid", **values).train
    rates = [learning_rate(train, step, 10) for step in range(100)]
    assert set(rates[10 * warmup : falls]) == {1.0} and rates[falls] < 1
    assert rates[(falls + 100) // 2] == pytest.approx(halfway, abs=1e-3)
    assert rates[-1] == 0


def test_a_size_holds_until_the_next(tiny):
    sizes = [[0, 64], [40, 128], [70, 224]]
    train = tiny(train__epochs=80, train__image_size=sizes, model__image_size=224).train
    assert [image_size(train, epoch, 224) for epoch in (0, 39, 40, 69, 70, 79)] == [64, 64, 128, 128, 224, 224]
    assert image_size(tiny().train, 1, 32) == 32
