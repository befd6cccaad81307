// Windows of pictures (N, H, W, C) as columns (N, C * kh * kw, windows), and back:
//
//     unfold: y[n, (c, u, v), (i, j)] = x[n, c, i s + u d - p, j s + v d - p],  0 outside
//     fold:   each window is added where it was read, the transposed map
//
// Threads: one a number of the result, neighbours along the columns of the picture, as the
// windows lie side by side in memory. Folding, a thread gathers from all windows that hold its
// pixel, so no two add to one place:
//
//     thread    0 1 2 ..  W-1 | W ..           unfold: a read from x, C numbers apart, and from
//     column    0 1 2 ..      | 0 ..           the cache mostly; fold: one such write
//
// Bytes: one number read and one written for each number of the columns. Limit: copy bandwidth.
#include "common.cuh"

#define ARGUMENTS                                                                           \
    int channels, int height, int width, int rows, int columns, int kernel_h, int kernel_w, \
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int n

extern "C" __global__ void unfold(const real *x, real *y, ARGUMENTS) {
    int i = thread_number();
    if (i >= n) return;
    int window = i % (rows * columns), plane = i / (rows * columns);
    int tap = plane % (kernel_h * kernel_w), channel = plane / (kernel_h * kernel_w);
    int image = channel / channels, c = channel % channels;
    int row = window / columns * stride_h + tap / kernel_w * dilation_h - padding_h;
    int column = window % columns * stride_w + tap % kernel_w * dilation_w - padding_w;
    bool inside = 0 <= row && row < height && 0 <= column && column < width;
    y[i] = inside ? x[((image * height + row) * width + column) * channels + c] : real(0);
}

extern "C" __global__ void fold(const real *x, real *y, ARGUMENTS) {
    int i = thread_number();
    if (i >= n) return;
    int column = i % width, row = i / width % height, channel = i / width / height;
    int image = channel / channels, c = channel % channels;
    real sum = 0;
    for (int u = 0; u < kernel_h; u++) {
        int down = row + padding_h - u * dilation_h;
        if (down < 0 || down % stride_h || down / stride_h >= rows) continue;
        for (int v = 0; v < kernel_w; v++) {
            int right = column + padding_w - v * dilation_w;
            if (right < 0 || right % stride_w || right / stride_w >= columns) continue;
            int plane = (channel * kernel_h + u) * kernel_w + v;
            sum += x[(plane * rows + down / stride_h) * columns + right / stride_w];
        }
    }
    y[((image * height + row) * width + column) * channels + c] = sum;
}
