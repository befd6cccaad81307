"""detect_anomaly names the op, its formula, the shapes and the user's line."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import AnomalyError


def test_forward_names_op_formula_shapes_and_line():
    x = Tensor([[1.0, 0.0]], requires_grad=True)
    with pytest.raises(AnomalyError) as error, nnmed.detect_anomaly():
        (x * 2).log().sum()
    text = str(error.value)
    line = test_forward_names_op_formula_shapes_and_line.__code__.co_firstlineno + 3
    assert f"Log gave -inf at (0, 1) (1 of 2 values are not finite) at {__file__}:{line}" in text
    assert "all its inputs are finite" in text
    assert "y = log(x)" in text
    assert "(1, 2) -> (1, 2)" in text


def test_backward_names_the_line_of_the_forward():
    x = Tensor([0.0, 1.0], requires_grad=True)
    y = x.sqrt().sum()  # finite, with an infinite slope at 0
    line = test_backward_names_the_line_of_the_forward.__code__.co_firstlineno + 2
    with (
        np.errstate(divide="ignore"),
        pytest.raises(AnomalyError) as error,
        nnmed.detect_anomaly(),
    ):
        y.backward()
    text = str(error.value)
    assert "the gradient of Sqrt by input 0 has inf at (0,)" in text
    assert f"the op ran at {__file__}:{line}" in text
    assert "y = sqrt(x)" in text


def test_nothing_is_watched_outside_the_block():
    with nnmed.detect_anomaly():
        pass
    Tensor([0.0]).log()


def test_finite_numbers_pass():
    x = Tensor([2.0], requires_grad=True)
    with nnmed.detect_anomaly():
        (x.log() * 3).sum().backward()
    assert x.grad.item() == 1.5
