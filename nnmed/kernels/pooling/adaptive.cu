// Pooling by windows that cover a picture (N, H, W, C) evenly: window i of an axis is the cells
// from floor(i size / count) to ceil((i + 1) size / count). Neighbours may share a cell.
//
// Threads: one a number of the result, neighbours along the channels; see windows.cu. Limit: copy
// bandwidth, as long as there are more results than the card has threads: a mean over whole
// pictures is taken by a block each.
#include "common.cuh"

struct Span {
    int start, stop;

    __device__ Span(int i, int size, int count)
        : start((long long)i * size / count),
          stop(((long long)(i + 1) * size + count - 1) / count) {}
};

extern "C" __global__ void adaptive_max(
    const real *x, real *y, long long *indices, int height, int width, int rows, int columns,
    int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels, image = pixel / columns / rows;
    Span down(pixel / columns % rows, height, rows), across(pixel % columns, width, columns);
    real best = 0;
    int index = -1;
    for (int row = down.start; row < down.stop; row++) {
        for (int column = across.start; column < across.stop; column++) {
            real value = x[((image * height + row) * width + column) * channels + c];
            if (index < 0 || value > best || value != value) {
                best = value, index = row * width + column;
            }
        }
    }
    y[i] = best, indices[i] = index;
}

extern "C" __global__ void adaptive_average(
    const real *x, real *y, int height, int width, int rows, int columns, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels, image = pixel / columns / rows;
    Span down(pixel / columns % rows, height, rows), across(pixel % columns, width, columns);
    real sum = 0;
    for (int row = down.start; row < down.stop; row++) {
        for (int column = across.start; column < across.stop; column++) {
            sum += x[((image * height + row) * width + column) * channels + c];
        }
    }
    y[i] = sum / ((down.stop - down.start) * (across.stop - across.start));
}

// A thread a cell: the windows that hold it are neighbours of the one it would fall into.
extern "C" __global__ void adaptive_average_grad(
    const real *dy, real *dx, int height, int width, int rows, int columns, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int c = i % channels, pixel = i / channels, image = pixel / width / height;
    int row = pixel / width % height, column = pixel % width;
    int first_u = max(0, (int)((long long)row * rows / height) - 1);
    int first_v = max(0, (int)((long long)column * columns / width) - 1);
    real sum = 0;
    for (int u = first_u; u < rows; u++) {
        Span down(u, height, rows);
        if (down.start > row) break;
        if (down.stop <= row) continue;
        for (int v = first_v; v < columns; v++) {
            Span across(v, width, columns);
            if (across.start > column) break;
            if (across.stop <= column) continue;
            sum += dy[((image * rows + u) * columns + v) * channels + c] /
                   ((down.stop - down.start) * (across.stop - across.start));
        }
    }
    dx[i] = sum;
}

// The mean of each channel over whole pictures: blocks of 32 channels, a warp for every eighth
// pixel; blocks: (channels, images).
extern "C" __global__ void mean_of_pictures(const real *x, real *y, int pixels, int channels) {
    __shared__ real sums[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = blockIdx.x * 32 + lane;
    real sum = 0;
    if (c < channels) {
        for (int p = warp; p < pixels; p += 8) sum += x[(blockIdx.y * pixels + p) * channels + c];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || c >= channels) return;
    for (int w = 1; w < 8; w++) sum += sums[w][lane];
    y[blockIdx.y * channels + c] = sum / pixels;
}
