"""The two slopes of the V-curve, and where they meet."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import ShapeError, UsageError
from nnmed.explain import v_curve


def smooth(x):
    return (nnmed.exp(x) * nnmed.sin(x)).sum()


@pytest.fixture(scope="module")
def curve():
    return v_curve(smooth, nnmed.Tensor([0.3, 0.7, 1.1]))


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float64", 1e-3, 1e-1), ("float32", 0.05, 0.3)]
)
def test_truncation_has_slope_two(curve, dtype, low, high):
    right = (curve.steps >= low) & (curve.steps <= high)
    slope = np.polyfit(np.log(curve.steps[right]), np.log(curve.errors[dtype][right]), 1)[0]
    assert slope == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float64", 1e-12, 1e-7), ("float32", 1e-6, 1e-3)]
)
def test_rounding_has_slope_minus_one(curve, dtype, low, high):
    left = (curve.steps >= low) & (curve.steps <= high) & (curve.errors[dtype] > 0)
    slope = np.polyfit(np.log(curve.steps[left]), np.log(curve.errors[dtype][left]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.35)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_near_the_cube_root_of_epsilon_the_error_is_small(curve, dtype):
    eps = np.finfo(dtype).eps
    near = np.argmin(np.abs(np.log(curve.steps) - np.log(eps) / 3))
    assert curve.errors[dtype][near] < 30 * eps ** (2 / 3)
    assert curve.best(dtype)[1] <= curve.errors[dtype][near]


def test_a_wrong_gradient_never_comes_down(monkeypatch):
    from nnmed.ops.elementwise import Exp

    monkeypatch.setattr(Exp, "backward", lambda self, dy: dy * self.output * 1.01)
    monkeypatch.setattr(Exp, "fused_backward", Exp.backward)
    curve = v_curve(lambda x: nnmed.exp(x).sum(), nnmed.Tensor([0.3, 0.7]))
    small = curve.steps < 0.01  # larger steps may be wrong by just as much
    assert curve.errors["float64"][small].min() > 9e-3


def test_integers_stay():
    def loss(scores, labels):
        return nnmed.functional.cross_entropy(scores, labels)

    curve = v_curve(loss, [nnmed.Tensor([[0.1, 0.9]]), nnmed.Tensor([1])])
    assert curve.best("float64")[1] < 1e-8


def test_plot(curve, tmp_path):
    assert curve.plot(tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")


def test_bad_use():
    with pytest.raises(ShapeError, match=r"scalar, it returned \(2,\)"):
        v_curve(lambda x: x * 1, nnmed.Tensor([1.0, 2.0]))
    with pytest.raises(UsageError, match="nothing to move"):
        v_curve(lambda x: x, nnmed.Tensor([1, 2]))
    with pytest.raises(UsageError, match="the derivative is 0"):
        v_curve(lambda x: (x * 0).sum(), nnmed.Tensor([1.0, 2.0]))


def test_the_best_step_is_one_inside_the_functions_domain():
    import nnmed
    from nnmed.explain import v_curve

    point = nnmed.Tensor(np.array([0.05, 0.1]))
    size, error = v_curve(lambda x: nnmed.log(x).sum(), point).best()
    assert size < 0.05
    assert error < 1e-8
