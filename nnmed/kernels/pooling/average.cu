// Average pooling and its gradient.
//
//     y[n,c,i,j] = sum over u,v of x[n,c, i s + u - p, j s + v - p] / divisor(i, j)
//     dx[n,c,a,b] = sum of dy[n,c,i,j] / divisor(i, j) over the windows (i, j) that hold (a, b)
//
// windows.cuh says how threads meet numbers, and the limit: copy bandwidth.
#include "pooling/windows.cuh"

// What the sum of a window is divided by: `fixed`, unless that is 0.
__device__ __forceinline__ real divisor(
    const Axis &down, const Axis &across, int row, int column, bool with_padding, real fixed
) {
    if (fixed != 0) return fixed;
    return max(1, down.length(row, with_padding) * across.length(column, with_padding));
}

template <int EACH>
__device__ __forceinline__ void average(
    const real *x, real *y, bool with_padding, real fixed, const Axis &down, const Axis &across,
    int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.count, across.count, channels, EACH);
    auto sum = Pack<real, EACH>::of(0);
    for (int u = 0; u < down.kernel; u++) {
        int row = down.cell(at.row, u);
        if (!down.inside(row)) continue;
        for (int v = 0; v < across.kernel; v++) {
            int column = across.cell(at.column, v);
            if (!across.inside(column)) continue;
            add(sum, read_pack<EACH>(x + at.in(down.size, across.size, channels, row, column)), 1);
        }
    }
    real by = divisor(down, across, at.row, at.column, with_padding, fixed);
#pragma unroll
    for (int j = 0; j < EACH; j++) sum.v[j] /= by;
    write_pack(y + i * EACH, sum);
}

template <int EACH>
__device__ __forceinline__ void share(
    const real *dy, real *dx, bool with_padding, real fixed, const Axis &down,
    const Axis &across, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.size, across.size, channels, EACH);
    auto sum = Pack<real, EACH>::of(0);
    for (int row = down.first(at.row); row <= down.last(at.row); row++) {
        for (int column = across.first(at.column); column <= across.last(at.column); column++) {
            real by = divisor(down, across, row, column, with_padding, fixed);
            int from = at.in(down.count, across.count, channels, row, column);
            add(sum, read_pack<EACH>(dy + from), 1 / by);
        }
    }
    write_pack(dx + i * EACH, sum);
}

extern "C" __global__ void average_pool(
    const real *x, real *y, int with_padding, real fixed, AXES_ARGUMENTS
) {
    MAKE_AXES
    if (each == 4) average<4>(x, y, with_padding, fixed, down, across, channels, n);
    else average<1>(x, y, with_padding, fixed, down, across, channels, n);
}

extern "C" __global__ void average_pool_grad(
    const real *dy, real *dx, int with_padding, real fixed, AXES_ARGUMENTS
) {
    MAKE_AXES
    if (each == 4) share<4>(dy, dx, with_padding, fixed, down, across, channels, n);
    else share<1>(dy, dx, with_padding, fixed, down, across, channels, n);
}
