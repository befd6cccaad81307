"""Pooling of signals and volumes, unpooling and power averages."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.errors import DTypeError, OutOfRangeError, ShapeError, UsageError
from tests.op_case import OpCase, op_tests, tie_free

SIGNAL = dict(input=tie_free(2, 3, 11))
VOLUME = dict(input=tie_free(2, 2, 5, 6, 5))


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def places(*shape, below):
    """Return distinct positions in each plane, and every plane its own."""

    def values(rng):
        count = math.prod(shape[2:])
        rows = [rng.permutation(below)[:count] for _ in range(math.prod(shape[:2]))]
        return np.array(rows).reshape(shape)

    return values


CASES = [
    OpCase(F.max_pool1d, SIGNAL, dict(kernel_size=3, stride=2, padding=1)),
    OpCase(F.max_pool1d, SIGNAL, dict(kernel_size=2, dilation=3, stride=1, ceil_mode=True)),
    OpCase(F.max_pool1d, dict(input=tie_free(3, 8)), dict(kernel_size=2), label="unbatched"),
    OpCase(F.max_pool3d, VOLUME, dict(kernel_size=2)),
    OpCase(F.max_pool3d, VOLUME, dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    OpCase(
        F.max_pool3d,
        VOLUME,
        dict(kernel_size=(2, 3, 1), stride=(1, 2, 2), padding=(1, 0, 0), dilation=(2, 1, 1)),
    ),
    OpCase(F.max_pool3d, dict(input=tie_free(2, 4, 4, 4)), dict(kernel_size=2), label="unbatched"),
    OpCase(F.avg_pool1d, SIGNAL, dict(kernel_size=3, stride=2, padding=1)),
    OpCase(
        F.avg_pool1d,
        SIGNAL,
        dict(kernel_size=4, padding=2, ceil_mode=True, count_include_pad=False),
    ),
    OpCase(F.avg_pool3d, VOLUME, dict(kernel_size=2)),
    OpCase(F.avg_pool3d, VOLUME, dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
    OpCase(
        F.avg_pool3d,
        VOLUME,
        dict(kernel_size=(2, 3, 2), padding=1, ceil_mode=True, count_include_pad=False),
    ),
    OpCase(F.avg_pool3d, VOLUME, dict(kernel_size=3, padding=1, divisor_override=5)),
    *(
        OpCase(function, inputs, dict(output_size=size))
        for functions, inputs, sizes in (
            ((F.adaptive_avg_pool1d, F.adaptive_max_pool1d), SIGNAL, (1, 4)),
            ((F.adaptive_avg_pool3d, F.adaptive_max_pool3d), VOLUME, (1, (2, 4, 5), (5, None, 3))),
        )
        for function in functions
        for size in sizes
    ),
    OpCase(
        F.max_unpool1d,
        dict(input=(2, 3, 4), indices=places(2, 3, 4, below=8)),
        dict(kernel_size=2),
    ),
    OpCase(
        F.max_unpool2d,
        dict(input=(2, 3, 2, 4), indices=places(2, 3, 2, 4, below=45)),
        dict(kernel_size=2, output_size=(5, 9)),
    ),
    OpCase(
        F.max_unpool2d,
        dict(input=(3, 2, 3), indices=places(1, 3, 2, 3, below=15)),
        dict(kernel_size=3, stride=2, padding=1),
        label="unbatched",
        oracle=False,
    ),
    OpCase(
        F.max_unpool3d,
        dict(input=(2, 2, 2, 2, 3), indices=places(2, 2, 2, 2, 3, below=96)),
        dict(kernel_size=2),
    ),
    *(
        OpCase(function, dict(input=positive(*shape)), arguments)
        for function, shape in (
            (F.lp_pool1d, (2, 3, 9)),
            (F.lp_pool2d, (2, 3, 5, 6)),
            (F.lp_pool3d, (1, 2, 4, 5, 4)),
        )
        for arguments in (
            dict(norm_type=2, kernel_size=2),
            dict(norm_type=1.5, kernel_size=3, stride=2, ceil_mode=True),
        )
    ),
    OpCase(F.lp_pool2d, dict(input=tie_free(2, 5, 6)), dict(norm_type=math.inf, kernel_size=2)),
    OpCase(F.lp_pool2d, dict(input=tie_free(2, 5, 6)), dict(norm_type=-math.inf, kernel_size=2)),
]
for case in CASES:
    if case.label == "unbatched" and "indices" in case.inputs:
        case.inputs["indices"] = lambda rng, draw=case.inputs["indices"]: draw(rng)[0]

TestPoolingAxes = op_tests(CASES, family="pooling")


@pytest.mark.oracle
@pytest.mark.parametrize("special", [None, np.nan, -np.inf])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("max_pool1d", dict(kernel_size=3, stride=2, padding=1)),
        ("max_pool3d", dict(kernel_size=2)),
        ("max_pool3d", dict(kernel_size=3, stride=2, padding=1, ceil_mode=True)),
        ("max_pool3d", dict(kernel_size=2, stride=1, padding=1, dilation=2)),
        ("adaptive_max_pool1d", dict(output_size=3)),
        ("adaptive_max_pool3d", dict(output_size=(2, 3, 4))),
    ],
)
def test_values_indices_and_gradient_with_ties_as_in_pytorch(name, arguments, special, torch):
    rng = np.random.default_rng(3)
    shape = (2, 5, 13) if name.endswith("1d") else (2, 3, 5, 7, 6)
    x = rng.integers(-2, 3, shape).astype(np.float32)
    if special is not None:
        x[rng.random(x.shape) < 0.3] = special
    expected_input = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, name)
    expected, expected_indices = function(expected_input, **arguments, return_indices=True)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    expected.backward(torch.tensor(dy))
    tensor = nnmed.Tensor(x, requires_grad=True)
    y, indices = getattr(F, name)(tensor, **arguments, return_indices=True)
    y.backward(dy)
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(indices.numpy(), expected_indices.numpy())
    np.testing.assert_allclose(tensor.grad.numpy(), expected_input.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unpooling_undoes_pooling(dims):
    x = np.random.default_rng(1).permutation(2 * 3 * 5**dims).reshape(2, 3, *(5,) * dims)
    x = nnmed.Tensor(x.astype(np.float32) + 1)
    pool, unpool = (getattr(F, f"{name}{dims}d") for name in ("max_pool", "max_unpool"))
    y, indices = pool(x, 3, 2, 1, return_indices=True)
    back = unpool(y, indices, 3, 2, 1, output_size=x.shape)
    kept = np.isin(x.numpy(), y.numpy())
    np.testing.assert_array_equal(back.numpy(), np.where(kept, x.numpy(), 0))


@pytest.mark.oracle
@pytest.mark.parametrize("p", [1, 2, 3, -1, -2.0, math.inf])
def test_power_average_of_zeros_as_in_pytorch(p, torch):
    x = np.zeros((1, 1, 2, 6), np.float64)
    x[..., 2:4] = [[1, 2], [0.5, 3]]
    x[..., 4:] = [[-1, 1], [2, -2]]
    expected_input = torch.tensor(x, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.nn.functional.lp_pool2d(expected_input, p, 2)
    expected.backward(torch.ones_like(expected))
    tensor = nnmed.Tensor(x, requires_grad=True)
    y = F.lp_pool2d(tensor, p, 2)
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy())
    np.testing.assert_allclose(tensor.grad.numpy(), expected_input.grad.numpy())


@pytest.mark.parametrize("pool", ["max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"])
@pytest.mark.parametrize("dims", [1, 3])
def test_empty_batch_and_layout(pool, dims):
    function = getattr(F, f"{pool}{dims}d")
    empty = nnmed.Tensor(np.zeros((0, 3, *(4,) * dims), np.float32), requires_grad=True)
    function(empty, 2).sum().backward()
    assert empty.grad.shape == empty.shape
    x = nnmed.Tensor(np.zeros((2, 3, *(4,) * dims), np.float32), requires_grad=True)
    y = function(x, 2)
    assert y.shape == (2, 3, *(2,) * dims)
    assert nnmed.backend.arrays.is_channels_last(y._array)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: F.max_pool3d(x, 6), ShapeError, "max_pool3d.*does not fit"),
        (lambda x: F.max_pool1d(x, 2), ShapeError, "max_pool1d: input must be"),
        (lambda x: F.avg_pool3d(x, (2, 2)), UsageError, "3 integers"),
        (lambda x: F.lp_pool3d(x, 0, 2), UsageError, "lp_pool3d: norm_type must not be 0"),
        (lambda x: F.lp_pool3d(x, [2], 2), UsageError, "norm_type must be a number"),
        (lambda x: F.avg_pool3d(x, 2, padding=2), UsageError, "at most half"),
        (lambda x: F.avg_pool3d(x, 2, divisor_override=0), UsageError, "divisor_override"),
        (lambda x: F.avg_pool3d(x, 2, divisor_override="2"), UsageError, "must be a number"),
        (lambda x: F.adaptive_max_pool3d(x, (1, 2)), UsageError, "output_size"),
        (lambda x: F.max_unpool3d(x, x.long()[:, :1], 2), ShapeError, "shaped like"),
        (lambda x: F.max_unpool3d(x, x, 2), DTypeError, "integers"),
        (lambda x: F.max_unpool3d(x, x.long() - 1, 2), OutOfRangeError, "-1"),
        (lambda x: F.max_unpool3d(x, x.long(), 2, output_size=(8, 8)), UsageError, "3 or 5"),
        (lambda x: F.max_unpool3d(x, x.long(), 2, output_size=(8, 8, 6)), ShapeError, "stride"),
        (lambda x: F.max_unpool3d(x, x.long(), 1, padding=3), ShapeError, "would have size"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((1, 2, 4, 4, 4), np.float32)))
