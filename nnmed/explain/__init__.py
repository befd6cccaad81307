"""Backward in plain sight, and what a trained network looked at.

As a function, ``nnmed.explain(loss)`` is :func:`nnmed.explain.derivation.explain`; all else is
imported from this room: ``from nnmed.explain import grad_cam``.
"""

from nnmed.explain.check import Check
from nnmed.explain.debugger import debugger
from nnmed.explain.derivation import Derivation, explain
from nnmed.explain.flow import GradientFlow
from nnmed.explain.grad_cam import grad_cam
from nnmed.explain.graph import Edge, Graph, Node, graph
from nnmed.explain.memory import Held, MemoryTimeline, memory_timeline
from nnmed.explain.recording import recording
from nnmed.explain.roofline import Ceilings, Point, Roofline, measure_ceilings, roofline
from nnmed.explain.step import Input, Leaf, Saved, Statistics, Step
from nnmed.explain.trail import Entry, Passage, Trail
from nnmed.explain.vcurve import VCurve, v_curve

__all__ = [
    "Ceilings",
    "Check",
    "Derivation",
    "Edge",
    "Entry",
    "GradientFlow",
    "Graph",
    "Held",
    "Input",
    "Leaf",
    "MemoryTimeline",
    "Node",
    "Passage",
    "Point",
    "Roofline",
    "Saved",
    "Statistics",
    "Step",
    "Trail",
    "VCurve",
    "debugger",
    "explain",
    "grad_cam",
    "graph",
    "measure_ceilings",
    "memory_timeline",
    "recording",
    "roofline",
    "v_curve",
]
