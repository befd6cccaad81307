"""The card on which CUDA sources are tested: it computes, and notices what they must not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cuda.emulator import KernelError, Memory, compiled

KERNELS = Path(__file__).resolve().parents[2] / "nnmed" / "kernels"


C_NAMES = {"f": "float", "d": "double", "i": "int"}
REALS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def on_card(array, dtype):
    """Return a copy on watched memory, and that memory."""
    array = np.asarray(array, dtype)
    memory = Memory(array.nbytes)
    copy = memory.array(array.shape, dtype)
    copy[...] = array
    return copy, memory


def run(body, array, block=(32,), grid=(1,), parameters="", values=(), dtype=np.float32):
    """Run a kernel ``k(V *a, ...)`` on a copy of an array, and return that; V is its type."""
    kind = C_NAMES[np.dtype(dtype).char]
    source = f"""typedef {kind} V;
                 extern "C" __global__ void k({kind} *a{parameters}) {{ {body} }}"""
    copy, memory = on_card(array, dtype)
    compiled(source, ())["k"].launch(grid, block, [copy, *values])
    memory.check()
    return copy


NUMBERS = np.arange(1, 33, dtype=np.float32)
QUADS = range(1, 33, 4)


def test_threads_blocks_and_their_numbers():
    body = """int x = blockIdx.x * blockDim.x + threadIdx.x;
              int y = blockIdx.y * blockDim.y + threadIdx.y;
              int z = blockIdx.z * blockDim.z + threadIdx.z;
              int row = z * gridDim.y * blockDim.y + y;
              a[row * gridDim.x * blockDim.x + x] = x + 10 * y + 100 * z;"""
    a = run(body, np.zeros((4, 6, 6)), block=(3, 2, 2), grid=(2, 3, 2))
    z, y, x = np.mgrid[:4, :6, :6]
    np.testing.assert_array_equal(a, x + 10 * y + 100 * z)


@REALS
def test_shared_memory_and_a_barrier(dtype):
    body = """__shared__ V s[32]; int t = threadIdx.x; s[t] = a[t]; __syncthreads();
              a[t] = s[31 - t];"""
    np.testing.assert_array_equal(run(body, NUMBERS, dtype=dtype), NUMBERS[::-1])


@REALS
def test_a_missing_barrier_before_a_read_gives_nan(dtype):
    body = "__shared__ V s[32]; int t = threadIdx.x; s[t] = a[t]; a[t] = s[31 - t];"
    assert np.isnan(run(body, NUMBERS, dtype=dtype)).any()


@REALS
def test_a_missing_barrier_before_a_write_gives_another_result_in_another_block(dtype):
    # Each pair of neighbours is read and written by two threads, in an order nobody promised.
    body = """int t = threadIdx.x; V *own = a + 32 * blockIdx.x;
              own[t] = t < 31 ? own[t] + own[t + 1] : own[t];"""
    even, odd = run(body, np.tile(NUMBERS, (2, 1)), grid=(2,), dtype=dtype)
    np.testing.assert_array_equal(even[:-1], NUMBERS[:-1] + NUMBERS[1:])
    assert (odd != even).any()


def test_the_order_of_threads_alternates():
    a = run("a[blockIdx.x] = threadIdx.x;", np.zeros(2), grid=(2,))
    assert a.tolist() == [31, 0]  # the last to write is the last, or the first, thread


def test_many_barriers_in_a_full_block_and_many_blocks():
    body = """__shared__ V s[1024]; int t = threadIdx.x; s[t] = t;
              for (int half = 512; half; half /= 2) {
                  __syncthreads(); if (t < half) s[t] += s[t + half];
              }
              if (t == 0) a[blockIdx.x] = s[0];"""
    np.testing.assert_array_equal(
        run(body, np.zeros(9), (1024,), (9,)), np.full(9, 1024 * 1023 / 2)
    )


SHUFFLES = [
    ("__shfl_sync(~0u, v, 5)", np.full(32, 6)),
    ("__shfl_sync(~0u, v, 37)", np.full(32, 6)),
    ("__shfl_sync(~0u, v, 5, 8)", np.repeat([6, 14, 22, 30], 8)),
    ("__shfl_down_sync(~0u, v, 3)", [*range(4, 33), 30, 31, 32]),
    ("__shfl_down_sync(~0u, v, 1, 4)", np.ravel([[i + 1, i + 2, i + 3, i + 3] for i in QUADS])),
    ("__shfl_up_sync(~0u, v, 3)", [1, 2, 3, *range(1, 30)]),
    ("__shfl_up_sync(~0u, v, 1, 4)", np.ravel([[i, i, i + 1, i + 2] for i in QUADS])),
    ("__shfl_xor_sync(~0u, v, 1)", np.arange(1, 33).reshape(-1, 2)[:, ::-1].ravel()),
    ("__shfl_xor_sync(~0u, v, 3, 4)", np.ravel([[i + 3, i + 2, i + 1, i] for i in QUADS])),
    ("__popc(__ballot_sync(~0u, v > 30))", np.full(32, 2)),
    ("__any_sync(~0u, v > 31)", np.ones(32)),
    ("__any_sync(~0u, v > 32)", np.zeros(32)),
]


@REALS
@pytest.mark.parametrize(("call", "expected"), SHUFFLES)
def test_shuffles(call, expected, dtype):
    a = run(f"V v = a[threadIdx.x]; a[threadIdx.x] = {call};", NUMBERS, dtype=dtype)
    np.testing.assert_array_equal(a, expected)


def test_halves_of_a_warp_shuffle_by_themselves():
    body = """V v = a[threadIdx.x];
              if (threadIdx.x < 16) v = __shfl_sync(0xffffu, v, 1);
              else v = __shfl_sync(0xffff0000u, v, 30);
              a[threadIdx.x] = v;"""
    np.testing.assert_array_equal(run(body, NUMBERS), np.repeat([2, 31], 16))


@REALS
def test_a_lane_that_gives_nothing_is_nan(dtype):
    body = "V v = a[threadIdx.x]; a[threadIdx.x] = __shfl_down_sync(~0u, v, 1);"
    a = run(body, NUMBERS[:20], block=(20,), dtype=dtype)
    np.testing.assert_array_equal(a, [*NUMBERS[1:20], np.nan])


def test_two_shuffles_in_a_row_of_two_warps():
    body = """V v = a[threadIdx.x]; for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
              a[threadIdx.x] = v;"""
    a = run(body, np.arange(64), block=(64,))
    np.testing.assert_array_equal(a, np.repeat([np.arange(32).sum(), np.arange(32, 64).sum()], 32))


def test_atomics():
    body = """int t = threadIdx.x;
              atomicAdd(a, 1); atomicMax(a + 1, t); atomicMin(a + 2, t); atomicOr(a + 3, 1 << t);
              atomicCAS(a + 4, t, t + 1); atomicExch(a + 5, t);"""
    assert run(body, [0, -5, 5, 0, 0, -1], dtype=np.int32).tolist() == [32, 31, 0, -1, 32, 31]


@REALS
def test_atomic_sums_of_reals(dtype):
    assert run("atomicAdd(a, V(0.5));", [1], dtype=dtype).tolist() == [17]


@REALS
def test_what_is_not_written_stays_nan(dtype):
    memory = Memory(4 * np.dtype(dtype).itemsize)
    a = memory.array((4,), dtype)
    kind = C_NAMES[np.dtype(dtype).char]
    source = (
        f'extern "C" __global__ void k({kind} *a) {{ if (threadIdx.x != 2) a[threadIdx.x] = 1; }}'
    )
    compiled(source, ())["k"].launch((1,), (4,), [a])
    np.testing.assert_array_equal(a, [1, 1, np.nan, 1])


FAULTS = [
    ("a[threadIdx.x + 5000] = 1;", "out of bounds.*thread"),
    ("a[threadIdx.x + 1] = 1;", r"out of bounds.*thread \(31, 0, 0\) of block \(0, 0, 0\)"),
    ("a[threadIdx.x] = a[threadIdx.x * 4000];", r"out of bounds.*thread \(1, 0, 0\)"),
    ("if (threadIdx.x == 0) a[-1] = 1;", "in front of an array"),
    ("V *p = nullptr; *p = 1;", "out of bounds"),
    ("int n = a[0] - 1; a[0] = 3 / n;", "divided by zero"),
    ("volatile char big[200000]; big[0] = a[0]; a[0] = big[0];", "out of bounds"),
    ("if (threadIdx.x < 7) __syncthreads();", "have left"),
    ("if (threadIdx.x == 7) return; __syncthreads();", "have left"),
    ("if (threadIdx.x == 7) return; __shfl_sync(~0u, 1, 0);", "have left"),
    ("if (threadIdx.x < 7) __syncthreads(); else __syncwarp();", "never come"),
    ("if (threadIdx.x < 7) __syncthreads();\nelse __syncthreads();", "different barriers"),
    ("__shfl_sync(threadIdx.x < 16 ? ~0u : ~1u, 1, 0);", "different masks"),
    ("__shfl_sync(2u, 1, 0);", "outside of the mask"),
]


@pytest.mark.parametrize(("body", "message"), FAULTS)
def test_faults_are_reported_and_the_process_goes_on(body, message):
    for _ in range(2):
        with pytest.raises(KernelError, match=message):
            run(body, NUMBERS)
        a = run("__syncthreads(); a[threadIdx.x] += 1;", NUMBERS)
        np.testing.assert_array_equal(a, NUMBERS + 1)


def test_one_double_too_far_is_out_of_bounds():
    with pytest.raises(KernelError, match="out of bounds"):
        run("a[threadIdx.x + 1] = 1;", NUMBERS, dtype=np.float64)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_bytes_before_the_guard_page_are_watched(length):
    with pytest.raises(KernelError, match="behind an array"):
        run("a[n] = 1;", NUMBERS[:length], (1,), parameters=", int n", values=(np.int32(length),))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "takes 2 arguments"),
        ((np.float32(1),), "argument 1, int"),
        ((3,), "argument 1, int"),
        ((np.int64(3),), "argument 1, int"),
    ],
)
def test_arguments_must_have_the_declared_type(values, message):
    with pytest.raises(KernelError, match=message):
        run("a[0] = n;", NUMBERS, parameters=", int n", values=values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(8), "argument 0, float.*array of float64"),
        (np.zeros(8, np.int32), "array of int32"),
        (np.float32(1), "got float32"),
        ([1.0], "got list"),
    ],
)
def test_arrays_must_have_the_declared_type(given, message):
    kernel = compiled('extern "C" __global__ void k(float *a) { a[0] = 1; }', ())["k"]
    with pytest.raises(KernelError, match=message):
        kernel.launch((1,), (1,), [given])


def test_an_absent_array_is_a_null_pointer():
    source = 'extern "C" __global__ void k(float *a, const float *b) { a[0] = b ? b[0] : 7; }'
    a, _ = on_card([0], np.float32)
    for nothing in (None, np.uintp(0)):
        compiled(source, ())["k"].launch((1,), (1,), [a, nothing])
        assert a[0] == 7


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1,), (1025,), "a block has"),
        ((1,), (0,), "a block has"),
        ((1,), (2, 1, 65), "64 along z"),
        ((1,), (33, 32), "a block has"),
        ((1, 70000), (1,), "a grid has"),
        ((1, 1, 70000), (1,), "a grid has"),
        ((0,), (1,), "a grid has"),
        ((2**31,), (1,), "a grid has"),
    ],
)
def test_a_launch_must_fit_the_card(grid, block, message):
    with pytest.raises(KernelError, match=message):
        run("a[0] = 1;", NUMBERS, grid=grid, block=block)


def test_what_does_not_compile_says_why():
    with pytest.raises(KernelError, match="not declared"):
        run("a[0] = nothing;", NUMBERS)


def test_included_files_are_part_of_what_was_compiled(tmp_path):
    source = '#include "n.cuh"\nextern "C" __global__ void k(float *a) { a[0] = N; }'
    for number in (1, 2):
        (tmp_path / "n.cuh").write_text(f"#define N {number}\n")
        compiled.cache_clear()
        a, _ = on_card([0], np.float32)
        compiled(source, (f"-I{tmp_path}",))["k"].launch((1,), (1,), [a])
        assert a[0] == number


def test_common_cuh_is_part_of_what_was_compiled(tmp_path):
    """A changed helper is compiled again, by the name under which all kernels include it."""
    common = (KERNELS / "common.cuh").read_text()
    assert "value += " in common
    source = """#include "common.cuh"
                extern "C" __global__ void k(real *a) { *a = warp_sum(a[threadIdx.x]); }"""
    for text, expected in [(common, 32), (common.replace("value += ", "value = "), 1)]:
        (tmp_path / "common.cuh").write_text(text)
        compiled.cache_clear()
        a, _ = on_card(np.ones(32), np.float32)
        compiled(source, (f"-I{tmp_path}", "-DREAL=float"))["k"].launch((1,), (32,), [a])
        assert a[0] == expected
