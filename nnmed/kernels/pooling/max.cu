// Max pooling and its gradient, by codes: u * kernel_w + v is where in its window the largest is.
//
//     y[n,c,i,j] = max over u,v of x[n,c, i s + u d - p, j s + v d - p]
//     dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i, j) whose code is at (a, b)
//
// windows.cuh says how threads meet numbers, and the limit: copy bandwidth. A code takes as few
// bytes as the window allows, a quarter of a float32 for windows of up to 256 cells.
#include "pooling/windows.cuh"

// The first largest wins, a NaN over all (the last one). codes: where in the window; or null.
template <int EACH, class Code>
__device__ __forceinline__ void max_pool(
    const real *x, real *y, Code *codes, const Axis &down, const Axis &across, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.count, across.count, channels, EACH);
    auto best = Pack<real, EACH>::of(-1 / real(0));
    auto code = Pack<Code, EACH>::of(0);
    bool none = true;
    for (int u = 0; u < down.kernel; u++) {
        int row = down.cell(at.row, u);
        if (!down.inside(row)) continue;
        for (int v = 0; v < across.kernel; v++) {
            int column = across.cell(at.column, v);
            if (!across.inside(column)) continue;
            auto values =
                read_pack<EACH>(x + at.in(down.size, across.size, channels, row, column));
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                real value = values.v[j];
                if (none || value > best.v[j] || value != value) {
                    best.v[j] = value, code.v[j] = u * across.kernel + v;
                }
            }
            none = false;
        }
    }
    write_pack(y + i * EACH, best);
    if (codes) write_pack(codes + i * EACH, code);
}

template <int EACH, class Code>
__device__ __forceinline__ void max_pool_grad(
    const real *dy, const Code *codes, real *dx, const Axis &down, const Axis &across,
    int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.size, across.size, channels, EACH);
    auto sum = Pack<real, EACH>::of(0);
    for (int row = down.first(at.row); row <= down.last(at.row); row++) {
        int u = down.u(row, at.row);
        if (u < 0) continue;
        for (int column = across.first(at.column); column <= across.last(at.column); column++) {
            int v = across.u(column, at.column);
            if (v < 0) continue;
            int from = at.in(down.count, across.count, channels, row, column);
            auto code = read_pack<EACH>(codes + from);
            auto values = read_pack<EACH>(dy + from);
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                if (code.v[j] == u * across.kernel + v) sum.v[j] += values.v[j];
            }
        }
    }
    write_pack(dx + i * EACH, sum);
}

// A kernel for each type of code, by its bytes.
#define MAX_POOL(bytes, Code)                                                          \
    extern "C" __global__ void max_pool_##bytes(                                       \
        const real *x, real *y, Code *codes, AXES_ARGUMENTS                            \
    ) {                                                                                \
        MAKE_AXES                                                                      \
        if (each == 4) max_pool<4>(x, y, codes, down, across, channels, n);            \
        else max_pool<1>(x, y, codes, down, across, channels, n);                      \
    }                                                                                  \
    extern "C" __global__ void max_pool_grad_##bytes(                                  \
        const real *dy, const Code *codes, real *dx, AXES_ARGUMENTS                    \
    ) {                                                                                \
        MAKE_AXES                                                                      \
        if (each == 4) max_pool_grad<4>(dy, codes, dx, down, across, channels, n);     \
        else max_pool_grad<1>(dy, codes, dx, down, across, channels, n);               \
    }
MAX_POOL(1, unsigned char)
MAX_POOL(2, unsigned short)
MAX_POOL(4, unsigned)

// Position in the picture, row * width + column, of each code.
extern "C" __global__ void positions(const unsigned *codes, long long *indices, AXES_ARGUMENTS) {
    MAKE_AXES
    int i = thread_number();
    if (i >= n) return;
    Place at(i, rows, columns, channels, each);
    int u = codes[i] / kernel_w, v = codes[i] % kernel_w;
    indices[i] = (long long)down.cell(at.row, u) * width + across.cell(at.column, v);
}
