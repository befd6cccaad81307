// How positions of a result and taps of a window pick places of a source, along each of three axes:
//
//     place = position * multiply + tap * step + offset        outside of the source it reads 0
//
// A convolution reads its input with multiply = stride, step = dilation, offset = -padding. Its
// input gradient, and so a transposed convolution, reads dy the other way round: gpu_direct.py
// says how. A picture is a volume of depth 1, a signal a volume of one row.
//
// Memory is channels-last. A row of K, the inner dimension of the product, has a number for each
// tap and channel, channels fastest.
#pragma once

#include "gemm.cuh"

// The arguments of a kernel that make a Windows.
#define WINDOWS_ARGUMENTS                                                                  \
    int out_d, int out_h, int out_w, int in_d, int in_h, int in_w, int taps_d, int taps_h, \
    int taps_w, int multiply_d, int multiply_h, int multiply_w, int step_d, int step_h,    \
    int step_w, int offset_d, int offset_h, int offset_w
#define WINDOWS                                                                            \
    {{out_d, out_h, out_w}, {in_d, in_h, in_w}, {taps_d, taps_h, taps_w},                  \
     {multiply_d, multiply_h, multiply_w}, {step_d, step_h, step_w},                       \
     {offset_d, offset_h, offset_w}}

struct Position { int image, d, h, w; };
struct Tap { int d, h, w, channel; };

struct Windows {
    int out[3], in[3], taps[3], multiply[3], step[3], offset[3];

    // Pixels of the result in an image, and taps of a window.
    __device__ int pixels() const { return out[0] * out[1] * out[2]; }
    __device__ int size() const { return taps[0] * taps[1] * taps[2]; }

    // The pixel of that number, counted over all images, and the one some pixels further.
    __device__ __forceinline__ Position position(int pixel) const {
        int row = pixel / out[2], slice = row / out[1];
        return {slice / out[0], slice % out[0], row % out[1], pixel % out[2]};
    }
    __device__ __forceinline__ void move(Position &at, int by) const {
        for (at.w += by; at.w >= out[2]; at.w -= out[2]) {
            if (++at.h < out[1]) continue;
            at.h = 0;
            if (++at.d < out[0]) continue;
            at.d = 0;
            at.image++;
        }
    }

    // Where the window of a pixel begins in the source.
    __device__ __forceinline__ Position start(const Position &at) const {
        return {at.image, at.d * multiply[0] + offset[0], at.h * multiply[1] + offset[1],
                at.w * multiply[2] + offset[2]};
    }
    // A window that lies outside of all sources.
    __device__ static Position nowhere() { return {0, 0, 0, -(1 << 30)}; }

    // Number k of a row of K, and the one some numbers further.
    __device__ __forceinline__ Tap tap(int k, int channels) const {
        int number = k / channels, row = number / taps[2];
        return {row / taps[1], row % taps[1], number % taps[2], k % channels};
    }
    __device__ __forceinline__ void move(Tap &at, int by, int channels) const {
        for (at.channel += by; at.channel >= channels; at.channel -= channels) {
            if (++at.w < taps[2]) continue;
            at.w = 0;
            if (++at.h < taps[1]) continue;
            at.h = 0;
            at.d++;
        }
    }

    // The pixel of the source, counted over all images, at a tap of a window, or -1.
    __device__ __forceinline__ int source(const Position &start, const Tap &tap) const {
        int d = start.d + tap.d * step[0], h = start.h + tap.h * step[1];
        int w = start.w + tap.w * step[2];
        bool inside = (unsigned)d < (unsigned)in[0] && (unsigned)h < (unsigned)in[1] &&
                      (unsigned)w < (unsigned)in[2] && tap.d < taps[0];
        return inside ? ((start.image * in[0] + d) * in[1] + h) * in[2] + w : -1;
    }
};

// The channels of a group in a source whose pixels begin `pitch` apart.
struct Source {
    const real *x;
    Windows windows;
    int channels, pitch;
    bool in_one_go;

    __device__ Source(const real *x, const Windows &windows, int channels, int pitch)
        : x(x), windows(windows), channels(channels), pitch(pitch),
          in_one_go(in_quads(x, channels) && pitch % 4 == 0) {}

    // Four numbers of the row of K of a window: those of one tap, or of several.
    __device__ __forceinline__ Quad load(const Position &start, Tap tap) const {
        Quad quad = {};
        if (in_one_go) {
            int pixel = windows.source(start, tap);
            return pixel < 0 ? quad : read_pack<4>(x + (long long)pixel * pitch + tap.channel);
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int pixel = windows.source(start, tap);
            if (pixel >= 0) quad.v[j] = x[(long long)pixel * pitch + tap.channel];
            windows.move(tap, 1, channels);
        }
        return quad;
    }
};
