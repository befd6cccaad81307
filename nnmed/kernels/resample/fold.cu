// Windows of pictures (N, H, W, C) as columns, and back:
//
//     unfold: y[n, (c, u, v), (i, j)] = x[n, c, i s + u d - p, j s + v d - p],  0 outside
//     fold:   each window is added where it was read, the transposed map
//
// Threads: one a number of the result. Folding, a thread gathers from all windows that hold its
// pixel, so no two add to one place. Bytes: one number read and written for each number of the
// columns. Limit: copy bandwidth.
#include "common.cuh"

#define ARGUMENTS                                                                           \
    int channels, int height, int width, int rows, int columns, int kernel_h, int kernel_w, \
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w, int n

extern "C" __global__ void unfold(const real *x, real *y, ARGUMENTS) {
    int i = thread_number();
    if (i >= n) return;
    int window = i % (rows * columns), tap = i / (rows * columns) % (kernel_h * kernel_w);
    int c = i / (rows * columns * kernel_h * kernel_w) % channels;
    int image = i / (rows * columns * kernel_h * kernel_w) / channels;
    int row = window / columns * stride_h + tap / kernel_w * dilation_h - padding_h;
    int column = window % columns * stride_w + tap % kernel_w * dilation_w - padding_w;
    bool inside = 0 <= row && row < height && 0 <= column && column < width;
    y[i] = inside ? x[((image * height + row) * width + column) * channels + c] : real(0);
}

extern "C" __global__ void fold(const real *x, real *y, ARGUMENTS) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels;
    int column = pixel % width, row = pixel / width % height, image = pixel / width / height;
    real sum = 0;
    for (int u = 0; u < kernel_h; u++) {
        int down = row + padding_h - u * dilation_h;
        if (down < 0 || down % stride_h || down / stride_h >= rows) continue;
        for (int v = 0; v < kernel_w; v++) {
            int right = column + padding_w - v * dilation_w;
            if (right < 0 || right % stride_w || right / stride_w >= columns) continue;
            int plane = ((image * channels + c) * kernel_h + u) * kernel_w + v;
            sum += x[(plane * rows + down / stride_h) * columns + right / stride_w];
        }
    }
    y[i] = sum;
}
