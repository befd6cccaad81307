"""Case: one call of one function, declared once for nnmed and for PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

# The longest axes of a shrunk case, by the letters of Input.axes.
SHRUNK = {"N": 2, "H": 8, "W": 8, "P": 1000}


@dataclass(frozen=True)
class Input:
    """An argument that is an array.

    Attributes
    ----------
    shape : tuple of int
    axes : str
        What each axis stands for: N images, C channels, H and W pixels, P parameters. Without
        it the shape stays as it is when a case is shrunk.
    kind : str
        "normal" (standard normal values), "chance" (in [0, 1]) or "label".
    classes : int
        Labels are less than this.
    """

    shape: tuple[int, ...]
    axes: str = ""
    kind: str = "normal"
    classes: int = 0

    def array(self, rng) -> np.ndarray:
        if self.kind == "label":
            return rng.integers(0, self.classes, self.shape)
        draw = rng.standard_normal if self.kind == "normal" else rng.random
        return draw(self.shape, np.float32)

    def shrunk(self) -> Input:
        if not self.axes:
            return self
        shape = tuple(min(n, SHRUNK.get(axis, n)) for n, axis in zip(self.shape, self.axes))
        return replace(self, shape=shape)


@dataclass(frozen=True)
class Case:
    """One call; names and arguments are PyTorch's, so one declaration serves both sides.

    Attributes
    ----------
    family : str
        Family of kernels whose forms are measured.
    name : str
        For the tables.
    function : str
        Its name in ``nnmed.functional`` and ``torch.nn.functional``; for the family
        "optimizer" that of a class in ``nnmed.optim`` and ``torch.optim``, whose step is run.
    inputs : dict from str to Input
        Arrays by the name of the argument; an optimizer's parameters by any name.
    options : dict
        The other arguments.
    constants : tuple of str
        Float inputs of which no gradient is wanted, such as the images in a first layer.
    random : bool
        Whether the result is a draw, which two sides need not have in common.
    """

    family: str
    name: str
    function: str
    inputs: dict[str, Input]
    options: dict = field(default_factory=dict)
    constants: tuple[str, ...] = ()
    random: bool = False

    def arrays(self, dtype=np.float32) -> dict[str, np.ndarray]:
        """Return the inputs, the same ones every time; those that are not labels as `dtype`."""
        rng = np.random.default_rng(0)
        arrays = {name: source.array(rng) for name, source in self.inputs.items()}
        return {n: a if a.dtype.kind == "i" else a.astype(dtype) for n, a in arrays.items()}

    @property
    def wanted(self) -> list[str]:
        """The inputs of which a gradient is wanted."""
        return [
            name
            for name, source in self.inputs.items()
            if source.kind != "label" and name not in self.constants
        ]

    @property
    def size(self) -> int:
        """Elements of the largest input."""
        return max(math.prod(source.shape) for source in self.inputs.values())

    def shrunk(self) -> Case:
        """Return the case with two images of at most 8 x 8 pixels."""
        inputs = {name: source.shrunk() for name, source in self.inputs.items()}
        return replace(self, name=f"{self.name}, shrunk", inputs=inputs)

    def __str__(self):
        return f"{self.family}: {self.name}"


def maps(n: int, channels: int, size: int, kind: str = "normal") -> Input:
    """Return a batch of square feature maps."""
    return Input((n, channels, size, size), "NCHW", kind)


def rows(n: int, length: int) -> Input:
    """Return a batch of vectors."""
    return Input((n, length), "NC")


def vector(length: int, kind: str = "normal") -> Input:
    """Return one number a channel."""
    return Input((length,), "", kind)


def output_gradient(shape, dtype=np.float32) -> np.ndarray:
    """Return the gradient that flows into an output of this shape: numbers that float32 has."""
    return np.random.default_rng(1).standard_normal(shape, np.float32).astype(dtype)
