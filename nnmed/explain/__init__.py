"""Backward in plain sight, and what a trained network looked at.

As a function, ``nnmed.explain(loss)`` is :func:`nnmed.explain.derivation.explain`; all else is
imported from this room: ``from nnmed.explain import grad_cam``.
"""

from nnmed.explain.derivation import Derivation, explain
from nnmed.explain.grad_cam import grad_cam
from nnmed.explain.recording import recording
from nnmed.explain.step import Input, Leaf, Saved, Statistics, Step
from nnmed.explain.verify import Check

__all__ = [
    "Check",
    "Derivation",
    "Input",
    "Leaf",
    "Saved",
    "Statistics",
    "Step",
    "explain",
    "grad_cam",
    "recording",
]
