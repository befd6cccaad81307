"""The engine: tensors, the graph of ops, and the walk back through it.

Read in this order: ``tensor.py`` (what a user holds), ``op.py`` (a node of the graph),
``engine.py`` (backward), then ``checkpoint.py``, ``gradcheck.py`` and ``anomaly.py``.
"""

from nnmed.autograd.anomaly import detect_anomaly
from nnmed.autograd.checkpoint import checkpoint
from nnmed.autograd.engine import grad
from nnmed.autograd.gradcheck import gradcheck, gradgradcheck
from nnmed.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from nnmed.autograd.notation import Notation, made_when_read
from nnmed.autograd.op import Op
from nnmed.autograd.tensor import Tensor, from_numpy

__all__ = [
    "Notation",
    "Op",
    "Tensor",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "from_numpy",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "made_when_read",
    "no_grad",
    "set_grad_enabled",
]
