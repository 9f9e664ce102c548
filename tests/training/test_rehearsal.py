"""The whole of a run, evaluations and progress included, on devices that are not there: `cuda` and Apple's `mps`.

torch's fake tensors have a shape, a type and a device, but no values. So this sees on any machine: tensors of two
devices that meet, types that a device lacks (float64 on mps), autocast that does not reach the logits, and each place
where the host waits for the device. It cannot see:

- numbers: a wrong sum is as good as a right one, and what is read from the device is made up;
- kernels: whether a device has one for these types, how fast it is, what it rounds;
- memory, streams, compiled code (`train.compile` is off), several processes (NCCL) and the driver;
- torch's own engine for the backward pass, which asks the driver for streams: the graph that it would walk is real and
  so are its nodes, but `_backward` walks it;
- the fused optimizer's kernel, of whose tensors only the devices are compared;
- what a built-in operation does inside: mps's own choice of an attention kernel, say.
"""

import copy
import ctypes
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeCopyMode, FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

import coatnet
from coatnet import load_params
from coatnet.augment import AugmentParams, BatchAugment
from coatnet.data.transform import EvalTransform
from coatnet.machine import display
from coatnet.machine.processes import World
from coatnet.models import create_model
from coatnet.models.attention import attention_reference
from coatnet.params import read_yaml
from coatnet.training import engine, init
from coatnet.training.evaluation import predict
from coatnet.training.meter import NEVER
from coatnet.training.progress import Progress

from ..conftest import PARAMS, ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # deepcopy does

aten = torch.ops.aten
LIBRARY = str(Path(coatnet.__file__).parent)
PRESETS = read_yaml(ROOT / "presets.yaml")
POLICIES = get_args(AugmentParams.model_fields["policy"].annotation)

# The places that are meant to wait for the device.
MAY_READ = {
    "optimizers",  # once: torch checks the learning rate
    "Meter.check_finite",  # about once a second, and at the end of an epoch
    "Meter.read",
    "Curve.point",
}
MAY_WRITE = {  # memory that is not pinned is copied once the device has come to it
    "Trainer.__init__",  # the training images and the model
    "Trainer._resume",
    "Curve.__init__",
    "optimizers",  # the learning rate
    "Batches.epoch",  # the order, once an epoch
    "Policy.to",  # tables, once an image size
    "Normalise.__call__",
}
ANSWERS = {torch.bool: True, torch.int64: NEVER, torch.float32: 1.0, torch.float64: 1.0}  # nothing is amiss


class Watch(FakeTensorMode):
    """Makes tensors that are fake, and raises where an operation must not be."""

    def __init__(self, device: torch.device):
        super().__init__(allow_fallback_kernels=False)
        self.device = device
        self.read: Counter[str] = Counter()  # numbers read from the device, by place

    def __deepcopy__(self, memo):  # of a model's tensors, each of which knows its mode
        return self

    def dispatch(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question about one tensor, such as where it lies
            return super().dispatch(func, types, args, kwargs)
        if func is aten._local_scalar_dense.default and args[0].device == self.device:
            self._wait(MAY_READ)
            return ANSWERS[args[0].dtype]
        given = list(_tensors((*args, *kwargs.values())))
        copies = func in (aten._to_copy.default, aten.copy_.default)
        if not copies:
            assert len({t.device for t in given if t.ndim}) <= 1, f"{' '.join(_place())} mixes devices in {func}"
        if func is aten._fused_adamw_.tensor_lr:  # torch has no fake of it
            return None
        result = super().dispatch(func, types, args, kwargs)
        results = list(_tensors([result]))
        if copies:
            source, target = given[-1].device, results[0].device
            if source == self.device != target:
                self._wait(MAY_READ)
            if source != self.device == target:
                self._wait(MAY_WRITE)
        if self.device.type == "mps":
            wide = [t for t in results if t.dtype in (torch.float64, torch.complex128) and t.device == self.device]
            assert not wide, f"{' '.join(_place())} makes a {wide[0].dtype} on mps with {func}"
        return result

    def _wait(self, allowed: set[str]) -> None:
        place, line = _place()
        assert place in allowed, f"{place} waits for the device: {line}"
        if allowed is MAY_READ:
            self.read[place] += 1


def _tensors(values):
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _place() -> tuple[str, str]:
    """The library's innermost function that is being called, and the line."""
    frame = sys._getframe()
    while frame and not frame.f_code.co_filename.startswith(LIBRARY):
        frame = frame.f_back
    if frame is None:
        return "a test", ""
    return frame.f_code.co_qualname.partition(".<locals>")[0], f"{frame.f_code.co_filename}:{frame.f_lineno}"


class FakeShards:
    num_classes, mean, std = 4, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)

    def __init__(self, images: int):
        self.images = images

    def evaluated(self, holdout):
        return "test"

    def load(self, split, holdout, fraction=1.0):
        return torch.zeros(self.images, 3, 64, 64, dtype=torch.uint8), torch.zeros(self.images, dtype=torch.int64)

    def digest(self, split):
        return ""


def _fake_model(params, num_classes, device="cpu", pretrained=False) -> nn.Module:
    """Made without values or memory."""
    with _disable_current_modes(), torch.device("meta"):
        model = create_model(params, num_classes)
    return model._apply(lambda t: torch.empty(t.shape, dtype=t.dtype, device=device))


def _apply(module: nn.Module, function, recurse=True) -> nn.Module:
    """What `.to` does, but without swapping tensors in place, which fake ones do not allow."""
    with torch.no_grad():
        for m in module.modules():
            for name, p in m.named_parameters(recurse=False):
                setattr(m, name, nn.Parameter(function(p), p.requires_grad))
            for name, b in m.named_buffers(recurse=False):
                setattr(m, name, function(b))
    return module


def _backward(loss: Tensor) -> None:
    """`Tensor.backward`: each node of the graph once all its gradients have come."""
    edges, found = Counter(), [loss.grad_fn]
    for node in found:
        for child, _ in node.next_functions:
            found += [child] if child and child not in edges else []
            edges[child] += 1
    incoming = defaultdict(dict, {loss.grad_fn: {0: torch.ones_like(loss)}})
    ready = [loss.grad_fn]
    with torch.no_grad():
        while ready:
            node = ready.pop()
            gradients = [None] * len(node._input_metadata)
            for i, gradient in incoming.pop(node, {}).items():
                of = node._input_metadata[i]
                assert gradient.device == of.device, f"{node} gets a gradient of {gradient.device}"
                gradients[i] = gradient.sum_to_size(of.shape).to(of.dtype)
            results = node(*gradients)
            results = results if isinstance(results, tuple) else (results,)
            for (child, i), gradient in zip(node.next_functions, results, strict=bool(node.next_functions)):
                if gradient is not None:
                    incoming[child][i] = incoming[child][i] + gradient if i in incoming[child] else gradient
                edges[child] -= 1
                if child and not edges[child]:
                    ready.append(child)


@pytest.fixture(scope="module")
def mps_guard():
    """torch asks the device's guard for a stream at each step, and where there are no Apple GPUs mps has none.

    That of the meta device, which does nothing, stands in for it.
    """
    library = Path(torch.__file__).parent / "lib" / "libc10.so"
    if torch.backends.mps.is_built():
        yield
    elif not library.exists():
        pytest.skip("torch for this system knows no mps, and hides where it could be told")
    else:
        kinds = torch._C._autograd.DeviceType
        guards = (ctypes.c_void_p * 20).in_dll(ctypes.CDLL(library), "_ZN3c104impl26device_guard_impl_registryE")
        guards[int(kinds.MPS)] = guards[int(kinds.Meta)]
        yield
        guards[int(kinds.MPS)] = None


@pytest.fixture(params=["cuda", "mps"])
def fake_device(request, monkeypatch):
    """A device to pretend, and what is asked of its driver."""
    if request.param == "mps":
        request.getfixturevalue("mps_guard")
        monkeypatch.setattr(F, "scaled_dot_product_attention", _attention)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(nn.Module, "_apply", _apply)
    monkeypatch.setattr(Tensor, "backward", _backward)
    return torch.device(request.param, 0)


def _attention(q, k, v, attn_mask):
    return attention_reference(q, k, v, attn_mask[0])


@pytest.fixture
def watch(fake_device):
    """From here on each tensor that the test makes is a fake one."""
    with Watch(fake_device) as watch:
        yield watch


@pytest.fixture
def rehearse(fake_device, watch, monkeypatch, tmp_path):
    """`rehearse(params, steps, state)` trains from `state` on, and returns the state that each epoch left."""

    def fake_augment(*args):
        with _disable_current_modes():
            augment = BatchAugment.of(*args)
            with FakeCopyMode(watch):
                return copy.deepcopy(augment)

    def run(params, steps=1, state=None):
        saved, types = [], set()
        monkeypatch.setattr(init, "create_model", _fake_model)
        monkeypatch.setattr(engine, "BatchAugment", SimpleNamespace(of=fake_augment))
        monkeypatch.setattr(Progress, "load", lambda self: (state, ""))
        monkeypatch.setattr(Progress, "save", lambda self, state: saved.append(state))
        monkeypatch.setattr(display, "time", SimpleNamespace(perf_counter=lambda: 0.0))  # never a second later
        shards = FakeShards(steps * params.train.batch_size)
        trainer = engine.Trainer(params, shards, World(0, 1, fake_device), tmp_path / "progress")
        for model in {trainer.model, trainer.averaged}:
            model.register_forward_hook(lambda model, x, logits: types.add((model.training, logits.dtype)))
        trained = trainer.run()
        bf16 = torch.bfloat16 if fake_device.type == "cuda" else torch.float32
        assert types == {(True, bf16), (False, bf16)}  # training and evaluation
        assert {t.device for t in (*trained.model.parameters(), *trained.model.buffers())} == {fake_device}
        return saved

    return run


QUICK = {
    "train.precision": "auto",
    "train.compile": False,
    "train.epochs": 1,
    "train.batch_size": 2,
    "train.warmup_epochs": 0.0,
}


@pytest.fixture
def small(tiny):
    """The smallest model, and little done to the images."""

    def make(**overrides):
        model = {"model.layout": "C", "model.blocks": [1], "model.dims": [8], "augment.policy": "none"}
        values = {**QUICK, **model, **overrides}
        return tiny(**{name.replace(".", "__"): value for name, value in values.items()})

    return make


# On mps one of each variant: what else the presets differ in makes no float64.
WALKS = [*(("cuda", preset) for preset in PRESETS), ("mps", "original-published"), ("mps", "flagship")]


@pytest.mark.parametrize(("fake_device", "preset"), WALKS, indirect=["fake_device"])
def test_presets(rehearse, preset):
    """At their own widths, but with two blocks a stage at most, since each further one is as the second."""
    values = {"model.image_size": 64, "model.blocks": [2, 2, 2, 2], "train.image_size": None} | PRESETS[preset] | QUICK
    values["model.blocks"] = [min(2, blocks) for blocks in values["model.blocks"]]
    if sizes := values["train.image_size"]:
        values["train.image_size"] = [[epoch, size] for epoch, (_, size) in enumerate(sizes)]
        values["train.epochs"] = len(sizes)
    rehearse(load_params(PARAMS, values))


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(rehearse, small, policy):
    rehearse(small(**{"augment.policy": policy}))


@pytest.mark.parametrize("value", ["zero", "noise"])
def test_erasing(rehearse, small, value):
    """In a pass of its own, and by its probability; all four passes are in a preset."""
    rehearse(small(**{"augment.passes": ["plain", "erase"], "augment.erase.value": value}))
    rehearse(small(**{"augment.erase.value": value, "augment.interpolation": "nearest"}))


@pytest.mark.parametrize("fake_device", ["cuda"], indirect=True)
@pytest.mark.parametrize("name", ["timm/convnext_atto", "timm/efficientnet_b0"])
def test_peers(rehearse, small, name):
    rehearse(small(**{"model.name": name}))


def test_a_run_and_its_second_half(rehearse, small, watch):
    """All that the presets do not switch on, and how often the device is waited for."""
    params = small(
        **{
            "model.variant": "paper",
            "model.layout": "CT",
            "model.blocks": [1, 1],
            "model.dims": [8, 8],
            "model.image_size": 32,
            "model.paper.layer_scale": 0.1,
            "train.image_size": [[0, 16], [1, 32]],
            "train.epochs": 2,
            "train.accumulation": 2,
            "train.clip_norm": 1.0,
            "train.ema": 0.9,
            "train.optimizer": "muon",
            "train.schedule": "trapezoid",
        }
    )
    saved = rehearse(params, steps=1)
    # After the very first step, not after the second epoch's, and at the end of both; the sums are three numbers.
    assert watch.read == {
        "optimizers": 1,
        "Meter.read": 3 * (1 + 2),
        "Meter.check_finite": 1 + 2,
        "Curve.point": 3 * 2,
    }
    first_half = tree_map_only(Tensor, lambda t: torch.empty_like(t, device="cpu"), saved[0])  # as a file gives it
    (second_half,) = rehearse(params, steps=1, state=first_half)
    assert second_half["epoch"] == 2


@pytest.mark.parametrize("crop", [None, 0.875])
def test_evaluation(fake_device, watch, small, crop):
    """As the stage does it: float32, another size than trained at, mirrored images too."""
    params = small(**{"model.layout": "CT", "model.blocks": [1, 1], "model.dims": [8, 8]})
    model = _fake_model(params.model, FakeShards.num_classes, fake_device)
    images = torch.zeros(5, 3, 64, 64, dtype=torch.uint8, device=fake_device)
    transform = EvalTransform(image_size=64, crop=crop, mean=FakeShards.mean, std=FakeShards.std)
    logits = predict(model, images, transform, batch_size=2, flip=True)
    assert (logits.shape, logits.dtype, logits.device) == ((5, 4), torch.float32, fake_device)
    assert not watch.read


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool(x.any()),
        lambda x: x.cpu(),
        lambda x: torch.zeros(2, 3).copy_(x),
        lambda x: x.copy_(torch.zeros(2, 3)),
        lambda x: torch.zeros(3).to(x.device),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x + torch.zeros(3),
        lambda x: x[torch.zeros(1, dtype=torch.int64)],
    ],
)
def test_a_wait_and_a_mixture_are_seen(fake_device, watch, wrong):
    x = torch.zeros(2, 3, device=fake_device)
    with pytest.raises((AssertionError, DynamicOutputShapeException), match=r"waits for|mixes|nonzero|unique"):
        wrong(x)


@pytest.mark.parametrize("fake_device", ["mps"], indirect=True)
@pytest.mark.parametrize("wrong", [lambda x: x.double(), lambda x: x.sum(dtype=torch.float64)])
def test_a_type_that_mps_lacks_is_seen(fake_device, watch, wrong):
    x = torch.zeros(2, 3, device=fake_device)
    with pytest.raises(AssertionError, match=r"makes a torch\.float64"):
        wrong(x)
