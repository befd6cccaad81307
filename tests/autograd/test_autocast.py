"""Products in fewer bits: what is rounded, where, and in backward as well."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.backend import precision
from nnmed.errors import UsageError

FORMATS = ["float16", "bfloat16"]


def rounded(array, format):
    with nnmed.autocast(format):
        return precision.rounded(array)


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("format", FORMATS)
def test_rounding_as_in_pytorch(format, torch):
    special = [np.nan, np.inf, -np.inf, 3.4e38, 65519, 65520, 6e-8, 2e-8, -0.0, 0, 1e-40]
    x = np.concatenate([normal(1000), np.array(special, np.float32)])
    expected = torch.from_numpy(x).to(getattr(torch, format)).float().numpy()
    result = rounded(x, format)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)
    numbers = ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(result[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_float32_is_not_rounded(format):
    x = normal(3, 3, dtype=np.float64)
    assert rounded(x, format) is x
    with nnmed.autocast(format):
        y = nnmed.Tensor(x) @ nnmed.Tensor(x)
    np.testing.assert_array_equal(y.numpy(), x @ x)


PRODUCTS = {
    "matmul": (lambda a, b: a @ b, (5, 7), (7, 4)),
    "linear": (F.linear, (5, 7), (4, 7)),
    "einsum": (lambda a, b: nnmed.einsum("ijk,kl->il", a, b), (3, 4, 5), (5, 6)),
    "conv2d": (lambda a, b: F.conv2d(a, b, padding=1), (2, 3, 8, 9), (4, 3, 3, 3)),
    "conv2d, winograd": (lambda a, b: F.conv2d(a, b, padding=1), (2, 32, 16, 16), (32, 32, 3, 3)),
    "conv3d": (F.conv3d, (1, 2, 4, 5, 6), (3, 2, 3, 3, 3)),
    "conv_transpose2d": (
        lambda a, b: F.conv_transpose2d(a, b, stride=2),
        (2, 3, 4, 5),
        (3, 4, 2, 2),
    ),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_operands_are_rounded_forward_and_backward(name, format):
    function, *shapes = PRODUCTS[name]
    arrays = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    inputs = [nnmed.Tensor(a, requires_grad=True) for a in arrays]
    with nnmed.autocast(format):
        y = function(*inputs)
    assert y.dtype == np.float32
    dy = normal(*y.shape, seed=9)
    y.backward(nnmed.Tensor(dy))  # outside of the block

    exact = [
        nnmed.Tensor(rounded(a, format).astype(np.float64), requires_grad=True) for a in arrays
    ]
    expected = function(*exact)
    expected.backward(nnmed.Tensor(rounded(dy, format).astype(np.float64)))
    pairs = [(y, expected), *((ours.grad, theirs.grad) for ours, theirs in zip(inputs, exact))]
    for ours, theirs in pairs:
        scale = abs(theirs.numpy()).max()
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=3e-6 * scale)
    # The test can tell rounded operands from others.
    plain = function(*(nnmed.Tensor(a) for a in arrays)).numpy()
    assert abs(plain - y.numpy()).max() > 1e-5 * abs(plain).max()


@pytest.mark.parametrize("format", FORMATS)
def test_second_derivatives_are_rounded_too(format):
    x, w = nnmed.Tensor(normal(4, 4), requires_grad=True), nnmed.Tensor(normal(4, 4, seed=1))
    with nnmed.autocast(format):
        y = x @ w
    (dx,) = nnmed.grad((y * y).sum(), x, create_graph=True)
    (second,) = nnmed.grad(dx.sum(), x)
    matrix = rounded(w.numpy(), format).astype(np.float64)
    ones = np.ones((4, 4))
    inner = rounded((2 * rounded((ones @ matrix).astype(np.float32), format)), format)
    expected = inner.astype(np.float64) @ matrix.T
    np.testing.assert_allclose(second.numpy(), expected, rtol=0, atol=2e-2 * abs(expected).max())
    assert abs(second.numpy() - 2 * ones @ w.numpy() @ w.numpy().T).max() > 1e-5


def test_blocks_nest_and_can_be_switched_off():
    x = nnmed.Tensor([[1.001]])
    with nnmed.autocast("bfloat16"):
        assert (x @ x).item() == 1
        with nnmed.autocast("bfloat16", enabled=False):
            assert (x @ x).item() == np.float32(1.001) ** 2
        assert (x @ x).item() == 1
    assert precision.current() == "float32"


def test_a_function_can_be_decorated_and_threads_do_not_meet():
    inside, seen = threading.Barrier(2, timeout=10), {}

    @nnmed.autocast("float16")
    def first():
        seen["decorated"] = precision.current()
        inside.wait()
        inside.wait()

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    seen["other"] = precision.current()
    inside.wait()
    thread.join()
    assert seen == {"decorated": "float16", "other": "float32"}


def test_a_checkpoint_recomputes_in_the_format_of_the_first_time():
    x, w = nnmed.Tensor(normal(6, 6), requires_grad=True), nnmed.Tensor(normal(6, 6, seed=1))

    def function(x):
        y = (x @ w).exp()
        with nnmed.autocast("bfloat16"):
            return F.tanh(y @ w)

    gradients = []
    for run in (function, lambda x: nnmed.checkpoint(function, x)):
        x.grad = None
        run(x).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_array_equal(*gradients)


def test_gradients_side_by_side_are_rounded_in_both_threads():
    x, w = normal(4, 32, 24, 24), normal(32, 32, 3, 3, seed=1)
    count, results = nnmed.get_num_threads(), []
    try:
        for threads in (1, 2):
            nnmed.set_num_threads(threads)
            tensors = [nnmed.Tensor(a, requires_grad=True) for a in (x, w)]
            with nnmed.autocast("float16"):
                y = F.conv2d(*tensors, padding=1)
            (y * y).sum().backward()
            results.append([t.grad.numpy() for t in tensors])
    finally:
        nnmed.set_num_threads(count)
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two)


def test_small_gradients_vanish_in_float16_unless_the_loss_is_scaled():
    w, x = nnmed.Tensor([[1.0]], requires_grad=True), nnmed.Tensor([[1e-3]])
    gradients = []
    for scale in (1.0, 2.0**16):
        w.grad = None
        with nnmed.autocast("float16"):
            y = x @ w
        (y * 1e-8 * scale).sum().backward()
        gradients.append(w.grad.item() / scale)
    assert gradients[0] == 0
    assert gradients[1] == pytest.approx(1e-11, rel=1e-2)


def test_tf32_changes_nothing_on_the_cpu():
    x = nnmed.Tensor([[1.0001]])
    try:
        nnmed.allow_tf32()
        assert precision.current() == "tfloat32"
        assert (x @ x).item() == np.float32(1.0001) ** 2
    finally:
        nnmed.allow_tf32(False)
    assert precision.current() == "float32"


def test_other_formats_are_refused():
    with pytest.raises(UsageError, match="'float16' or 'bfloat16'"):
        nnmed.autocast("float8")
