"""Compiled is eager: logits and every gradient, against float64.

Inductor's C++ has been wrong for vectors of 256 bits on two threads, and right on one. A model takes it ten to twenty
seconds, so the combinations are a covering set: both variants at 256 bits, one at each other width of vectors; layouts,
kernels and precisions in turn.
"""

import copy
import ctypes
import os
import subprocess

import pytest
import torch
from torch._inductor import config
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.codecache import CppCodeCache
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.cpu_vec_isa import VecISA
from torch._inductor.utils import clear_caches

from coatnet import create_model
from coatnet.models import attention
from coatnet.models.attention import position_bias

from ..conftest import of_all_processes
from .test_create_model import CONFIGURATIONS, OURS, images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a compiler may wait long for a busy machine
SIMDLEN = {"scalar": 1, "256 bits": 256, "the machine's own": None}


@pytest.fixture(autouse=True)
def _compile_anew():
    torch.compiler.reset()


def _has_flags(isa, code):
    """Whether the compiler knows the flags of these vectors.

    In place of Inductor's own check, which compiles and loads a file for each kind of vectors: half a minute.
    """
    command = [get_cpp_compiler(), *isa.build_arch_flags().split(), "-fsyntax-only", "-x", "c++", os.devnull]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def _nothing_kept(tmp_path_factory):
    """No code that an earlier run compiled; the header that all of it includes is compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(of_all_processes(tmp_path_factory) / "inductor"))
        patch.setattr(VecISA, "check_build", _has_flags)
        clear_caches()
        yield
    clear_caches()


@pytest.fixture
def inductor(_nothing_kept, monkeypatch):
    """Inductor with a C++ file for each graph, where users have one for each kernel.

    A file takes seconds, however little it holds. The kernels and the flags are the same.
    """
    try:
        get_cpp_compiler()
    except RuntimeError as error:
        pytest.skip(f"on a CPU torch.compile needs a C++ compiler: {error}")

    def cpp_pybinding(graph, argtypes, source):
        sources = vars(graph).setdefault("sources", [])
        name = f"kernel{len(sources)}"
        sources.append(source.replace("kernel(", f"{name}(", 1))

        def kernel(*tensors):
            compiled = getattr(CppCodeCache.load("".join(sources)), name)
            compiled(*(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors))

        return kernel

    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", cpp_pybinding)
    # Two, as users have: where one thread's code was right, that of several has been wrong.
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def relative_errors(actual, expected):
    """Of each tensor, ||actual - expected|| / ||expected||; without the denominator where the true gradient is 0."""
    assert actual.keys() == expected.keys()
    norms = {name: tensor.norm() for name, tensor in expected.items()}
    return {
        name: ((actual[name] - tensor).norm() / (norms[name] if norms[name] > 1e-9 else 1)).item()
        for name, tensor in expected.items()
    }


def weights(x):
    """Of a sum whose gradient differs from entry to entry."""
    return torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def logits_and_gradients(forward, model, x_bchw, dtype):
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        logits = forward(x_bchw)
    names, parameters = zip(*model.named_parameters(), strict=True)
    slope = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)
    gradients = torch.autograd.grad((logits * slope).sum(), parameters)
    return {"logits": logits.detach()} | dict(zip(names, gradients, strict=True))


def assert_compiled_is_eager(params, dtype=torch.float32, **options):
    torch.manual_seed(0)
    model = create_model(params, 7).to(memory_format=torch.channels_last)
    x_bchw = images(params).to(memory_format=torch.channels_last)
    double = copy.deepcopy(model).double()
    expected = logits_and_gradients(double, double, x_bchw.double(), torch.float64)
    # Twice what rounding does to the eager model.
    rounding = max(relative_errors(logits_and_gradients(model, model, x_bchw, dtype), expected).values())
    tolerance = max(5e-5, 2 * rounding)
    assert tolerance < (0.2 if dtype == torch.bfloat16 else 1e-3)
    compiled = torch.compile(model, **options)
    errors = relative_errors(logits_and_gradients(compiled, model, x_bchw, dtype), expected)
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}
    assert not wrong, f"off by more than {tolerance:.1g}: {wrong}"


def is_tested_already(width):
    """Whether the machine's own vectors are those of 256 bits."""
    return SIMDLEN[width] is None and torch.backends.cpu.get_cpu_capability() == "AVX2"


# One test, since the first compilation in a process takes Inductor twenty seconds more than the next ones.
def test_compiled_by_inductor_it_is_eager(tiny, inductor):
    for width, variant, layout, kernel, dtype in (
        ("scalar", "paper", "CCCT", 5, torch.bfloat16),
        ("256 bits", "table", "CCTT", 7, torch.bfloat16),
        ("256 bits", "paper", "CCTT", 3, torch.float32),
        ("the machine's own", "table", "CCCT", 5, torch.float32),
    ):
        if is_tested_already(width):
            continue
        params = tiny(
            model__variant=variant,
            model__layout=layout,
            model__kernel=kernel,
            model__strides=[2, 2, 1, 1],
            model__dims=[8, 12, 12, 24],
            model__paper__head_dim=4,
            model__paper__drop_path=0.0,
            model__paper__pool="max" if dtype == torch.float32 else "avg",
        ).model
        with config.patch({"cpp.simdlen": SIMDLEN[width]}):
            assert_compiled_is_eager(params, dtype, dynamic=False)


# Each alone: compiled together with others, Inductor makes other code of it.
@pytest.mark.parametrize(
    ("width", "size"),
    [("scalar", (3, 5)), ("256 bits", (8, 8)), ("256 bits", (3, 5)), ("the machine's own", (8, 8))],
)
def test_position_bias_compiled_by_inductor(width, size, inductor):
    if is_tested_already(width):
        pytest.skip("this machine's own vectors are those of 256 bits, tested above")
    table = torch.randn(4, 15, 15)  # made for 8 x 8

    def run(function, dtype):
        copy_of_table = table.to(dtype).requires_grad_()
        bias = function(copy_of_table, *size)
        (gradient,) = torch.autograd.grad((bias * weights(bias)).sum(), copy_of_table)
        return {"bias": bias.detach(), "gradient": gradient}

    with config.patch({"cpp.simdlen": SIMDLEN[width]}):
        found = run(torch.compile(position_bias, dynamic=False), torch.float32)
    errors = relative_errors(found, run(position_bias, torch.float64))
    assert max(errors.values()) < 1e-6, errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["table", "paper"])
def test_a_wrong_gradient_of_the_compiled_model_is_found(variant, dtype, tiny, monkeypatch):
    def planted(table, height, width):
        bias = position_bias(table, height, width)
        return bias + 0.25 * (bias - bias.detach()) if torch.compiler.is_compiling() else bias

    monkeypatch.setattr(attention, "position_bias", planted)
    params = tiny(
        model__variant=variant, model__strides=[2, 2, 1, 1], model__paper__drop_path=0.0, model__paper__pool="avg"
    ).model
    with pytest.raises(AssertionError, match="position_table"):
        assert_compiled_is_eager(params, dtype, backend="aot_eager")


@pytest.mark.parametrize("name", [*OURS, "timm/convnext_atto"])
def test_compiles_into_one_graph(name, tiny):
    params = tiny(**CONFIGURATIONS[name]).model
    model, x = create_model(params, 7).eval(), images(params)
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
    model.train()
    torch.compile(model, fullgraph=True, backend="eager")(x)


@pytest.mark.parametrize("name", ["table, TCTC", "paper, every option"])
def test_gradients_go_through_the_graph(name, tiny):
    params = tiny(**CONFIGURATIONS[name] | {"model.paper.drop_path": 0.0}).model
    assert_compiled_is_eager(params, fullgraph=True, backend="aot_eager")
