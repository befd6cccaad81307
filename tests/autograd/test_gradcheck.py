"""The checker must catch wrong gradients, and name them."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import GradientError


def leaf(*shape):
    return Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def wrong_square(factor, where=None):
    class Square(nnmed.Op):
        """y = x^2, with a wrong dx"""

        def forward(self, x):
            self.keep(inputs=(0,))
            return x * x

        def backward(self, dy):
            scale = np.full(self.input_shapes[0], 2.0)
            if where is None:
                scale *= factor
            else:
                scale[where] *= factor
            return dy * self.inputs[0] * Tensor(scale)

    return lambda x: Square()(x)


def test_right_gradients_pass():
    assert nnmed.gradcheck(lambda x, w: (x @ w).sin(), [leaf(2, 3), leaf(3, 2)])
    assert nnmed.gradgradcheck(lambda x, w: (x @ w).sin(), [leaf(2, 3), leaf(3, 2)])


@pytest.mark.parametrize("factor", [-1, 0, 1.02, 0.98])
def test_a_wrong_factor_is_caught(factor):
    with pytest.raises(GradientError, match="gradcheck"):
        nnmed.gradcheck(wrong_square(factor), leaf(3, 4))
    assert not nnmed.gradcheck(wrong_square(factor), leaf(3, 4), raise_exception=False)


def test_the_worst_entry_is_named():
    with pytest.raises(GradientError, match=r"input 0, element \(1, 2\)"):
        nnmed.gradcheck(wrong_square(1.5, where=(1, 2)), leaf(3, 4))


def test_a_missing_graph_in_backward_is_caught_by_the_second_derivative():
    class Cube(nnmed.Op):
        def forward(self, x):
            self.keep(inputs=(0,))
            return x**3

        def backward(self, dy):
            return dy * (self.inputs[0] ** 2 * 3).detach()

    assert nnmed.gradcheck(lambda x: Cube()(x), leaf(3))
    with pytest.raises(GradientError, match="gradcheck"):
        nnmed.gradgradcheck(lambda x: Cube()(x), leaf(3))


def test_a_kink_is_warned_about():
    zero = Tensor(np.zeros(3), requires_grad=True)
    with pytest.warns(UserWarning, match="kink"):
        nnmed.gradcheck(lambda x: x.abs(), zero, raise_exception=False)


def test_float32_is_refused():
    with pytest.raises(GradientError, match="float64"):
        nnmed.gradcheck(lambda x: x * 2, Tensor([1.0], requires_grad=True))


def test_a_constant_function_passes():
    assert nnmed.gradcheck(lambda x: Tensor(np.ones(2)), leaf(3))


def test_nan_gradients_fail():
    with pytest.raises(GradientError, match="nan"):
        nnmed.gradcheck(wrong_square(float("nan")), leaf(3))


def test_second_derivatives_beside_a_constant_output():
    def square_and_constant(x):
        return x * x, Tensor(np.ones(2))

    assert nnmed.gradgradcheck(square_and_constant, leaf(3))
    dy = Tensor(np.ones(3), requires_grad=True)
    assert nnmed.gradgradcheck(lambda x: x * x, leaf(3), dy)
