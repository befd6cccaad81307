// Convolution in many groups of few channels, such as depthwise, whose products would leave a tile
// nearly empty. Formulas as in gather.cu and weight_grad.cu, with groups beside each other.
//
// Forward, and the gradient by the input: a thread for one output channel of some neighbouring
// pixels of a row, so that it reads a weight once for all of them:
//
//                 o = 0   1   2   3  ..
//     pixel 0   | t0  t1  t2  t3            neighbouring threads read neighbouring channels
//           1   |  .   .   .   .
//           2   |  .   .   .   .            . the same threads' further pixels
//           3   | t4  t5  t6  t7
//
// Operations: 2 taps channels for each output; bytes: x and y once, as the taps of neighbours
// are found in the cache. Limit: copy bandwidth.
#include "conv/windows.cuh"

constexpr int PIXELS = 4;

extern "C" __global__ void few_channels(
    const real *x, const real *weight, const real *bias, real *y, int images, int groups,
    int channels, int outputs, int stride_n, int stride_d, int stride_h, int stride_w,
    WINDOWS_ARGUMENTS
) {
    int all = groups * outputs, pitch = groups * channels, runs = (out_w + PIXELS - 1) / PIXELS;
    int o = thread_number() % all, run = thread_number() / all;
    int row = run / runs, slice = row / out_h, first = run % runs * PIXELS;
    int image = slice / out_d, d = slice % out_d, h = row % out_h;
    if (image >= images) return;
    x += o / outputs * channels;
    weight += o;

    real sums[PIXELS] = {};
    for (int u = 0; u < taps_d; u++) {
        int from_d = d * multiply_d + offset_d + u * step_d;
        if (from_d < 0 || from_d >= in_d) continue;
        for (int v = 0; v < taps_h; v++) {
            int from_h = h * multiply_h + offset_h + v * step_h;
            if (from_h < 0 || from_h >= in_h) continue;
            long long number = ((long long)image * in_d + from_d) * in_h + from_h;
            const real *line = x + number * in_w * pitch;
            for (int w = 0; w < taps_w; w++) {
                const real *by = weight + ((u * taps_h + v) * taps_w + w) * channels * all;
                int from_w = first * multiply_w + offset_w + w * step_w;
                for (int c = 0; c < channels; c++) {
                    real factor = by[c * all];
#pragma unroll
                    for (int p = 0; p < PIXELS; p++) {
                        int at = from_w + p * multiply_w;
                        if ((unsigned)at < (unsigned)in_w) sums[p] += line[at * pitch + c] * factor;
                    }
                }
            }
        }
    }
    real constant = bias ? bias[o] : real(0);
    y += (long long)image * stride_n + (long long)d * stride_d + h * stride_h + o;
#pragma unroll
    for (int p = 0; p < PIXELS; p++) {
        if (first + p < out_w) y[(first + p) * stride_w] = sums[p] + constant;
    }
}

// The gradient by the weight. A block has 32 neighbouring output channels and the rows of pixels
// of one part, shared out over 8 threads for each channel, whose sums it adds in the end. A
// thread has ROWS rows of the result (a tap and a channel each), so that it reads dy once for all
// of them. Blocks: (output channels, rows of the result, parts).
//
// Operations: 2 for each pixel and number of the result; bytes: dy and x once for each ROWS rows.
// Limit: copy bandwidth.
constexpr int ROWS = 9, LANES = 8;

// What a row of the result meets in one row of pixels.
struct Line { const real *numbers; int first_w; };

__device__ __forceinline__ Line line_of(
    const real *x, const Windows &windows, const Position &start, int row, int channels, int pitch
) {
    Tap tap = windows.tap(row, channels);
    int d = start.d + tap.d * windows.step[0], h = start.h + tap.h * windows.step[1];
    bool inside = (unsigned)d < (unsigned)windows.in[0] && (unsigned)h < (unsigned)windows.in[1];
    if (!inside || tap.d >= windows.taps[0]) return {x, Windows::nowhere().w};
    long long number = ((long long)start.image * windows.in[0] + d) * windows.in[1] + h;
    return {x + number * windows.in[2] * pitch + tap.channel, start.w + tap.w * windows.step[2]};
}

extern "C" __global__ void __launch_bounds__(32 * LANES) few_channels_weight_grad(
    const real *dy, const real *x, real *sums, int images, int groups, int channels, int outputs,
    int each, WINDOWS_ARGUMENTS
) {
    __shared__ real shared[LANES][ROWS][32];
    Windows windows = WINDOWS;
    int all = groups * outputs, pitch = groups * channels, o = blockIdx.x * 32 + threadIdx.x;
    int first = blockIdx.z * each, end = min(images * out_d * out_h, first + each);
    int group = o / outputs, first_row = blockIdx.y * ROWS;
    x += group * channels;

    real own[ROWS] = {};
    for (int pixels = first + threadIdx.y; o < all && pixels < end; pixels += LANES) {
        Position start = windows.start(windows.position(pixels * out_w));
        const real *from_dy = dy + (long long)pixels * out_w * all + o;
        Line lines[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            lines[r] = line_of(x, windows, start, first_row + r, channels, pitch);
        }
        for (int w = 0; w < out_w; w++) {
            real gradient = from_dy[w * all];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                int at = lines[r].first_w + w * multiply_w;
                bool inside = (unsigned)at < (unsigned)in_w;
                if (inside) own[r] += gradient * lines[r].numbers[at * pitch];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) shared[threadIdx.y][r][threadIdx.x] = own[r];
    __syncthreads();

    int rows = windows.size() * channels;
    for (int r = threadIdx.y; o < all && r < min(ROWS, rows - first_row); r += LANES) {
        real sum = 0;
        for (int lane = 0; lane < LANES; lane++) sum += shared[lane][r][threadIdx.x];
        long long place = ((long long)blockIdx.z * groups + group) * rows + first_row + r;
        sums[place * outputs + o % outputs] = sum;
    }
}
