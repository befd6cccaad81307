"""Notation: what the symbols in an op's formulas stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# What formulas call an input of a name; others are called by their name.
_USUAL = {"input": "x", "target": "t", "weight": "w", "bias": "b", "arrays": "x"}


@dataclass(frozen=True)
class Notation:
    r"""How the formulas of one op, a node of the graph, are to be read.

    By it numbers are put into the formulas (:mod:`nnmed.explain.formula`), and tests hold the
    formulas to the code. Nothing has to be said of inputs, output and their gradients, nor of
    what an index runs over where it stands alone beside an array: a side of that.

    Attributes
    ----------
    values : dict
        Symbol to a parameter: a number, an array, a list of arrays, or a function of the
        symbol's indices.
    symbols : dict
        Name of an input to its symbol, where that is another than usual.
    views : dict
        Symbol of an array to a function that brings it into the form of which the formulas
        speak, such as (summed, kept). It may only move elements.
    ranges : dict
        Index to how many values it has, or to the values, where no array tells. A shape stands
        for all positions in it. A function tells one of these from the indices bound so far.
    positions : dict
        Index to of how many parts it is: ``i`` of a picture is (row, column).
    outside : float
        What arrays hold beyond their edges.
    rows : bool
        Whether the formulas speak of one row: all arrays are taken apart along the first axis.
    """

    values: dict = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)
    views: dict[str, Callable] = field(default_factory=dict)
    ranges: dict = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    outside: float = 0.0
    rows: bool = False

    def symbol(self, name: str) -> str:
        """Return what the formulas call the input of a name."""
        return self.symbols.get(name, _USUAL.get(name, name))


def made_when_read(make: Callable) -> Callable:
    """Return, for `values`, a function that reads an array which may cost as much as the op.

    `make` is called when the first element is asked for.
    """
    array = functools.cache(make)

    def read(*subscripts):
        place = np.concatenate([np.atleast_1d(index) for index in subscripts])
        return array()[tuple(place)]

    return read
