"""nnmed: neural networks for medical images, from scratch on NumPy.

Tensors, their gradients and basic functions stand here. The rooms beside them: ``nn`` (layers),
``functional``, ``optim``, ``models``, ``data``, ``preprocessing``, ``metrics``, ``training``,
``report`` and ``jobs``. ``explain`` is a function here; ``from nnmed.explain import ...`` finds its
room.
"""

from __future__ import annotations

import importlib

from nnmed import ops  # gives Tensor its operators
from nnmed.autograd import (
    Notation,
    Op,
    Tensor,
    checkpoint,
    detect_anomaly,
    enable_grad,
    from_numpy,
    grad,
    gradcheck,
    gradgradcheck,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from nnmed.backend.determinism import deterministic
from nnmed.backend.memory import empty_cache
from nnmed.backend.precision import allow_tf32, autocast
from nnmed.backend.random import seed
from nnmed.backend.threads import get_num_threads, set_num_threads

# Not when first used: importing the room would put it in the function's place.
from nnmed.explain import debugger, explain, graph, recording
from nnmed.kernels import use_kernels
from nnmed.ops.elementwise import abs, cos, exp, log, pow, sin, sqrt
from nnmed.ops.linalg import einsum, matmul
from nnmed.ops.reduction import max, mean, min, sum, var
from nnmed.ops.selection import clip, maximum, minimum, where
from nnmed.ops.shape import concatenate, permute, reshape, split, stack, transpose
from nnmed.ops.softmax import logsumexp

__version__ = "0.1.0"

# Rooms that few programs need, or that bring imports of their own: loaded when first used.
_ROOMS = (
    "data", "functional", "jobs", "metrics", "models", "nn", "optim", "preprocessing", "report",
    "training",
)  # fmt: skip

__all__ = [
    "Notation", "Op", "Tensor", "abs", "allow_tf32", "autocast", "checkpoint", "clip",
    "concatenate", "cos", "debugger", "detect_anomaly", "deterministic", "einsum", "empty_cache",
    "enable_grad", "exp", "explain", "from_numpy", "get_num_threads", "grad", "gradcheck",
    "gradgradcheck", "graph", "is_grad_enabled", "log", "logsumexp", "matmul", "max", "maximum",
    "mean", "min", "minimum", "no_grad", "ops", "permute", "pow", "recording", "reshape", "seed",
    "set_grad_enabled", "set_num_threads", "sin", "split", "sqrt", "stack", "sum", "transpose",
    "use_kernels", "var", "where", *_ROOMS,
]  # fmt: skip


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"nnmed.{name}")
    raise AttributeError(f"module 'nnmed' has no attribute {name!r}")


def __dir__():
    return sorted({*__all__, "autograd", "backend", "errors", "kernels"})
