"""The card on which CUDA sources are tested: it computes, and notices what they must not do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.emulator import UNTOUCHED, KernelError, Memory, compiled


def run(body, arrays, block=(32,), grid=(1,), parameters="", values=(), dtype=np.float32):
    """Run a kernel ``k(T *a, T *b, ...)`` on copies of arrays, and return those."""
    kind = {"f": "float", "d": "double", "i": "int"}[np.dtype(dtype).char]
    pointers = ", ".join(f"{kind} *{name}" for name, _ in zip("abcd", arrays))
    source = f'extern "C" __global__ void k({pointers}{parameters}) {{ {body} }}'
    copies, memories = [], []
    for array in arrays:
        array = np.asarray(array, dtype)
        memories.append(Memory(array.nbytes))
        copies.append(memories[-1].array(array.shape, dtype))
        copies[-1][...] = array
    compiled(source, ())["k"].launch(grid, block, [*copies, *values])
    for memory in memories:
        memory.check()
    return copies


NUMBERS = np.arange(1, 33, dtype=np.float32)


def test_threads_blocks_and_their_numbers():
    body = """int x = blockIdx.x * blockDim.x + threadIdx.x;
              int y = blockIdx.y * blockDim.y + threadIdx.y;
              int z = blockIdx.z * blockDim.z + threadIdx.z;
              int row = z * gridDim.y * blockDim.y + y;
              a[row * gridDim.x * blockDim.x + x] = x + 10 * y + 100 * z;"""
    (a,) = run(body, [np.zeros((4, 6, 6))], block=(3, 2, 2), grid=(2, 3, 2))
    z, y, x = np.mgrid[:4, :6, :6]
    np.testing.assert_array_equal(a, x + 10 * y + 100 * z)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shared_memory_and_a_barrier(dtype):
    kind = "float" if dtype is np.float32 else "double"
    body = f"""__shared__ {kind} s[32]; int t = threadIdx.x; s[t] = a[t]; __syncthreads();
               a[t] = s[31 - t];"""
    np.testing.assert_array_equal(run(body, [NUMBERS], grid=(1,), dtype=dtype)[0], NUMBERS[::-1])


def test_a_missing_barrier_shows():
    body = "__shared__ float s[32]; int t = threadIdx.x; s[t] = a[t]; a[t] = s[31 - t];"
    (a,) = run(body, [NUMBERS])
    assert np.isnan(a).any()


def test_the_order_of_threads_alternates():
    (a,) = run("a[blockIdx.x] = threadIdx.x;", [np.zeros(2)], grid=(2,))
    assert a.tolist() == [31, 0]  # the last to write is the last, or the first, thread


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("__shfl_sync(~0u, v, 5)", np.full(32, 6)),
        ("__shfl_sync(~0u, v, 5, 8)", np.repeat([6, 14, 22, 30], 8)),
        ("__shfl_down_sync(~0u, v, 3)", [*range(4, 33), 30, 31, 32]),
        ("__shfl_up_sync(~0u, v, 3)", [1, 2, 3, *range(1, 30)]),
        ("__shfl_xor_sync(~0u, v, 1)", np.arange(1, 33).reshape(-1, 2)[:, ::-1].ravel()),
        ("__popc(__ballot_sync(~0u, v > 30))", np.full(32, 2)),
    ],
)
def test_shuffles(call, expected):
    (a,) = run(f"float v = a[threadIdx.x]; a[threadIdx.x] = {call};", [NUMBERS])
    np.testing.assert_array_equal(a, expected)


def test_two_shuffles_in_a_row_of_two_warps():
    body = """float v = a[threadIdx.x]; for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
              a[threadIdx.x] = v;"""
    (a,) = run(body, [np.arange(64)], block=(64,))
    np.testing.assert_array_equal(a, np.repeat([np.arange(32).sum(), np.arange(32, 64).sum()], 32))


def test_atomics():
    (a,) = run("atomicAdd(a, 1); atomicMax(a + 1, (int)threadIdx.x);", [[0, -5]], dtype=np.int32)
    assert a.tolist() == [32, 31]


def test_what_is_not_written_stays_nan():
    memory = Memory(16)
    assert (memory.bytes == UNTOUCHED).all()
    assert np.isnan(memory.array((4,), np.float32)).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a[threadIdx.x + 5000] = 1;", "out of bounds"),
        ("a[threadIdx.x] = a[threadIdx.x * 4000];", "out of bounds"),
        ("if (threadIdx.x == 0) a[-1] = 1;", "in front"),
        ("if (threadIdx.x < 7) __syncthreads();", "others have left"),
        ("if (threadIdx.x < 7) __shfl_sync(~0u, 1, 0);", "never come"),
        ("if (threadIdx.x < 7) __syncthreads(); else __syncwarp();", "never come"),
    ],
)
def test_faults_are_reported_and_the_process_goes_on(body, message):
    for _ in range(2):
        with pytest.raises(KernelError, match=message):
            run(body, [NUMBERS])
    np.testing.assert_array_equal(run("a[threadIdx.x] += 1;", [NUMBERS])[0], NUMBERS + 1)


def test_one_number_too_far_is_out_of_bounds():
    with pytest.raises(KernelError, match="out of bounds"):
        run("a[threadIdx.x + 1] = 1;", [NUMBERS])


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
        run("a[0] = n;", [NUMBERS], parameters=", int n", values=values)


def test_arrays_must_have_the_declared_type():
    memory = Memory(64)
    kernel = compiled('extern "C" __global__ void k(float *a) { a[0] = 1; }', ())["k"]
    with pytest.raises(KernelError, match="array of float64"):
        kernel.launch((1,), (1,), [memory.array((8,), np.float64)])


@pytest.mark.parametrize(
    ("grid", "block"), [((1,), (1025,)), ((1,), (0,)), ((1, 70000), (1,)), ((0,), (1,))]
)
def test_a_launch_must_fit_the_card(grid, block):
    with pytest.raises(KernelError, match="1 to"):
        run("a[0] = 1;", [NUMBERS], grid=grid, block=block)


def test_what_does_not_compile_says_why():
    with pytest.raises(KernelError, match="not declared"):
        run("a[0] = nothing;", [NUMBERS])


def test_included_files_are_part_of_what_was_compiled(tmp_path):
    source = '#include "n.cuh"\nextern "C" __global__ void k(float *a) { a[0] = N; }'
    for number in (1, 2):
        (tmp_path / "n.cuh").write_text(f"#define N {number}\n")
        compiled.cache_clear()
        memory = Memory(4)
        kernel = compiled(source, (f"-I{tmp_path}",))["k"]
        kernel.launch((1,), (1,), [memory.array((1,), np.float32)])
        assert memory.array((1,), np.float32)[0] == number
