"""Errors of backward that are easily overlooked, and right gradients that look wrong."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.autograd import Op
from nnmed.ops.activation import Tanh
from nnmed.ops.elementwise import Sin
from nnmed.ops.indexing import AddAt
from nnmed.ops.pad import Pad
from nnmed.ops.reduction import Extremum
from nnmed.ops.selection import Clip


def leaf(*shape, scale=1.0, seed=0, dtype=np.float32):
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return nnmed.Tensor(values.astype(dtype), requires_grad=True)


def constant(*shape, seed=1):
    return nnmed.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def weighted_sum(y):
    return (y * constant(*y.shape, seed=2)).sum()


def verdicts(loss):
    return {step.op_name: step.check.verdict for step in nnmed.explain(loss).verify()}


# -- errors --------------------------------------------------------------------------------


def test_an_error_of_float32_alone(monkeypatch):
    right = Sin.backward

    def backward(self, dy):
        return right(self, dy) * (-1.0 if dy.dtype == np.float32 else 1.0)

    monkeypatch.setattr(Sin, "backward", backward)
    monkeypatch.setattr(Sin, "fused_backward", Op.fused_backward)
    assert verdicts(nnmed.sin(leaf(8)).sum())["Sin"] == "failed"


@pytest.mark.parametrize(
    ("op", "change", "loss"),
    [
        (Clip, lambda dy: F.hardtanh(dy), lambda: weighted_sum(leaf(8).clamp(-1, 1)) * 50.0),
        (Tanh, lambda dy: F.hardshrink(dy, 0.1), lambda: F.tanh(leaf(40)).mean()),
    ],
)
def test_what_is_not_linear_in_the_gradient_that_arrives(op, change, loss, monkeypatch):
    right = op.backward
    monkeypatch.setattr(op, "backward", lambda self, dy: right(self, change(dy)))
    monkeypatch.setattr(op, "fused_backward", Op.fused_backward)
    derivation = nnmed.explain(loss()).verify()
    (step,) = derivation[op.__name__]
    assert step.check.verdict == "failed"
    assert "is no linear function of that which arrives" in step.check.message


@pytest.fixture
def straight_through(monkeypatch):
    """A clip that lets every gradient pass."""
    monkeypatch.setattr(Clip, "backward", lambda self, dy: dy * 1.0)
    monkeypatch.setattr(Clip, "fused_backward", Op.fused_backward)


@pytest.mark.parametrize("bounds", [(-1, 1), (0.0, None)])
def test_a_branch_behind_a_constant_that_no_one_kept(bounds, straight_through):
    y = (constant(10, 10) + leaf(10)).clamp(*bounds)
    assert verdicts(weighted_sum(y))["Clip"] == "failed"


@pytest.mark.parametrize(("count", "bound"), [(64, 2.5), (100, 2.5), (256, 2.8)])
def test_a_branch_of_few_numbers_at_the_end_of_the_range(count, bound, straight_through):
    x = leaf(count, seed=3)
    assert 0 < (abs(x.numpy()) > bound).sum() < 5
    assert verdicts(weighted_sum(x.clamp(-bound, bound)))["Clip"] == "failed"


def test_beside_infinite_outputs(monkeypatch):
    def loss():
        padded = F.pad(leaf(1, 1, 4, 4), (1, 1, 1, 1), value=-np.inf)
        return weighted_sum(F.max_pool2d(padded, 3))

    assert set(verdicts(loss()).values()) == {"passed"}
    right = Pad.backward
    monkeypatch.setattr(Pad, "backward", lambda self, dy: right(self, dy) * 2.0)
    assert verdicts(loss())["Pad"] == "failed"


@pytest.mark.parametrize("value", [-1e6, -1e9, float(np.finfo(np.float32).min)])
def test_beside_large_outputs_that_do_not_change(value, monkeypatch):
    def loss():
        padded = F.pad(leaf(1, 1, 4, 4), (1, 1, 1, 1), value=value)
        return weighted_sum(F.max_pool2d(padded, 3))

    assert set(verdicts(loss()).values()) == {"passed"}
    right = Pad.backward
    monkeypatch.setattr(Pad, "backward", lambda self, dy: right(self, dy) * 2.0)
    assert verdicts(loss())["Pad"] == "failed"


def test_ties(monkeypatch):
    def loss():
        return nnmed.Tensor(np.float32([1, 3, 3, 0] * 3), requires_grad=True).max() * 2.0

    assert set(verdicts(loss()).values()) == {"passed"}
    right = Extremum.backward
    monkeypatch.setattr(Extremum, "backward", lambda self, dy: right(self, dy) * 6.0)
    monkeypatch.setattr(Extremum, "fused_backward", Op.fused_backward)
    assert verdicts(loss())["Extremum"] == "failed"


def test_at_a_kink_nothing_is_asked():
    x = nnmed.Tensor(np.float32([0, 0.5, 1, 1]), requires_grad=True)
    assert set(verdicts(weighted_sum(x.clamp(0, 1))).values()) == {"passed"}


class Far(Op):
    """y = x + 1e12"""

    def forward(self, x):
        return x + 1e12

    def backward(self, dy):
        return dy * 2.0


def test_what_rounding_hides_is_not_said_to_pass():
    (step,) = nnmed.explain(Far()(leaf(3, dtype=np.float64)).sum()).verify()["Far"]
    assert step.check.verdict == "skipped"
    assert "rounding hides" in step.check.message


@pytest.mark.parametrize(("count", "zeros"), [(1000, 1), (50_000, 50)])
def test_few_entries_that_are_small(count, zeros):
    class Linear(Op):
        """y = 3 x"""

        def forward(self, x):
            self.small = abs(x) < 0.15
            return 3 * x

        def backward(self, dy):
            return dy * (3.0 + 0.03 * nnmed.Tensor(self.small.astype(dy.dtype)))

    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        x = rng.uniform(0.2, 1, count).astype(np.float32)
        x[rng.choice(count, zeros, replace=False)] = 0
        tensor = nnmed.Tensor(x, requires_grad=True)
        found.append(verdicts(weighted_sum(Linear()(tensor)))["Linear"])
    assert found.count("failed") >= 6


def test_an_order_of_memory_is_kept(monkeypatch):
    def loss():
        y = F.conv2d(constant(2, 3, 6, 6), leaf(4, 3, 3, 3), padding=1)
        return weighted_sum(y[:, :, 1:, ::2])

    assert set(verdicts(loss()).values()) == {"passed"}
    right = AddAt.forward
    monkeypatch.setattr(
        AddAt, "forward", lambda self, x: right(self, x) * (2 if self.channels_last else 1)
    )
    assert verdicts(loss())["GetItem"] == "failed"


class Square(Op):
    """y = x^2,   dx = dy 2 x"""

    def forward(self, x):
        self.keep(inputs=(0,))
        return x * x

    def backward(self, dy):
        return dy * 2.0 * self.inputs[0]


def test_a_gradient_that_is_forgotten_in_the_fused_backward():
    class Forgetful(Square):
        def fused_backward(self, dy):
            return (None,)

    loss = Forgetful()(leaf(3)).sum() + nnmed.sin(leaf(3)).sum()
    assert verdicts(loss)["Forgetful"] == "failed"


def test_gradients_of_two_shapes():
    class Crooked(Square):
        def backward(self, dy):
            return super().backward(dy).T

        def fused_backward(self, dy):
            return (2 * dy * self.inputs[0].numpy(),)

    (step,) = nnmed.explain(Crooked()(leaf(2, 3)).sum()).verify()["Crooked"]
    assert step.check.verdict == "failed"
    assert "has the shapes (2, 3) and (3, 2)" in step.check.message


# -- right gradients -----------------------------------------------------------------------


class Masked(Op):
    """y = m x: the mask is a float, which backward finds only while it is not recorded."""

    def forward(self, x):
        self.keep(mask=(x > 0).astype(x.dtype))
        return x * self.kept["mask"] if self.kept else x

    def backward(self, dy):
        return dy * nnmed.Tensor(self.kept["mask"])


class Float32Alone(Square):
    """y = x^2, in float32 alone"""

    def forward(self, x):
        if x.dtype != np.float32:
            raise TypeError("float32 alone")
        return super().forward(x)


@pytest.mark.parametrize(("op", "why"), [(Masked, "KeyError: 'mask'"), (Float32Alone, "alone")])
def test_an_op_of_ones_own_that_does_not_run_in_float64_is_not_checked(op, why):
    step = nnmed.explain(op()(leaf(4)).sum()).verify()[1]
    assert step.check.verdict == "skipped"
    assert why in step.check.message


INF, NAN = np.inf, np.nan
CALM = {
    "layer norm": lambda x: F.layer_norm(x(2, 3), (3,)).sum(),
    "batch norm": lambda x: F.batch_norm(x(3, 2), None, None, training=True).sum(),
    "instance norm": lambda x: F.instance_norm(x(1, 2, 3)).sum(),
    "root mean square": lambda x: F.rms_norm(x(2, 3), (3,)).sum(),
    "log softmax of one": lambda x: F.log_softmax(x(1), 0).sum(),
    "variance": lambda x: x(5).var(),
    "a narrow batch": lambda x: F.batch_norm(x(8, 4) * 1e-3 + 1e3, None, None, training=True).sum(),
    "small tanhshrink": lambda x: F.tanhshrink(x(8) * 1e-4).sum(),
    "zero tanhshrink": lambda x: F.tanhshrink(x(8) * 0.0).sum(),
    "far gelu": lambda x: F.gelu(x(40) - 30.0).sum(),
    "saturated softmax": lambda x: F.softmax(x(3) * 1e3, 0)[0],
    "saturated classes": lambda x: F.cross_entropy(x(2, 3) * 1e3, nnmed.Tensor([1, 0])),
    "saturated sigmoid": lambda x: F.logsigmoid(x(4) * 1e4).sum(),
    "infinite weight": lambda x: F.conv2d(
        x(1, 1, 1, 2), x(1, 1, 1, 2).detach() * INF, padding=(0, 1)
    ).sum(),
    **{
        f"{name} of NaN": lambda x, f=name: getattr(F, f)(x(3) * nnmed.Tensor([NAN, 1, 1])).sum()
        for name in ("relu", "leaky_relu", "hardtanh", "hardshrink", "softshrink", "mish", "gelu")
    },
    "largest of NaN": lambda x: (x(3) * nnmed.Tensor([NAN, 1, 1])).max(),
    "infinite mish": lambda x: F.mish(x(2) * x(2).detach() * INF).sum(),
    "infinite gelu": lambda x: F.gelu(abs(x(2)) * INF, approximate="tanh").sum(),
    "at the bound": lambda x: (x(3) * 0.0 + 0.1).clamp(max=0.1).sum(),
    "at the threshold": lambda x: F.threshold(x(3) * 0.0 + 0.1, 0.1, 2.0).sum(),
    "a power of nothing": lambda x: ((x(3) * 0.0) ** nnmed.Tensor([0.0, 1.0, 2.0])).sum(),
    "sure classes": lambda x: F.cross_entropy(
        x(8, 3) * 0.1 + nnmed.Tensor([12.0, 0.0, 0.0]), nnmed.Tensor([0] * 8)
    ),
    "a sure softmax": lambda x: F.log_softmax(x(1, 2) + nnmed.Tensor([12.0, 0.0]), 1)[0, 0],
    "far to the left of gelu": lambda x: F.gelu(x(8) - 8.0).sum(),
    "short rows far from 0": lambda x: weighted_sum(F.layer_norm(x(2, 3) * 0.1 + 100.0, (3,))),
    "beyond float32": lambda x: (1.0 / (x(3) * 1e-25)).sum(),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CALM)
def test_no_alarm(name, dtype):
    def x(*shape):
        return leaf(*shape, dtype=dtype)

    with np.errstate(all="ignore"):
        derivation = nnmed.explain(CALM[name](x)).verify()
    for step in derivation:
        assert step.false_formulas == step.unread_formulas == []
        assert step.check.verdict != "failed", step.check.message
