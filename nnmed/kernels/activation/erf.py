"""The error function, erf(x) = 2/sqrt(pi) * integral from 0 to x of exp(-t**2) dt.

NumPy has none. float64 follows W. J. Cody, "Rational Chebyshev approximations for the
error function", Math. Comp. 23 (1969) 631-637, with the coefficients of his netlib routine
CALERF: three rational functions, for |x| up to 0.46875, up to 4, and beyond.

float32 uses erf(x) = tanh(x q(x**2)): artanh(erf(x)) / x is so smooth that a polynomial of
degree 6 in x**2 gives erf to 2.5e-7 of itself. The coefficients are a minimax fit against
Cody's function (Lawson's reweighted least squares, weighted by the error they cause in
erf, 0 < x < 4.2); all further x are safe because q grows and tanh saturates.
"""

from __future__ import annotations

import numpy as np

_SMALL = 0.46875
# Highest power first, as Horner's rule wants them.
_SMALL_P = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2,
            3.77485237685302021e2, 3.20937758913846947e3)  # fmt: skip
_SMALL_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
            2.84423683343917062e3)  # fmt: skip
_MIDDLE_P = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594,
             6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
             1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3)  # fmt: skip
_MIDDLE_Q = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
             1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
             3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_LARGE_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
            1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_LARGE_Q = (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1,
            6.05183413124413191e-2, 2.33520497626869185e-3)  # fmt: skip

_TANH_Q = (1.4185260965859925e-07, -5.668483026965987e-06, 8.763738151174039e-05,
           -6.197848124429584e-04, -1.918306079460308e-04, 1.0276905447244644e-01,
           1.128379225730896)  # fmt: skip
_TANH_Q32 = np.array(_TANH_Q, np.float32)
# The same polynomial for erf(x / sqrt(2)): the factor of x**(2k+1) shrinks by 2**(k+1/2).
_CDF_Q32 = np.array([c * 0.5 ** (6 - i + 0.5) for i, c in enumerate(_TANH_Q)], np.float32)


def erf_chunk(y, x, scratch) -> None:
    """Write erf(x) into `y`; all are 1-d arrays of one length and dtype."""
    if x.dtype == np.float32:
        _tanh_form(y, x, scratch, _TANH_Q32)
    else:
        y[...] = _erf(x)


def normal_cdf_chunk(y, x, scratch) -> None:
    """Write (1 + erf(x / sqrt(2))) / 2, the normal distribution function, into `y`.

    In float64 it comes from erfc, so that the left tail keeps its digits.
    """
    if x.dtype == np.float32:
        _tanh_form(y, x, scratch, _CDF_Q32)
        y *= np.float32(0.5)
        y += np.float32(0.5)
    else:
        np.multiply(_erfc(np.multiply(x, -np.sqrt(0.5))), 0.5, out=y)


def _tanh_form(y, x, u, coefficients) -> None:
    np.square(x, out=u)
    np.multiply(u, coefficients[0], out=y)
    for coefficient in coefficients[1:-1]:
        y += coefficient
        y *= u
    y += coefficients[-1]
    y *= x
    np.tanh(y, out=y)


def _erf(x):
    a = np.abs(x)
    result = np.copysign(1 - _erfc_positive(a), x)
    small = a <= _SMALL
    result[small] = _erf_small(x[small])
    return result


def _erfc(x):
    a = np.abs(x)
    result = _erfc_positive(a)
    np.subtract(2, result, out=result, where=x < 0)
    small = a <= _SMALL
    result[small] = 1 - _erf_small(x[small])
    return result


def _erf_small(x):
    u = x * x
    return x * _horner(_SMALL_P, u) / _horner(_SMALL_Q, u)


def _erfc_positive(a):
    """Return erfc(a), a >= 0.46875 (elsewhere a number that nobody uses)."""
    result = _horner(_MIDDLE_P, a) / _horner(_MIDDLE_Q, a)
    large = a > 4
    if large.any():
        b = a[large]
        v = 1 / (b * b)
        tail = v * _horner(_LARGE_P, v) / _horner(_LARGE_Q, v)
        result[large] = (np.sqrt(1 / np.pi) - tail) / b
    # exp(-a**2) with the rounding error of a**2 taken out: a = head + (a - head), where
    # head**2 is exact.
    head = np.minimum(np.trunc(a * 16) / 16, 64)
    tail = np.minimum((a - head) * (a + head), 1024)
    return result * np.exp(-head * head) * np.exp(-tail)


def _horner(coefficients, u):
    result = np.full_like(u, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= u
        result += coefficient
    return result
