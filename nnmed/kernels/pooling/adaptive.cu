// Pooling by windows that cover a picture (N, H, W, C) evenly: window i of an axis is the cells
// from floor(i size / count) to ceil((i + 1) size / count). Neighbours may share a cell.
//
//     y[n,c,i,j] = largest, or mean, of x[n,c, rows of i, columns of j]
//     dx[n,c,a,b] = sum of dy[n,c,i,j] / cells(i, j) over the windows (i, j) that hold (a, b)
//
// Threads: as in windows.cuh, one for `each` numbers of the result. Limit: copy bandwidth, as long
// as there are more results than the card has threads; whole.cu takes the means of whole pictures.
#include "packs.cuh"

struct Span {
    int start, stop;

    __device__ Span(int i, int size, int count)
        : start((long long)i * size / count),
          stop(((long long)(i + 1) * size + count - 1) / count) {}
    __device__ int length() const { return stop - start; }
};

// The window of the thread of number i, and the place of its image in x.
struct Window {
    Span down, across;
    int start;

    __device__ Window(int i, int height, int width, int rows, int columns, int channels, int each)
        : down(i / (channels / each) / columns % rows, height, rows),
          across(i / (channels / each) % columns, width, columns),
          start(i / (channels / each) / columns / rows * height * width * channels +
                i % (channels / each) * each) {}
    __device__ int cells() const { return down.length() * across.length(); }
};

#define ARGUMENTS \
    int height, int width, int rows, int columns, int channels, int each, int n
#define SIZES height, width, rows, columns, channels

template <int EACH>
__device__ __forceinline__ void largest(
    const real *x, real *y, long long *indices, int height, int width, int rows, int columns,
    int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Window window(i, SIZES, EACH);
    int first = window.down.start * width + window.across.start;
    auto best = read_pack<EACH>(x + window.start + first * channels);
    auto index = Pack<long long, EACH>::of(first);
    for (int row = window.down.start; row < window.down.stop; row++) {
        for (int column = window.across.start; column < window.across.stop; column++) {
            int cell = row * width + column;
            auto values = read_pack<EACH>(x + window.start + cell * channels);
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                real value = values.v[j];
                if (value > best.v[j] || value != value) best.v[j] = value, index.v[j] = cell;
            }
        }
    }
    write_pack(y + i * EACH, best);
    write_pack(indices + i * EACH, index);
}

template <int EACH>
__device__ __forceinline__ void mean(
    const real *x, real *y, int height, int width, int rows, int columns, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Window window(i, SIZES, EACH);
    auto sum = Pack<real, EACH>::of(0);
    for (int row = window.down.start; row < window.down.stop; row++) {
        for (int column = window.across.start; column < window.across.stop; column++) {
            add(sum, read_pack<EACH>(x + window.start + (row * width + column) * channels), 1);
        }
    }
#pragma unroll
    for (int j = 0; j < EACH; j++) sum.v[j] /= window.cells();
    write_pack(y + i * EACH, sum);
}

// Window i holds cell j just where window j, with size and count exchanged, holds cell i.
template <int EACH>
__device__ __forceinline__ void share(
    const real *dy, real *dx, int height, int width, int rows, int columns, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Window holding(i, rows, columns, height, width, channels, EACH);
    auto sum = Pack<real, EACH>::of(0);
    for (int u = holding.down.start; u < holding.down.stop; u++) {
        int length = Span(u, height, rows).length();
        for (int v = holding.across.start; v < holding.across.stop; v++) {
            auto values = read_pack<EACH>(dy + holding.start + (u * columns + v) * channels);
            add(sum, values, real(1) / (length * Span(v, width, columns).length()));
        }
    }
    write_pack(dx + i * EACH, sum);
}

extern "C" __global__ void adaptive_max(const real *x, real *y, long long *indices, ARGUMENTS) {
    if (each == 4) largest<4>(x, y, indices, SIZES, n);
    else largest<1>(x, y, indices, SIZES, n);
}

extern "C" __global__ void adaptive_average(const real *x, real *y, ARGUMENTS) {
    if (each == 4) mean<4>(x, y, SIZES, n);
    else mean<1>(x, y, SIZES, n);
}

extern "C" __global__ void adaptive_average_grad(const real *dy, real *dx, ARGUMENTS) {
    if (each == 4) share<4>(dy, dx, SIZES, n);
    else share<1>(dy, dx, SIZES, n);
}
