"""The matrices of Winograd's short convolutions, from points, after Toom and Cook.

Take m outputs y, in which three taps g meet t = m + 2 inputs d. Its transpose, in which m
numbers y are spread by the taps over t numbers, is a product of two polynomials, of degrees
m - 1 and 2. A polynomial of degree t - 1 is known from its values at t points, and the values
of a product are products of values: t multiplications. So with V[i, j] = point_i ** j, whose
last row, for the point infinity, picks the highest coefficient::

    spread(y, g) = V^-1 [(V_m y) * (V_3 g)]        V_k: the first k columns of V, with the row
                                                   for infinity picking the last of them
    y = V_m^T [(V_3 g) * (V^-T d)]                 its transpose in y: A^T = V_m^T, G = V_3,
                                                   B^T = V^-T
"""

from __future__ import annotations

from functools import cached_property

import numpy as np


class Form:
    """F(m x m, 3x3): t x t inputs to m x m outputs, where t = m + 2.

    The matrices are those of two dimensions, acting on tiles as columns: the Kronecker products
    of the matrices of one dimension with themselves, float32.

    Parameters
    ----------
    points : sequence of float
        m + 1 different numbers; infinity is the last point.
    """

    def __init__(self, points):
        self.t = len(points) + 1
        self.m = self.t - 2
        self._points = np.array(points, np.float64)

    @cached_property
    def input(self):
        """B^T, (t*t, t*t): transforms a tile of inputs."""
        return _square(np.linalg.inv(self._values(self.t)).T)

    @cached_property
    def weight(self):
        """G, (t*t, 9): transforms a filter."""
        return _square(self._values(3))

    @cached_property
    def turned_weight(self):
        """G for a filter that is turned by 180 degrees."""
        return _square(self._values(3)[:, ::-1])

    @cached_property
    def output(self):
        """A^T, (m*m, t*t): transforms back to outputs."""
        return _square(self._values(self.m).T)

    @cached_property
    def output_and_bias(self):
        """A^T with a column of ones, (m*m, t*t + 1): the bias counts in every output."""
        return np.hstack([self.output, np.ones((self.m**2, 1), np.float32)])

    @cached_property
    def spread(self):
        """A, (t*t, m*m): transforms a tile of the outputs' gradient."""
        return np.ascontiguousarray(self.output.T)

    def _values(self, count: int):
        """Return the matrix from `count` coefficients of a polynomial to its values."""
        finite = np.vander(self._points, count, increasing=True)
        return np.vstack([finite, np.eye(count)[-1]])


def _square(matrix):
    return np.ascontiguousarray(np.kron(matrix, matrix), np.float32)
