// Max and average pooling of (N, H, W, C) pictures, and their gradients.
//
// Threads: one a number of the result, neighbours along the channels, so that a warp reads and
// writes neighbours in memory. A thread walks over its window; going back, over the windows that
// hold its cell (a gather, so nothing has to be added by two threads at a time):
//
//     thread   0  1  2 ... C-1 | C ...           forward        back
//     channel  0  1  2 ... C-1 | 0 ...           [x x] . .      . [y y]
//     pixel        (i, j)      | (i, j+1)        [x x] . .      . [y y]
//
// Bytes: about one number read and one written for each cell and each window, since the cells of
// overlapping windows come from the cache; a comparison or addition a cell. Limit: copy bandwidth.
#include "common.cuh"

// The windows along an axis: window i covers i * stride - padding + u * dilation, u < kernel.
struct Axis {
    int size, count, kernel, stride, padding, dilation;

    __device__ int cell(int window, int u) const {
        return window * stride - padding + u * dilation;
    }
    __device__ bool inside(int cell) const { return 0 <= cell && cell < size; }

    // The window that has a cell as its u-th, or -1.
    __device__ int window(int cell, int u) const {
        int start = cell + padding - u * dilation;
        return start >= 0 && start % stride == 0 && start / stride < count ? start / stride : -1;
    }

    // The cells of a window that count, with the padding or without.
    __device__ int length(int window, bool with_padding) const {
        int start = cell(window, 0), stop = min(start + kernel, size + padding);
        return with_padding ? stop - start : min(stop, size) - max(start, 0);
    }
};

#define AXES_ARGUMENTS                                                                     \
    int height, int width, int rows, int columns, int kernel_h, int kernel_w, int stride_h, \
    int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w
#define MAKE_AXES                                                                \
    Axis down = {height, rows, kernel_h, stride_h, padding_h, dilation_h};       \
    Axis across = {width, columns, kernel_w, stride_w, padding_w, dilation_w};

// Where number i of an (N, rows, columns, C) array stands.
struct Place {
    int image, row, column, channel;

    __device__ Place(int i, int rows, int columns, int channels)
        : image(i / channels / columns / rows), row(i / channels / columns % rows),
          column(i / channels % columns), channel(i % channels) {}
    __device__ int in(int rows, int columns, int channels, int row, int column) const {
        return ((image * rows + row) * columns + column) * channels + channel;
    }
};

// The first largest wins, a NaN over all (the last one). codes: where in the window; or null.
template <class Code>
__device__ __forceinline__ void max_pool(
    const real *x, real *y, Code *codes, const Axis &down, const Axis &across, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.count, across.count, channels);
    real best = -1 / real(0);
    int code = -1;
    for (int u = 0; u < down.kernel; u++) {
        int row = down.cell(at.row, u);
        if (!down.inside(row)) continue;
        for (int v = 0; v < across.kernel; v++) {
            int column = across.cell(at.column, v);
            if (!across.inside(column)) continue;
            real value = x[at.in(down.size, across.size, channels, row, column)];
            if (code < 0 || value > best || value != value) {
                best = value, code = u * across.kernel + v;
            }
        }
    }
    y[i] = best;
    if (codes) codes[i] = (Code)(code < 0 ? 0 : code);
}

template <class Code>
__device__ __forceinline__ void max_pool_grad(
    const real *dy, const Code *codes, real *dx, const Axis &down, const Axis &across,
    int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    Place at(i, down.size, across.size, channels);
    real sum = 0;
    for (int u = 0; u < down.kernel; u++) {
        int row = down.window(at.row, u);
        if (row < 0) continue;
        for (int v = 0; v < across.kernel; v++) {
            int column = across.window(at.column, v);
            if (column < 0) continue;
            int k = at.in(down.count, across.count, channels, row, column);
            if (codes[k] == u * across.kernel + v) sum += dy[k];
        }
    }
    dx[i] = sum;
}

// A code takes as few bytes as the window allows.
extern "C" __global__ void max_pool_1(
    const real *x, real *y, unsigned char *codes, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool(x, y, codes, down, across, channels, n);
}

extern "C" __global__ void max_pool_2(
    const real *x, real *y, unsigned short *codes, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool(x, y, codes, down, across, channels, n);
}

extern "C" __global__ void max_pool_4(
    const real *x, real *y, unsigned *codes, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool(x, y, codes, down, across, channels, n);
}

extern "C" __global__ void max_pool_grad_1(
    const real *dy, const unsigned char *codes, real *dx, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool_grad(dy, codes, dx, down, across, channels, n);
}

extern "C" __global__ void max_pool_grad_2(
    const real *dy, const unsigned short *codes, real *dx, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool_grad(dy, codes, dx, down, across, channels, n);
}

extern "C" __global__ void max_pool_grad_4(
    const real *dy, const unsigned *codes, real *dx, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    max_pool_grad(dy, codes, dx, down, across, channels, n);
}

// What the sum of a window is divided by: `fixed`, unless that is 0.
__device__ __forceinline__ real divisor(
    const Axis &down, const Axis &across, int row, int column, int with_padding, real fixed
) {
    if (fixed != 0) return fixed;
    return max(1, down.length(row, with_padding) * across.length(column, with_padding));
}

extern "C" __global__ void average_pool(
    const real *x, real *y, int with_padding, real fixed, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    int i = thread_number();
    if (i >= n) return;
    Place at(i, rows, columns, channels);
    real sum = 0;
    for (int u = 0; u < kernel_h; u++) {
        int row = down.cell(at.row, u);
        if (!down.inside(row)) continue;
        for (int v = 0; v < kernel_w; v++) {
            int column = across.cell(at.column, v);
            if (across.inside(column)) sum += x[at.in(height, width, channels, row, column)];
        }
    }
    y[i] = sum / divisor(down, across, at.row, at.column, with_padding, fixed);
}

extern "C" __global__ void average_pool_grad(
    const real *dy, real *dx, int with_padding, real fixed, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    int i = thread_number();
    if (i >= n) return;
    Place at(i, height, width, channels);
    real sum = 0;
    for (int u = 0; u < kernel_h; u++) {
        int row = down.window(at.row, u);
        if (row < 0) continue;
        for (int v = 0; v < kernel_w; v++) {
            int column = across.window(at.column, v);
            if (column < 0) continue;
            real by = divisor(down, across, row, column, with_padding, fixed);
            sum += dy[at.in(rows, columns, channels, row, column)] / by;
        }
    }
    dx[i] = sum;
}

// Position in the picture, row * width + column, of each code.
extern "C" __global__ void positions(
    const unsigned *codes, long long *indices, AXES_ARGUMENTS, int channels, int n
) {
    MAKE_AXES
    int i = thread_number();
    if (i >= n) return;
    Place at(i, rows, columns, channels);
    int u = codes[i] / kernel_w, v = codes[i] % kernel_w;
    indices[i] = (long long)down.cell(at.row, u) * width + across.cell(at.column, v);
}
