"""Activation functions: every op test, and their behaviour far out and at NaN."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.kernels.activation import cpu, reference
from tests.op_case import OpCase, op_tests, tie_free

PLAIN = (
    F.relu, F.leaky_relu, F.elu, F.gelu, F.silu, F.sigmoid, F.tanh, F.erf, F.relu6, F.selu, F.celu,
    F.softplus, F.softsign, F.hardtanh, F.hardswish, F.hardsigmoid, F.hardshrink, F.softshrink,
    F.tanhshrink, F.mish, F.logsigmoid, F.rrelu,
)  # fmt: skip
KINKED = (
    (F.relu, {}, [0.0]),
    (F.leaky_relu, {}, [0.0]),
    (F.elu, dict(alpha=1.5), [0.0]),
    (F.selu, {}, [0.0]),
    (F.celu, dict(alpha=1.5), [0.0]),
    (F.relu6, {}, [0.0, 6.0]),
    (F.hardtanh, dict(min_val=-1.0, max_val=0.5), [-1.0, 0.5]),
    (F.hardsigmoid, {}, [-3.0, 3.0]),
    (F.hardswish, {}, [-3.0, 3.0]),
    (F.hardshrink, {}, [-0.5, 0.0, 0.5]),
    (F.softshrink, {}, [-0.5, 0.0, 0.5]),
    (F.threshold, dict(threshold=1.0, value=2.0), [1.0]),
    (F.softplus, dict(beta=2.0, threshold=4.0), [2.0]),
    (F.rrelu, {}, [0.0]),
)


ORACLES = {
    F.erf: lambda torch, tensors, kwargs: torch.erf(tensors["input"]),
    # PyTorch's own takes 1/6 in float32.
    F.hardsigmoid: lambda torch, t, kwargs: torch.nn.functional.relu6(t["input"] + 3) / 6,
}


def _case(function, *shape, **kwargs):
    oracle = ORACLES.get(function, True)
    return OpCase(function, dict(input=tie_free(*shape)), kwargs, oracle=oracle)


def _wide_case(function):
    """Return a case that reaches into the flat parts."""
    inputs = dict(input=lambda rng: rng.uniform(-9, 9, (4, 11)))
    return OpCase(function, inputs, oracle=ORACLES.get(function, True), label="wide")


PRELU_SHAPES = [
    ((2, 3, 4, 5), (3,)), ((2, 3, 4, 5), (1,)), ((2, 3), (3,)), ((5,), (1,)), ((2, 3, 4), (3,)),
    ((), (1,)), ((2, 3, 2, 2, 2), (3,)),
]  # fmt: skip
CASES = [
    # hardtanh's kink is among the numbers of these.
    *[_case(function, 2, 3, 4, 5) for function in PLAIN if function is not F.hardtanh],
    *[_case(function) for function in PLAIN],
    _case(F.leaky_relu, 3, 7, negative_slope=0.3),
    _case(F.leaky_relu, 3, 7, negative_slope=1.5),
    _case(F.leaky_relu, 3, 7, negative_slope=-0.5),
    _case(F.leaky_relu, 3, 7, negative_slope=0.0),
    _case(F.elu, 3, 7, alpha=1.7),
    _case(F.gelu, 2, 3, 4, 5, approximate="tanh"),
    _case(F.celu, 3, 7, alpha=0.5),
    _case(F.celu, 3, 7, alpha=-2.0),
    _case(F.softplus, 3, 7, beta=2.5),
    _case(F.softplus, 3, 7, beta=-1.5),
    _case(F.softplus, 3, 7, beta=3.0, threshold=1.0),
    _case(F.softplus, 3, 7, threshold=-0.5),
    _case(F.hardtanh, 3, 7, min_val=-0.3, max_val=0.6),
    _case(F.hardshrink, 3, 7, lambd=0.2),
    _case(F.hardshrink, 3, 7, lambd=-0.2),
    _case(F.softshrink, 3, 7, lambd=0.2),
    _case(F.softshrink, 3, 7, lambd=0.0),
    _case(F.threshold, 3, 7, threshold=0.1, value=20.0),
    _case(F.threshold, 3, 7, threshold=-0.3, value=0.0),
    _case(F.rrelu, 3, 7, lower=0.1, upper=0.7),
    *[_wide_case(f) for f in (F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.softplus, F.mish)],
    *[_case(F.glu, *shape, dim=dim) for shape, dim in (((4,), 0), ((2, 6, 3), 1), ((3, 2, 8), -1))],
    *[OpCase(F.prelu, dict(input=tie_free(*i), weight=w)) for i, w in PRELU_SHAPES],
]
TestActivation = op_tests(CASES, family="activation")


@pytest.mark.parametrize("function", PLAIN)
def test_many_chunks_equal_few(function):
    x = np.random.default_rng(0).standard_normal((9, 4001)).astype(np.float32)
    whole = function(nnmed.from_numpy(x)).numpy()
    rows = [function(nnmed.from_numpy(row)).numpy() for row in x]
    np.testing.assert_array_equal(whole, rows)


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_values_and_gradients_are_finite(function, dtype):
    x = nnmed.Tensor(np.array([1e4, 1e30, -1e4, -1e30], dtype), requires_grad=True)
    for create_graph in (False, True):
        y = function(x)
        (dx,) = nnmed.grad(y.sum(), [x], create_graph=create_graph)
        assert np.isfinite(y.numpy()).all()
        assert np.isfinite(dx.numpy()).all()


@pytest.mark.parametrize("function", PLAIN)
def test_nan_stays_nan(function):
    y = function(nnmed.Tensor([np.nan, 1.0])).numpy()
    assert np.isnan(y[0])
    assert not np.isnan(y[1])


@pytest.mark.oracle
@pytest.mark.parametrize(("function", "kwargs", "kinks"), KINKED)
@pytest.mark.parametrize("create_graph", [False, True])
def test_values_and_gradients_at_kinks_are_pytorchs(torch, function, kwargs, kinks, create_graph):
    near = [np.nextafter(k, side) for k in kinks for side in (-9.0, 9.0)]
    values = np.array([*kinks, *near, -0.0, 1e-300, -1e-300])
    x, t = nnmed.Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    expected = getattr(torch.nn.functional, function.__name__)(t, **kwargs)
    expected.backward(torch.full_like(t, 3.0))
    y = function(x, **kwargs)
    (dx,) = nnmed.grad(y, [x], nnmed.Tensor(np.full_like(values, 3.0)), create_graph=create_graph)
    # PyTorch's own hardsigmoid takes 1/6 in float32.
    rtol = 1e-7 if function is F.hardsigmoid else 1e-14
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=rtol, atol=1e-16)
    np.testing.assert_allclose(dx.numpy(), t.grad.numpy(), rtol=rtol)


@pytest.mark.oracle
@pytest.mark.parametrize("function", [F.logsigmoid, F.softplus, F.mish, F.celu, F.selu])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_values_and_gradients_are_pytorchs(torch, function, dtype):
    values = np.array([-1e4, -300, -90, -30, -17, 17, 19.9, 20.1, 30, 90, 300, 1e4], dtype)
    x, t = nnmed.Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    expected = getattr(torch.nn.functional, function.__name__)(t)
    expected.sum().backward()
    y = function(x)
    y.sum().backward()
    small = dict(rtol=5e-6 if dtype is np.float32 else 1e-8, atol=1e-37)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), **small)
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), **small)


def test_relu_gradient_drops_what_is_not_finite():
    x = nnmed.Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    F.relu(x).backward(nnmed.Tensor([np.inf, np.nan, 3.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 3])


@pytest.mark.parametrize("function", PLAIN)
def test_channels_last_memory_is_kept(function):
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    t = nnmed.from_numpy(x).requires_grad_()
    y = function(t)
    y.backward(nnmed.from_numpy(np.ones_like(x)))
    assert y.numpy().strides == x.strides
    assert t.grad.numpy().strides == x.strides


@pytest.mark.parametrize("function", PLAIN)
def test_empty_batch(function):
    x = nnmed.Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match=r"relu.*int64"):
        F.relu(nnmed.Tensor([1, 2]))


@pytest.mark.parametrize("function", [F.relu, F.selu, F.mish, F.hardswish, F.rrelu])
def test_inplace_is_refused(function):
    with pytest.raises(UsageError, match=rf"{function.__name__}.*inplace"):
        function(nnmed.Tensor([1.0]), inplace=True)


def test_unknown_approximation_is_refused():
    with pytest.raises(UsageError, match="approximate"):
        F.gelu(nnmed.Tensor([1.0]), approximate="erf")


@pytest.mark.parametrize(
    ("error", "function", "kwargs"),
    [
        (UsageError, F.hardtanh, dict(min_val=1.0, max_val=0.0)),
        (UsageError, F.hardtanh, dict(min_val=None)),
        (UsageError, F.threshold, dict(threshold="1", value=0.0)),
        (UsageError, F.hardshrink, dict(lambd=[1.0])),
        (UsageError, F.softshrink, dict(lambd=None)),
        (UsageError, F.rrelu, dict(lower="0")),
        (UsageError, F.elu, dict(alpha="1")),
        (UsageError, F.celu, dict(alpha=None)),
        (UsageError, F.softplus, dict(threshold=[])),
        (UsageError, F.softshrink, dict(lambd=-1.0)),
        (UsageError, F.rrelu, dict(lower=1.0, upper=0.5)),
        (UsageError, F.celu, dict(alpha=0.0)),
        (UsageError, F.softplus, dict(beta=0.0)),
        (ShapeError, F.glu, dict(dim=1)),
        (ShapeError, F.prelu, dict(weight=nnmed.Tensor([0.1, 0.2]))),
        (ShapeError, F.prelu, dict(weight=nnmed.Tensor([[0.1]]))),
        (DTypeError, F.prelu, dict(weight=nnmed.Tensor(np.array([0.1])))),
    ],
)
def test_bad_arguments(error, function, kwargs):
    with pytest.raises(error, match=function.__name__):
        function(nnmed.Tensor([[1.0, 2.0, 3.0]]), **kwargs)


def test_glu_without_channels_has_an_empty_gradient():
    x = nnmed.Tensor(np.zeros((2, 0, 3), np.float32), requires_grad=True)
    (gradient,) = nnmed.grad(F.glu(x, 1).sum(), [x], create_graph=True)
    assert gradient.shape == x.shape


def test_threshold_takes_any_value():
    x = nnmed.Tensor([np.inf, -np.inf, np.nan, 1.0], requires_grad=True)
    for value in (np.inf, -np.inf, -3.5, 0.0):
        y = F.threshold(x, 1.0, value)
        np.testing.assert_array_equal(y.numpy(), [np.inf, value, np.nan, value])


def test_random_slopes_lie_in_their_range_and_a_seed_repeats_them():
    x = nnmed.Tensor(np.linspace(-1, 1, 200_000, dtype=np.float32), requires_grad=True)
    nnmed.seed(3)
    y = F.rrelu(x, 0.1, 0.4, training=True)
    y.sum().backward()
    slopes, negative = x.grad.numpy(), x.numpy() <= 0
    np.testing.assert_array_equal(slopes[~negative], 1)
    assert slopes[negative].min() >= np.float32(0.1)
    assert slopes[negative].max() <= np.float32(0.4)
    assert abs(slopes[negative].mean() - 0.25) < 2e-3
    np.testing.assert_array_equal(y.numpy(), x.numpy() * slopes)
    assert not np.array_equal(F.rrelu(x, 0.1, 0.4, training=True).numpy(), y.numpy())
    nnmed.seed(3)
    np.testing.assert_array_equal(F.rrelu(x, 0.1, 0.4, training=True).numpy(), y.numpy())


def test_random_slopes_follow_words_not_memory():
    x = -np.abs(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    expected = reference.random_slopes(x, 0.1, 0.4, (1, 2))
    np.testing.assert_allclose(cpu.random_slopes(x, 0.1, 0.4, (1, 2)), expected, rtol=1e-15)
    np.testing.assert_allclose(cpu.random_slopes(last, 0.1, 0.4, (1, 2)), expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_celu_of_a_negative_alpha_grows_without_losing_digits(dtype):
    x = np.array([-1e-3, -1.0, -20.0, -60.0], dtype)
    expected = -1.5 * np.expm1(x.astype(np.float64) / -1.5)
    np.testing.assert_allclose(F.celu(nnmed.Tensor(x), -1.5).numpy(), expected, rtol=1e-5)
