"""The errors that nnmed raises.

Each also derives from the built-in exception a Python programmer would expect, so that
``except ValueError`` keeps working for code that does not know nnmed.
"""

from __future__ import annotations


class NnmedError(Exception):
    """Base of every error that nnmed raises on purpose."""


class ShapeError(NnmedError, ValueError):
    """Shapes do not fit together; the message shows them and names the argument."""


class OutOfRangeError(ShapeError, IndexError):
    """An index does not fit the shape of a tensor or the length of a container."""


class DTypeError(NnmedError, TypeError):
    """An array has a data type that the operation cannot take."""


class DeviceError(NnmedError, RuntimeError):
    """Arrays live on different devices, or a device cannot be used."""


class GradientError(NnmedError, RuntimeError):
    """A gradient cannot be computed; a wrong number is never returned instead."""


class AnomalyError(GradientError, ArithmeticError):
    """A NaN or an infinity appeared while :func:`nnmed.detect_anomaly` was on."""


class DataError(NnmedError, ValueError):
    """A file or a table is bad; the message names file, row, reason and remedy."""


class ModelError(NnmedError, ValueError):
    """A weights file or a checkpoint is bad or does not fit the model."""


class UsageError(NnmedError, ValueError):
    """An option or argument that the user gave makes no sense."""
