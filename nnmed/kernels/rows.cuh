// The rows of an array (outer, classes, inner) along its classes, and who works on a row.
//
// Element c of a row lies c * inner further on. Threads: `lanes` a row, 1 or 32, the lanes of a
// warp. Many classes side by side are read by a warp together, few by a single thread; where
// inner > 1, neighbouring threads read neighbouring rows:
//
//     lanes = 32, inner = 1                     lanes = 1, inner > 1
//     row    | 0 1 2 .. 31 | 32 33 .. 63 |      thread   0 1 2 3 ...
//     lane     0 1 2 .. 31    0  1 .. 31        c = 0  | . . . .      c = 1  | . . . .
#pragma once

#include "common.cuh"

struct Row {
    int number, first, lane, lanes, classes, inner;

    // Find the row of this thread, or of another, and return whether there is one.
    __device__ bool find(int rows, int classes_, int inner_, int lanes_) {
        return find(thread_number(), rows, classes_, inner_, lanes_);
    }
    __device__ bool find(int thread, int rows, int classes_, int inner_, int lanes_) {
        number = thread / lanes_, lane = thread % lanes_;
        classes = classes_, inner = inner_, lanes = lanes_;
        if (number >= rows) return false;
        first = number / inner * classes * inner + number % inner;
        return true;
    }

    // The place of class c.
    __device__ int at(int c) const { return first + c * inner; }

    // The sum of what the lanes have, in each of them.
    __device__ real sum(real value) const { return lanes == 32 ? warp_sum(value) : value; }

    __device__ real largest(const real *x) const {
        real best = -1 / real(0);
        for (int c = lane; c < classes; c += lanes) {
            real value = x[at(c)];
            if (value > best || value != value) best = value;
        }
        return lanes == 32 ? warp_max(best) : best;
    }

    // The sum of exp(x - largest).
    __device__ real powers(const real *x, real largest) const {
        real total = 0;
        for (int c = lane; c < classes; c += lanes) total += exp(x[at(c)] - largest);
        return sum(total);
    }
};
