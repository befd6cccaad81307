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

(With g fixed, y -> spread(y, g) is a matrix, M[i + u, i] = g[u]. Its transpose takes t numbers d
to the sums of d[i + u] g[u] over u: the convolution that was wanted.)

The points 0, 1, -1 and infinity give F(2, 3), as ``matrices([0, 1, -1])`` shows::

          [1  1  1  0]         [1  0  0]           [1    0   -1   0]
    A^T = [0  1 -1  1]     G = [1  1  1]     B^T = [0   1/2  1/2  0]
                               [1 -1  1]           [0  -1/2  1/2  0]
                               [0  0  1]           [0   -1    0   1]
"""

from __future__ import annotations

import numpy as np


def matrices(points):
    """Return A^T (m, t), G (t, 3) and B^T (t, t) for one dimension, float64.

    `points` are m + 1 different numbers; infinity is the last point.
    """

    def values(count):
        """Return the matrix from `count` coefficients of a polynomial to its values."""
        finite = np.vander(np.array(points, np.float64), count, increasing=True)
        return np.vstack([finite, np.eye(count)[-1]])

    t = len(points) + 1
    return values(t - 2).T, values(3), np.linalg.inv(values(t)).T


class Form:
    """F(m x m, 3x3): t x t inputs to m x m outputs, where t = m + 2.

    The matrices act on tiles as columns: they are the Kronecker products of those of one
    dimension with themselves, in float32. There a point such as 2/3 is rounded, which changes
    an output by up to 3e-7 of the terms that it sums.

    Parameters
    ----------
    points : sequence of float
        m + 1 different numbers; infinity is the last point.

    Attributes
    ----------
    input : (t*t, t*t) array
        B^T: transforms a tile of inputs.
    weight, turned_weight : (t*t, 9) array
        G: transforms a filter, or one that is turned by 180 degrees.
    output, output_and_bias : (m*m, t*t) and (m*m, t*t + 1) array
        A^T: transforms back to outputs. A further column of ones counts the bias in each.
    spread : (t*t, m*m) array
        A: transforms a tile of the outputs' gradient.
    """

    def __init__(self, points):
        output, weight, input = matrices(points)
        self.m, self.t = output.shape
        self.input = _square(input)
        self.weight, self.turned_weight = _square(weight), _square(weight[:, ::-1])
        self.output, self.spread = _square(output), _square(output.T)
        self.output_and_bias = np.hstack([self.output, np.ones_like(self.output[:, :1])])


def _square(matrix):
    return np.ascontiguousarray(np.kron(matrix, matrix), np.float32)
