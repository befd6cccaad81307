"""Arithmetic, reductions, shapes, indexing and products."""

from __future__ import annotations

import numpy as np

from nnmed.ops import elementwise as e
from nnmed.ops import linalg, reduction, selection, shape
from nnmed.ops.indexing import getitem
from tests.op_case import OpCase, op_tests, tie_free


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def torch_binary(sign):
    def oracle(torch, inputs, kwargs):
        return getattr(torch, sign)(*inputs.values())

    return oracle


def variadic(function, argument):
    """Return `function` with its trailing lengths or dims given as one keyword."""

    def call(x, **kwargs):
        return function(x, kwargs[argument])

    call.__name__ = function.__name__
    return call


def torch_getitem(torch, inputs, kwargs):
    index = kwargs["index"]
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(torch.tensor(p) if isinstance(p, np.ndarray) else p for p in parts)
    return inputs["x"][parts]


AB = dict(a=(3, 1, 4), b=(2, 4))
X = dict(x=(2, 3, 4))
DISTINCT = dict(x=tie_free(3, 4, 5))
TIED = dict(x=lambda rng: np.array([[1.0, 3, 3], [2, 0, 2]]))

ARITHMETIC = [
    *(OpCase(f, AB, oracle=torch_binary(f.__name__)) for f in (e.add, e.sub, e.mul)),
    OpCase(e.add, dict(a=(2, 3), b=()), oracle=torch_binary("add")),
    OpCase(e.mul, dict(a=(), b=(2, 3)), oracle=torch_binary("mul")),
    OpCase(e.div, dict(a=(3, 1, 4), b=positive(2, 4)), oracle=torch_binary("div")),
    OpCase(e.pow, dict(a=positive(3, 4), b=(4,)), oracle=torch_binary("pow")),
    *(
        OpCase(e.pow, dict(a=positive(3, 4)), dict(b=p), oracle=lambda t, i, k: i["a"] ** k["b"])
        for p in (2, 3, 1, 0, 0.5, -1, -2.5)
    ),
    OpCase(e.neg, X, oracle=lambda t, i, k: -i["x"]),
    OpCase(e.exp, X, oracle=lambda t, i, k: i["x"].exp()),
    OpCase(e.log, dict(x=positive(2, 3)), oracle=lambda t, i, k: i["x"].log()),
    OpCase(e.sqrt, dict(x=positive(2, 3)), oracle=lambda t, i, k: i["x"].sqrt()),
    OpCase(e.sin, X, oracle=lambda t, i, k: i["x"].sin()),
    OpCase(e.cos, X, oracle=lambda t, i, k: i["x"].cos()),
    OpCase(e.abs, DISTINCT, oracle=lambda t, i, k: i["x"].abs()),
    OpCase(e.clone, X, oracle=lambda t, i, k: i["x"].clone()),
    OpCase(selection.maximum, dict(a=tie_free(3, 4), b=(4,)), oracle=torch_binary("maximum")),
    OpCase(selection.minimum, dict(a=tie_free(3, 4), b=(4,)), oracle=torch_binary("minimum")),
    *(
        OpCase(selection.clip, DISTINCT, limits, oracle=lambda t, i, k: t.clamp(i["x"], **k))
        for limits in (dict(min=-0.51, max=0.31), dict(min=0.011), dict(max=0.011))
    ),
    OpCase(
        selection.where,
        dict(condition=lambda rng: rng.random((3, 4)) < 0.5, a=(3, 4), b=(4,)),
        oracle=torch_binary("where"),
    ),
]
REDUCTIONS = [
    *(
        OpCase(f, X, kwargs, oracle=lambda t, i, k, name=f.__name__: getattr(i["x"], name)(**k))
        for f in (reduction.sum, reduction.mean)
        for kwargs in ({}, dict(dim=1), dict(dim=(0, 2)), dict(dim=-1, keepdim=True))
    ),
    *(
        OpCase(reduction.var, X, kwargs, oracle=lambda t, i, k: i["x"].var(**k))
        for kwargs in ({}, dict(dim=1), dict(dim=(0, 2), correction=0, keepdim=True))
    ),
    *(
        OpCase(f, DISTINCT, kwargs, oracle=lambda t, i, k, n=f.__name__: getattr(i["x"], n)(**k))
        for f in (reduction.max, reduction.min)
        for kwargs in ({}, dict(dim=1), dict(dim=-1, keepdim=True))
    ),
    *(
        OpCase(f, DISTINCT, kwargs, oracle=lambda t, i, k, n=f.__name__: getattr(i["x"], n)(**k))
        for f in (reduction.amax, reduction.amin)
        for kwargs in (dict(dim=(0, 2)), dict(dim=1, keepdim=True))
    ),
]
SHAPES = [
    OpCase(variadic(shape.reshape, "shape"), X, dict(shape=(4, 6)),
           oracle=lambda t, i, k: i["x"].reshape(4, 6)),
    OpCase(shape.flatten, X, dict(start_dim=1), oracle=lambda t, i, k: i["x"].flatten(1)),
    OpCase(shape.squeeze, dict(x=(2, 1, 3, 1)), oracle=lambda t, i, k: i["x"].squeeze()),
    OpCase(shape.unsqueeze, X, dict(dim=-1), oracle=lambda t, i, k: i["x"].unsqueeze(-1)),
    OpCase(variadic(shape.permute, "dims"), X, dict(dims=(2, 0, 1)),
           oracle=lambda t, i, k: i["x"].permute(2, 0, 1)),
    OpCase(shape.transpose, X, dict(dim0=0, dim1=-1),
           oracle=lambda t, i, k: i["x"].transpose(0, -1)),
    OpCase(shape.broadcast_to, dict(x=(3, 1)), dict(shape=(2, 3, 4)),
           oracle=lambda t, i, k: t.broadcast_to(i["x"], k["shape"])),
    OpCase(variadic(shape.expand, "sizes"), dict(x=(3, 1)), dict(sizes=(2, -1, 4)),
           oracle=lambda t, i, k: i["x"].expand(2, -1, 4)),
    OpCase(shape.sum_to, X, dict(shape=(3, 1)), oracle=lambda t, i, k: i["x"].sum_to_size(3, 1)),
    OpCase(
        lambda a, b, dim: shape.concatenate([a, b], dim), dict(a=(2, 3, 2), b=(2, 1, 2)),
        dict(dim=1), oracle=lambda t, i, k: t.cat(list(i.values()), **k), label="concatenate",
    ),
    OpCase(
        lambda a, b, dim: shape.stack([a, b], dim), dict(a=(2, 3), b=(2, 3)),
        dict(dim=-1), oracle=lambda t, i, k: t.stack(list(i.values()), **k), label="stack",
    ),
    OpCase(
        lambda x, sizes: shape.split(x, sizes, 1)[1], dict(x=(2, 5)), dict(sizes=2),
        oracle=lambda t, i, k: t.split(i["x"], 2, 1)[1], label="split",
    ),
    *(
        OpCase(getitem, X, dict(index=index), oracle=torch_getitem, label=str(n))
        for n, index in enumerate([
            1, slice(None, None, 2), (..., 1), (slice(None), None, 2), (0, slice(1, 3), -1),
            np.array([0, 1, 1, 0]), (slice(None), np.array([2, 0, 2])),
            np.arange(24).reshape(2, 3, 4) % 5 < 2,
        ])
    ),
]  # fmt: skip
PRODUCTS = [
    *(
        OpCase(linalg.matmul, dict(a=a, b=b), oracle=torch_binary("matmul"))
        for a, b in [
            ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
            ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
            ((2, 3), (5, 3, 4)),
        ]
    ),
    OpCase(linalg.matmul, dict(a=(300, 70), b=(70, 90)), label="large", second=False,
           oracle=torch_binary("matmul")),
    OpCase(linalg.linear, dict(input=(4, 3), weight=(5, 3), bias=(5,))),
    OpCase(linalg.linear, dict(input=(2, 4, 3), weight=(5, 3))),
    OpCase(linalg.linear, dict(input=(3,), weight=(5, 3), bias=(5,))),
    OpCase(linalg.linear, dict(input=(2, 3), weight=(3,))),
    *(
        OpCase(
            lambda equation, **tensors: linalg.einsum(equation, *tensors.values()), inputs,
            dict(equation=equation), label="einsum",
            oracle=lambda t, i, k: t.einsum(k["equation"], *i.values()),
        )
        for equation, inputs in [
            ("ij,jk->ik", dict(a=(2, 3), b=(3, 4))), ("ij,jk", dict(a=(2, 3), b=(3, 4))),
            ("ii", dict(a=(3, 3))), ("iij->ji", dict(a=(3, 3, 2))), ("ij->", dict(a=(2, 3))),
            ("ij->ji", dict(a=(2, 3))), ("bi,bj,ijk->bk", dict(a=(2, 3), b=(2, 4), c=(3, 4, 2))),
            ("...ij,...jk->...ik", dict(a=(2, 2, 3), b=(3, 4))), ("i,j->ij", dict(a=(2,), b=(3,))),
            ("ij,k->i", dict(a=(2, 3), b=(4,))), ("ij,ij->i", dict(a=(2, 1), b=(2, 3))),
            ("...ij,...jk", dict(a=(4, 1, 2, 3), b=(5, 3, 4))),
        ]
    ),
]  # fmt: skip

TestArithmetic = op_tests(ARITHMETIC)
TestReductions = op_tests(REDUCTIONS)
TestShapes = op_tests(SHAPES)
TestProducts = op_tests(PRODUCTS)
