import copy
import functools

import pytest
import timm.optim.muon
import torch
from torch import nn

from coatnet import create_model
from coatnet.training.muon import Muon, orthogonalise
from coatnet.training.optim import optimizers, set_rate


def test_singular_values_come_near_1():
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 8, 32), 5))
    assert values.min() > 0.6 and values.max() < 1.3


def test_updates_are_timms_in_float32(monkeypatch):
    """Of matrices wide, tall and square, two of one shape, and of kernels in both memory formats."""
    slow = functools.partial(timm.optim.muon.zeropower_via_newtonschulz, dtype=torch.float32)
    monkeypatch.setattr(timm.optim.muon, "zeropower_via_newtonschulz", slow)
    shapes = [(8, 24), (24, 8), (8, 24), (16, 16), (8, 6, 3, 3), (32, 3, 3, 3), (16, 8, 1, 1)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    ours[4].data = ours[4].data.contiguous(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    options = {"momentum": 0.9, "weight_decay": 0.1}
    optimizer = Muon(ours, torch.tensor(0.02), steps=3, **options)
    timms = timm.optim.muon.Muon(
        theirs,
        0.02,
        **options,
        nesterov=True,
        ns_steps=3,
        ns_coefficients="original",
        adjust_lr_fn="original",
    )
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        timms.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_matrix_whose_gradient_is_0_or_missing_stays():
    dead, unused = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    dead.grad = torch.zeros(4, 4)
    Muon([dead, unused], torch.tensor(0.1), momentum=0.9, steps=5, weight_decay=0.0).step()
    assert torch.equal(dead, torch.ones(4, 4)) and torch.equal(unused, torch.ones(4, 4))


@pytest.mark.parametrize("variant", ["table", "paper"])
@pytest.mark.parametrize("rows", [{}, {"train__muon__stem": True, "train__muon__head": True}])
def test_muon_takes_matrices_and_full_kernels(tiny, variant, rows):
    params = tiny(model__variant=variant, train__optimizer="muon", **rows)
    model = create_model(params.model, 4)
    adamw, muon = optimizers(model, params.train)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = [{names[id(p)] for group in o.param_groups for p in group["params"]} for o in (adamw, muon)]
    assert not taken[0] & taken[1] and taken[0] | taken[1] == set(names.values())
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    expected = {f"{name}.weight" for name, m in convolutions.items() if m.groups == 1}
    expected |= {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert taken[1] == {name for name in expected if rows or not name.startswith(("stem", "head"))}


@pytest.mark.parametrize(
    ("name", "stem", "head"),
    [("test_resnet", "conv1.0.weight", "fc.weight"), ("test_efficientnet", "conv_stem.weight", "classifier.weight")],
)
@pytest.mark.parametrize("taken", [False, True])
def test_timms_stem_and_head_are_muons_only_where_asked_for(tiny, name, stem, head, taken):
    given = {"train__optimizer": "muon", "train__muon__stem": taken, "train__muon__head": taken}
    params = tiny(model__name=f"timm/{name}", **given)
    model = create_model(params.model, 4)
    _, muon = optimizers(model, params.train)
    parameters = dict(model.named_parameters())
    of_muon = {id(p) for group in muon.param_groups for p in group["params"]}
    assert [id(parameters[name]) in of_muon for name in (stem, head)] == [taken, taken]


def test_muon_has_its_own_values(tiny):
    given = {"momentum": 0.8, "steps": 3, "weight_decay": 0.2}
    params = tiny(train__optimizer="muon", **{f"train__muon__{name}": value for name, value in given.items()})
    _, muon = optimizers(create_model(params.model, 4), params.train)
    assert {name: muon.param_groups[0][name] for name in given} == given


def test_each_optimizer_has_its_own_rate(tiny):
    params = tiny(train__optimizer="muon", train__lr=1e-3, train__muon__lr=0.03)
    both = optimizers(create_model(params.model, 4), params.train)
    set_rate(both, params.train, 5e-4)
    assert [o.param_groups[0]["lr"].item() for o in both] == pytest.approx([5e-4, 0.015])
