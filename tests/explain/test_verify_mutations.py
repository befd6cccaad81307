"""verify() finds errors that are put into the backward of ops, and names the entry."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.autograd import Op, Tensor
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


def moved(gradient):
    """Return a gradient that is off by one."""
    return np.roll(gradient, 1, -1)


def times_101(gradient):
    return gradient * 1.01


def one_more(gradient):
    """Return a gradient with an error of 1 in one entry."""
    gradient = gradient.copy()
    gradient[0, 0, 24, 9] += 1
    return gradient


def not_transposed(self, dy):
    a, b = self.inputs
    return dy @ b, a.transpose(0, 1) @ dy


def along_columns(self, dy):
    y = self.output
    return y * (dy - (dy * y).sum(0, keepdim=True))


def along_columns_fused(self, dy):
    y = self.output._array
    return y * (dy - (dy * y).sum(0, keepdims=True))


def permuted_again(self, dy):
    return dy.transpose(self.dims)


def without_a_term(self, dy):
    x, weight, _ = self.inputs
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    inverse = (var + self.eps) ** -0.5
    g = dy * weight.reshape(1, -1, 1, 1)
    dx = inverse * (g - g.mean((0, 2, 3), keepdim=True))
    return dx, (dy * (x - mean) * inverse).sum((0, 2, 3)), dy.sum((0, 2, 3))


def stale(self, dy):
    return dy * nnmed.exp(Tensor._wrap(np.full(self.input_shapes[0], 0.7, np.float32)))


def forgetful(self, dy):
    x, target = (tensor._array for tensor in self.inputs)
    return self.evaluate(x, target, True)[1]


def batch_norm(x):
    return (F.batch_norm(x, None, None, leaf(3), leaf(3), training=True) ** 3).sum()


LOSSES = {
    "sin": lambda: nnmed.sin(leaf(4)).sum(),
    "log": lambda: nnmed.log(leaf(4)).sum(),
    "large log": lambda: nnmed.log(leaf(200, 200)).sum(),
    "exp": lambda: nnmed.exp(leaf(4)).sum(),
    "cube": lambda: (leaf(4) ** 3).sum(),
    "difference": lambda: (leaf(4) - leaf(4)).sum(),
    "matrices": lambda: ((leaf(3, 3) @ leaf(3, 3)) ** 2).sum(),
    "linear": lambda: (F.linear(leaf(5, 4), leaf(3, 4), leaf(3)) ** 2).sum(),
    "softmax": lambda: (F.softmax(leaf(3, 3), 1) ** 2).sum(),
    "permuted": lambda: (leaf(3, 3, 3).permute(1, 2, 0) ** 2).sum(),
    "batch norm": lambda: batch_norm(leaf(2, 3, 4, 4)),
    "large batch norm": lambda: batch_norm(leaf(4, 3, 32, 32)),
    "layer norm": lambda: (F.layer_norm(leaf(5, 8), (8,), leaf(8), leaf(8)) ** 2).sum(),
    "mean": lambda: leaf(3, 4).mean(),
    "broadcast": lambda: (leaf(4, 3) * leaf(3)).sum(),
    "average": lambda: (F.avg_pool2d(leaf(1, 2, 6, 6), 2) ** 2).sum(),
    "maximum": lambda: (F.max_pool2d(leaf(1, 2, 32, 32), 2) ** 2).sum(),
    "conv": lambda: (F.conv2d(leaf(2, 3, 24, 24), leaf(4, 3, 3, 3), padding=1) ** 2).sum(),
    "cross-entropy": lambda: F.cross_entropy(leaf(3, 3), nnmed.Tensor([0, 1, 2])) * 3.0,
}
# The loss; op, method and what stands in its place; the input whose gradient is wrong.
MUTATIONS = {
    "sign": ("sin", changed(Sin, "backward", lambda dx: -dx), "x"),
    "factor": ("cube", changed(PowScalar, "backward", lambda dx: dx / 3.0), "x"),
    "small factor": ("large log", changed(Log, "backward", lambda dx: dx * 1.001), "x"),
    "no inner derivative": ("log", (Log, "backward", lambda self, dy: dy), "x"),
    "swapped": ("difference", changed(Sub, "backward", lambda g: g[::-1]), "a"),
    "not transposed": ("matrices", (MatMul, "backward", not_transposed), "a"),
    "axis, recorded": ("softmax", (Softmax, "backward", along_columns), "x"),
    "axis, fused": ("softmax", (Softmax, "fused_backward", along_columns_fused), "x"),
    "order not undone": ("permuted", (Permute, "fused_backward", permuted_again), "x"),
    "missing term": ("batch norm", (BatchNorm, "backward", without_a_term), "x"),
    "missing term, large": ("large batch norm", (BatchNorm, "backward", without_a_term), "x"),
    "sum for mean": ("mean", changed(Mean, "backward", lambda dx: dx * 12.0), "x"),
    "mean for sum": ("broadcast", changed(BroadcastTo, "fused_backward", lambda dx: dx / 4), "x"),
    "window": ("average", changed(AvgPool2d, "fused_backward", first(moved)), "x"),
    "border": ("conv", changed(Conv, "fused_backward", first(without_border)), "x"),
    "bias": ("linear", changed(Linear, "fused_backward", lambda g: (*g[:2], g[2] / 5)), "bias"),
    "stale array": ("exp", (Exp, "backward", stale), "x"),
    "fused alone": ("layer norm", changed(LayerNorm, "fused_backward", first(times_101)), "x"),
    "recorded alone": ("layer norm", changed(LayerNorm, "backward", first(times_101)), "x"),
    "one entry": ("maximum", changed(MaxPool2d, "fused_backward", first(one_more)), "x"),
    "dy forgotten": ("cross-entropy", (CrossEntropy, "input_gradient", forgetful), "input"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_error_in_a_backward_is_found(name, monkeypatch):
    loss_name, (op, method, mutant), input_name = MUTATIONS[name]
    loss = LOSSES[loss_name]()
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
    op, method, mutant = changed(MaxPool2d, "fused_backward", first(one_more))
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

    class Wall(nnmed.Op):
        def forward(self, x):
            return x + 1

        def backward(self, dy):
            return None

    x = leaf(3)
    derivation = nnmed.explain((Wall()(x) + x).sum()).verify()
    assert derivation.where("Wall")[0].check.message == "no gradient goes on from here"


def test_a_gradient_that_a_hook_may_change_is_not_judged():
    net = nn.ReLU()
    net.register_full_backward_hook(lambda module, dx, dy: (dx[0] * 2.0,))
    derivation = nnmed.explain(net(leaf(3)).sum()).verify()
    assert [step.check.verdict for step in derivation] == [
        "passed", "skipped", "passed", "skipped",
    ]  # fmt: skip


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


class ForgetsOne(Op):
    """y = a b,   da = dy b"""

    forward_latex = "y = a b"

    def forward(self, a, b):
        self.keep(inputs=(0, 1))
        return a * b

    def backward(self, dy):
        return dy * self.inputs[1], None


def test_an_input_that_backward_forgets_is_named():
    a, b = (nnmed.Tensor(np.array(v, np.float32), requires_grad=True) for v in ([1, 2], [3, 4]))
    derivation = nnmed.explain((ForgetsOne()(a, b * 2) + b).sum()).verify()
    (check,) = [step.check for step in derivation.where("ForgetsOne")]
    assert (check.verdict, check.input) == ("failed", "b")
    assert derivation.where("Add")[0].check.verdict == "passed"


class FusedOnly(Op):
    """y = 2 a,   da = 2 dy"""

    def forward(self, a):
        return a * 2

    def fused_backward(self, dy):
        return (dy * 2,)


class Draws(Op):
    """Another y each time, without a key."""

    def forward(self, a):
        return a * np.random.default_rng().standard_normal(a.shape).astype(a.dtype)

    def backward(self, dy):
        return dy


@pytest.mark.parametrize(
    ("op", "words"), [(FusedOnly, "cannot be recorded"), (Draws, "does not do the same")]
)
def test_what_cannot_be_checked_says_why_and_can_be_shown(op, words):
    a = nnmed.Tensor(np.ones(50, np.float32), requires_grad=True)
    derivation = nnmed.explain(op()(a).sum()).verify()
    check = derivation.where(op.__name__)[0].check
    assert check.verdict == "skipped"
    assert words in check.message
    assert op.__name__ in derivation.to_html()  # though it has no formula


@pytest.mark.parametrize("seed", range(8))
def test_digits_that_cancel_in_float32_are_no_error(seed):
    x = np.random.default_rng(seed).standard_normal((4, 64)).astype(np.float32) + 3000
    w = np.random.default_rng(seed).standard_normal((4, 64)).astype(np.float32)
    x = nnmed.Tensor(x, requires_grad=True)
    loss = (F.layer_norm(x, (64,)) * nnmed.Tensor(w)).sum()
    assert {step.check.verdict for step in nnmed.explain(loss).verify()} == {"passed"}


def test_gradients_that_are_infinite_blame_nobody():
    x = nnmed.Tensor([-120.0, 1.0, 120.0], requires_grad=True)
    loss = F.binary_cross_entropy(F.sigmoid(x), nnmed.Tensor([1.0, 1.0, 0.0]))
    assert "failed" not in {step.check.verdict for step in nnmed.explain(loss).verify()}


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_gradients_that_are_not_finite_are_named(factor, monkeypatch):
    backward = Sin.backward
    monkeypatch.setattr(Sin, "backward", lambda op, dy: backward(op, dy) * factor)
    x = nnmed.Tensor([0.1, 0.2, 0.3], requires_grad=True)
    with pytest.raises(GradientError, match="Sin"):
        nnmed.explain(nnmed.sin(x).sum()).verify(raise_exception=True)


def test_a_wrong_sum_of_paths_is_named(monkeypatch):
    from nnmed.autograd import engine

    monkeypatch.setattr(engine, "_sum", lambda before, gradient: gradient)
    x = nnmed.Tensor(2.0, requires_grad=True)
    inner = x * 1.5
    derivation = nnmed.explain(inner * 3 + nnmed.sin(inner))
    with pytest.raises(GradientError, match=r"the gradient of inner .* the sum of what 2 steps"):
        derivation.verify(raise_exception=True)
    derivation = nnmed.explain(x * 3 + nnmed.sin(x)).verify()
    (leaf,) = derivation.leaves
    assert leaf.check.verdict == "failed"
