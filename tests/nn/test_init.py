"""Initialisation: the right distribution, from reproducible draws, in place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnmed.autograd.tensor import Tensor
from nnmed.backend import random
from nnmed.errors import ShapeError, UsageError
from nnmed.nn import Parameter, init

SHAPE = (40, 30, 5, 5)
FAN_IN, FAN_OUT = 30 * 25, 40 * 25

# name: (function, half width of an even distribution or None, standard deviation)
DRAWS = {
    "uniform": (lambda t: init.uniform_(t, -2, 2), 2, 2 / math.sqrt(3)),
    "normal": (lambda t: init.normal_(t, 0, 3), None, 3),
    "xavier uniform": (init.xavier_uniform_, math.sqrt(6 / (FAN_IN + FAN_OUT)), None),
    "xavier normal": (
        lambda t: init.xavier_normal_(t, gain=2),
        None,
        2 * math.sqrt(2 / (FAN_IN + FAN_OUT)),
    ),
    "kaiming uniform": (lambda t: init.kaiming_uniform_(t, a=1), math.sqrt(3 / FAN_IN), None),
    "kaiming normal": (
        lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
        None,
        math.sqrt(2 / FAN_OUT),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", DRAWS)
def test_distribution(name, dtype):
    draw, width, std = DRAWS[name]
    tensor = Parameter(np.zeros(SHAPE, dtype))
    version = tensor._version.count
    assert draw(tensor) is tensor
    values = tensor.numpy()
    assert values.dtype == dtype
    assert tensor.requires_grad
    assert tensor._version.count > version
    std = width / math.sqrt(3) if std is None else std
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 0.02 * std
    if width is not None:
        assert abs(values).max() == pytest.approx(width, rel=1e-3)
        assert abs(values).max() <= width


def test_a_seed_repeats_all_draws():
    def draw():
        random.seed(3)
        return [init.normal_(Tensor(np.zeros(9, np.float32))).numpy() for _ in range(2)]

    first, second = draw(), draw()
    np.testing.assert_array_equal(first, second)
    assert (first[0] != first[1]).all()
    random.seed(4)
    assert (init.normal_(Tensor(np.zeros(9, np.float32))).numpy() != first[0]).all()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (8, 2, 3, 3), (0, 3)])
def test_orthogonal(shape):
    values = init.orthogonal_(Tensor(np.zeros(shape)), gain=2).numpy()
    matrix = values.reshape(shape[0], math.prod(shape[1:]))
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_constants():
    tensor = Tensor(np.zeros((2, 3), np.float32))
    assert (init.constant_(tensor, 0.5).numpy() == 0.5).all()
    assert (init.ones_(tensor).numpy() == 1).all()
    assert (init.zeros_(tensor).numpy() == 0).all()


@pytest.mark.oracle
def test_gains_and_fans_equal_pytorch(torch):
    names = (
        "linear",
        "conv2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "selu",
        "leaky_relu",
    )
    for name in names:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
    expected = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(SHAPE))
    assert init.fans(Tensor(np.zeros(SHAPE))) == expected == (FAN_IN, FAN_OUT)


def test_wrong_arguments():
    vector, matrix = Tensor(np.zeros(3)), Tensor(np.zeros((3, 3)))
    with pytest.raises(UsageError, match="relu"):
        init.calculate_gain("step")
    with pytest.raises(UsageError, match="fan_in"):
        init.kaiming_normal_(matrix, mode="fan")
    for function in (init.kaiming_uniform_, init.xavier_normal_, init.orthogonal_):
        with pytest.raises(ShapeError, match="two dimensions"):
            function(vector)
