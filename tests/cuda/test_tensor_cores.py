"""The instructions of tensor cores in the emulator: where a warp's numbers lie, how they round."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend import precision
from tests.cuda.emulator import KernelError, Memory, compiled

LANES = np.arange(32)
G, T = LANES // 4, LANES % 4
SPECIAL = np.float32(
    [0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519, 65520, -7e4, 1e-7, 2e-8, 3e-8, 6e-5, 1e-40,
     1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-11, 1 + 2**-12, 3.4e38, 2047.5]
)  # fmt: skip


def to_tf32(array):
    """Round to 10 bits of fraction; of two equally near numbers, to the one farther from zero."""
    bits = array.view(np.uint32) + np.uint32(0x1000) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(array), bits.view(np.float32), array)


def rounded(array, form):
    if form == "tf32":
        return to_tf32(array)
    with precision.multiplying_in({"f16": "float16", "bf16": "bfloat16"}[form]):
        return precision.rounded(array)


def on_card(*arrays):
    copies = []
    for array in arrays:
        copy = Memory(array.nbytes).array(array.shape, array.dtype)
        copy[...] = array
        copies.append(copy)
    return copies


def launch(body, *arrays, block=32):
    """Run a kernel of one warp on float arrays a, b, d, and return the last."""
    parameters = ", ".join(f"float *{name}" for name in "abd"[-len(arrays) :])
    source = f"""extern "C" __global__ void k({parameters}) {{
                     int lane = threadIdx.x; {body} }}"""
    copies = on_card(*arrays)
    compiled(source, ())["k"].launch((1,), (block,), copies)
    return copies[-1]


# Rows and columns, in A (16, 8) and B (8, 8), of the numbers that lanes give one after another, as
# PTX ISA has them for mma.m16n8k8; and of those of D (16, 8) that they get.
PAIRS = ([G, G, G + 8, G + 8], [2 * T, 2 * T + 1] * 2), ([2 * T, 2 * T + 1], [G, G])
SINGLES = ([G, G + 8, G, G + 8], [T, T, T + 4, T + 4]), ([T, T + 4], [G, G])
RESULT = [G, G, G + 8, G + 8], [2 * T, 2 * T + 1] * 2
ROUND_PAIRS = """unsigned a0 = round_{form}x2(a[0], a[1]), a1 = round_{form}x2(a[2], a[3]);
                 unsigned b0 = round_{form}x2(b[0], b[1]);
                 mma_{form}(d[0], d[1], d[2], d[3], a0, a1, b0);"""
ROUND_SINGLES = """unsigned n[6];
                   for (int i = 0; i < 6; i++) n[i] = round_tf32(i < 4 ? a[i] : b[i - 4]);
                   mma_tf32(d[0], d[1], d[2], d[3], n[0], n[1], n[2], n[3], n[4], n[5]);"""
INSTRUCTIONS = {
    "f16": (ROUND_PAIRS.format(form="f16"), PAIRS),
    "bf16": (ROUND_PAIRS.format(form="bf16"), PAIRS),
    "tf32": (ROUND_SINGLES, SINGLES),
}
OWN = "a += 4 * lane, b += 2 * lane, d += 4 * lane;"


@pytest.mark.parametrize("form", INSTRUCTIONS)
def test_a_warp_multiplies_matrices(form):
    body, (in_a, in_b) = INSTRUCTIONS[form]
    a, b, d = (
        np.random.default_rng(0).standard_normal(shape, np.float32)
        for shape in ((16, 8), (8, 8), (16, 8))
    )
    # The lists are (numbers, lanes); memory has the numbers of a lane side by side.
    given = [np.ascontiguousarray(m[at].T) for m, at in ((a, in_a), (b, in_b), (d, RESULT))]
    expected = d + rounded(a, form).astype(np.float64) @ rounded(b, form)
    got = launch(OWN + body, *given)
    np.testing.assert_allclose(got, expected[RESULT].T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", INSTRUCTIONS)
def test_a_lane_that_stays_away_is_noticed(form):
    body, _ = INSTRUCTIONS[form]
    arrays = (np.zeros((32, n), np.float32) for n in (4, 2, 4))
    with pytest.raises(KernelError, match="have left"):
        launch(f"{OWN} if (lane == 7) return; {body}", *arrays)


@pytest.mark.parametrize("form", INSTRUCTIONS)
def test_rounding(form):
    numbers = np.concatenate(
        [SPECIAL, np.random.default_rng(0).standard_normal(4096 - len(SPECIAL)).astype(np.float32)]
    ).reshape(-1, 1)
    decoded = {
        "f16": "emulator::decode_f16(round_f16x2(0, b[i]) >> 16)",
        "bf16": "emulator::decode_bf16(round_bf16x2(b[i], 0) & 0xffff)",
        "tf32": "emulator::from_bits(round_tf32(b[i]))",
    }[form]
    body = f"for (int i = lane; i < {len(numbers)}; i += 32) d[i] = {decoded};"
    got = launch(body, numbers, np.empty_like(numbers))
    np.testing.assert_array_equal(got, rounded(numbers, form))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(numbers) & ~np.isnan(got))
