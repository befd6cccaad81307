"""verify() finds errors that are put into the backward of ops, and names the entry."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.autograd import Tensor
from nnmed.errors import GradientError
from nnmed.ops.conv import Conv
from nnmed.ops.cross_entropy import CrossEntropy
from nnmed.ops.elementwise import Exp, Log, PowScalar, Sin, Sub
from nnmed.ops.layer_normalization import LayerNorm
from nnmed.ops.linalg import Linear, MatMul
from nnmed.ops.normalization import BatchNorm
from nnmed.ops.pooling_ops import AvgPool2d, MaxPool2d
from nnmed.ops.reduction import Mean
from nnmed.ops.shape import BroadcastTo, Permute
from nnmed.ops.softmax import Softmax


def leaf(*shape):
    values = np.random.default_rng(3).uniform(0.5, 1.5, shape).astype(np.float32)
    return nnmed.Tensor(values, requires_grad=True)


def changed(op, method, change):
    """Return the mutation of an op: what `change` makes of what its method returns."""
    original = getattr(op, method)

    def mutant(self, dy):
        return change(original(self, dy))

    return op, method, mutant


def first(change):
    """Return a change of the first of several gradients."""
    return lambda gradients: (change(gradients[0]), *gradients[1:])


def without_border(gradient):
    """Return a gradient whose last column is lost, as by a window that ends too early."""
    gradient = gradient.copy()
    gradient[..., -1] = 0
    return gradient


def stale_exp(self, dy):
    return dy * nnmed.exp(Tensor._wrap(np.full(self.input_shapes[0], 0.7, np.float32)))


def softmax_over_the_wrong_axis(self, dy):
    y = self.output
    return y * (dy - (dy * y).sum(0, keepdim=True))


def softmax_fused_over_the_wrong_axis(self, dy):
    y = self.output._array
    return (y * (dy - (dy * y).sum(0, keepdims=True)),)


def batch_norm_without_a_term(self, dy):
    x, weight, _ = self.inputs
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    inverse = (var + self.eps) ** -0.5
    g = dy * weight.reshape(1, -1, 1, 1)
    dx = inverse * (g - g.mean((0, 2, 3), keepdim=True))
    return dx, (dy * (x - mean) * inverse).sum((0, 2, 3)), dy.sum((0, 2, 3))


def forgetful(self, dy):
    x, target = (tensor._array for tensor in self.inputs)
    return self.evaluate(x, target, True)[1]


def network(x):
    return (F.batch_norm(x, None, None, leaf(3), leaf(3), training=True) ** 3).sum()


# The op and method, what stands there instead, a loss, and the entry's input.
MUTATIONS = {
    "sign": ((Sin, "backward", lambda self, dy: -dy * nnmed.cos(self.inputs[0])),
             lambda: nnmed.sin(leaf(4)).sum(), "x"),
    "factor": ((PowScalar, "backward", lambda self, dy: dy * self.inputs[0] ** 2),
               lambda: (leaf(4) ** 3).sum(), "x"),
    "small factor": (changed(Log, "backward", lambda dx: dx * 1.001),
                     lambda: nnmed.log(leaf(200, 200)).sum(), "x"),
    "missing inner derivative": ((Log, "backward", lambda self, dy: dy),
                                 lambda: nnmed.log(leaf(4)).sum(), "x"),
    "swapped gradients": ((Sub, "backward", lambda self, dy: (-dy, dy)),
                          lambda: (leaf(4) - leaf(4)).sum(), "a"),
    "not transposed": ((MatMul, "backward", lambda self, dy: (dy @ self.inputs[1],
                                                              self.inputs[0].transpose(0, 1) @ dy)),
                       lambda: ((leaf(3, 3) @ leaf(3, 3)) ** 2).sum(), "a"),
    "axis, recorded": ((Softmax, "backward", softmax_over_the_wrong_axis),
                       lambda: (F.softmax(leaf(3, 3), 1) ** 2).sum(), "x"),
    "axis, fused": ((Softmax, "fused_backward", softmax_fused_over_the_wrong_axis),
                    lambda: (F.softmax(leaf(3, 3), 1) ** 2).sum(), "x"),
    "permutation not undone": ((Permute, "fused_backward", lambda self, dy:
                                (dy.transpose(self.dims),)),
                               lambda: (leaf(3, 3, 3).permute(1, 2, 0) ** 2).sum(), "x"),
    "missing term": ((BatchNorm, "backward", batch_norm_without_a_term),
                     lambda: network(leaf(2, 3, 4, 4)), "x"),
    "missing term in a large array": ((BatchNorm, "backward", batch_norm_without_a_term),
                                      lambda: network(leaf(4, 3, 32, 32)), "x"),
    "no mean": ((Mean, "backward", lambda self, dy: (dy + 0.0).reshape(1, 1) *
                 Tensor._wrap(np.ones((3, 4), dy.dtype))),
                lambda: leaf(3, 4).mean(), "x"),
    "mean for sum": ((BroadcastTo, "fused_backward", lambda self, dy: (dy.mean(0),)),
                     lambda: (leaf(4, 3) * leaf(3)).sum(), "x"),
    "window": ((AvgPool2d, "fused_backward", changed(AvgPool2d, "fused_backward", first(
        lambda dx: np.roll(dx, 1, -1)))[2]),
               lambda: (F.avg_pool2d(leaf(1, 2, 6, 6), 2) ** 2).sum(), "x"),
    "border": ((Conv, "fused_backward", changed(Conv, "fused_backward", first(without_border))[2]),
               lambda: (F.conv2d(leaf(2, 3, 24, 24), leaf(4, 3, 3, 3), padding=1) ** 2).sum(), "x"),
    "bias of one sample": ((Linear, "fused_backward", changed(Linear, "fused_backward", lambda g:
                            (*g[:2], g[2] / 5))[2]),
                           lambda: (F.linear(leaf(5, 4), leaf(3, 4), leaf(3)) ** 2).sum(), "bias"),
    "stale array": ((Exp, "backward", stale_exp), lambda: nnmed.exp(leaf(4)).sum(), "x"),
    "fused alone": (changed(LayerNorm, "fused_backward", first(lambda dx: dx * 1.01)),
                    lambda: (F.layer_norm(leaf(5, 8), (8,), leaf(8), leaf(8)) ** 2).sum(), "x"),
    "recorded alone": (changed(LayerNorm, "backward", first(lambda dx: dx * 1.01)),
                       lambda: (F.layer_norm(leaf(5, 8), (8,), leaf(8), leaf(8)) ** 2).sum(), "x"),
    "one entry of many": (changed(MaxPool2d, "fused_backward", first(
        lambda dx: dx + (np.arange(dx.size) == 777).reshape(dx.shape))),
                          lambda: (F.max_pool2d(leaf(1, 2, 32, 32), 2) ** 2).sum(), "x"),
    "dy forgotten": ((CrossEntropy, "input_gradient", forgetful),
                     lambda: F.cross_entropy(leaf(3, 3), nnmed.Tensor([0, 1, 2])) * 3.0, "input"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_error_in_a_backward_is_found(name, monkeypatch):
    (op, method, mutant), make_loss, input_name = MUTATIONS[name]
    loss = make_loss()
    assert all(step.check.verdict == "passed" for step in nnmed.explain(loss).verify())
    monkeypatch.setattr(op, method, mutant)
    derivation = nnmed.explain(loss).verify()
    failed = [step for step in derivation if step.check.verdict == "failed"]
    assert {step.op_name for step in failed} == {op.__name__}
    check = failed[0].check
    assert check.input == input_name
    assert check.value != pytest.approx(check.expected, rel=1e-4)
    with pytest.raises(GradientError, match=f"verify: step .*{op.__name__} at .*: the gradient of"):
        derivation.verify(raise_exception=True)


def test_the_entry_of_a_wrong_formula_is_found_in_a_large_array(monkeypatch):
    original = Sin.backward

    def one_wrong(self, dy):
        factor = np.ones(dy.shape)
        factor[17, 3] = 1.5
        return original(self, dy) * Tensor._wrap(factor.astype(dy.dtype))

    monkeypatch.setattr(Sin, "backward", one_wrong)
    step = nnmed.explain(nnmed.sin(leaf(300, 300)).sum()).verify()[1]
    assert (step.check.verdict, step.check.entry) == ("failed", (17, 3))
    assert step.check.value == pytest.approx(1.5 * step.check.expected, rel=1e-4)


def test_the_entry_that_backward_got_wrong_is_named_with_its_numbers(monkeypatch):
    op, method, mutant = changed(
        MaxPool2d,
        "fused_backward",
        first(lambda dx: dx + (np.arange(dx.size) == 777).reshape(dx.shape)),
    )
    x = leaf(1, 2, 32, 32)
    expected = nnmed.explain((F.max_pool2d(x, 2) ** 2).sum()).leaves[0].gradient[0, 0, 24, 9]
    monkeypatch.setattr(op, method, mutant)
    check = nnmed.explain((F.max_pool2d(x, 2) ** 2).sum()).verify()[2].check
    assert check.entry == (0, 0, 24, 9)
    assert check.expected == pytest.approx(expected)
    assert check.value == pytest.approx(expected + 1)
    assert "at (0, 0, 24, 9) is" in check.message


def test_kinks_and_ties_are_no_errors():
    x = nnmed.Tensor(np.zeros((50, 50), np.float32), requires_grad=True)
    loss = (F.max_pool2d(F.relu(x.abs()).reshape(1, 1, 50, 50), 2) + x.max()).sum()
    verdicts = {step.check.verdict for step in nnmed.explain(loss).verify()}
    assert verdicts == {"passed"}


def test_what_cannot_be_checked_is_marked():
    x = nnmed.Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    derivation = nnmed.explain((x * 2.0).sum()).verify()
    assert derivation.where("Mul")[0].check.verdict == "skipped"
    assert "no entries" in derivation.where("Mul")[0].check.message


def test_sums_that_cancel_are_judged_by_their_terms():
    nnmed.seed(0)
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((8, 1, 16, 16)).astype(np.float32))
    y = F.conv2d(x, leaf(4, 1, 3, 3), leaf(4))  # the gradient of this bias is 0 but for rounding
    loss = (F.batch_norm(y, None, None, training=True) ** 3).sum()
    derivation = nnmed.explain(loss).verify()
    assert {step.check.verdict for step in derivation} == {"passed"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_products_in_half_precision_pass(dtype):
    with nnmed.autocast(dtype):
        y = F.conv2d(leaf(2, 3, 8, 8), leaf(4, 3, 3, 3)).flatten(1) @ leaf(144, 5)
    assert {step.check.verdict for step in nnmed.explain((y**2).sum()).verify()} == {"passed"}
