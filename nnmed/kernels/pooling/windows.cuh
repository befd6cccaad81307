// Windows that lie over (N, H, W, C) pictures at a fixed distance, and who works on a number.
//
// Threads: one for `each` numbers of the result, 4 neighbouring channels or 1; the next channels
// belong to the next thread, so that a warp reads and writes neighbours in memory. A thread walks
// over its window; going back, over the windows that hold its cell (a gather, so nothing has to
// be added by two threads at a time):
//
//     thread    0     1    ..  C/4-1 | C/4 ..          forward        back
//     channels  0-3   4-7  ..        | 0-3 ..          [x x] . .      . [y y]
//     pixel     (i, j)               | (i, j+1)        [x x] . .      . [y y]
//
// Bytes: about one number read and one written for each cell and each window, since the cells of
// overlapping windows come from the cache; a comparison or addition a cell. Limit: copy bandwidth.
#pragma once

#include "packs.cuh"

// The windows along an axis: window i covers i * stride - padding + u * dilation, u < kernel.
struct Axis {
    int size, count, kernel, stride, padding, dilation;

    __device__ int cell(int window, int u) const {
        return window * stride - padding + u * dilation;
    }
    __device__ bool inside(int cell) const { return 0 <= cell && cell < size; }

    // The windows that reach over a cell are first to last; it is the u-th of a window, or -1
    // where dilation skips it.
    __device__ int first(int cell) const {
        return max(0, cell + padding - (kernel - 1) * dilation + stride - 1) / stride;
    }
    __device__ int last(int cell) const { return min(count - 1, (cell + padding) / stride); }
    __device__ int u(int window, int cell) const {
        int steps = cell + padding - window * stride;
        return steps % dilation ? -1 : steps / dilation;
    }

    // The cells of a window that count, with the padding or without.
    __device__ int length(int window, bool with_padding) const {
        int start = cell(window, 0), stop = min(start + kernel, size + padding);
        return with_padding ? stop - start : min(stop, size) - max(start, 0);
    }
};

#define AXES_ARGUMENTS                                                                          \
    int height, int width, int rows, int columns, int kernel_h, int kernel_w, int stride_h,     \
    int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int channels,   \
    int each, int n
#define MAKE_AXES                                                                \
    Axis down = {height, rows, kernel_h, stride_h, padding_h, dilation_h};       \
    Axis across = {width, columns, kernel_w, stride_w, padding_w, dilation_w};

// Where the thread of number i works in an (N, rows, columns, C) array.
struct Place {
    int image, row, column, channel;

    __device__ Place(int i, int rows, int columns, int channels, int each) {
        int pixel = i / (channels / each), line = pixel / columns;
        channel = i % (channels / each) * each, column = pixel % columns;
        image = line / rows, row = line % rows;
    }
    __device__ int in(int rows, int columns, int channels, int row, int column) const {
        return ((image * rows + row) * columns + column) * channels + channel;
    }
};
