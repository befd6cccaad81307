// A block's tile of a product C = A B, whatever A, B and C are: a convolution is a product too.
//
// The block has BM x BN numbers of C, each thread TM x TN of them in registers. Step by step it
// brings BK columns of A and BK rows of B into shared memory; while it multiplies those, it
// already reads the next ones (double buffering):
//
//                      BN                   a thread's numbers of C are 4 x 4 squares, which lie
//                  +--------+  B            apart, so that neighbouring threads read neighbouring
//               BK |        |               numbers of the tiles, here with TM = TN = 8:
//                  +--------+                   . . . . . . . .
//         BK       +--------+                   . # . . . # . .    # a square of one thread
//       +----+     |        |                   . . . . . . . .    . the others'
//    BM |    |  BM |   C    |                   . . . . . . . .
//       +----+     +--------+                   . # . . . # . .
//          A
//
// A warp's threads lie 4 by 8. In a PRODUCT of fewer bits than float32 they lie 8 by 4, with the
// same squares, and tensor_cores.cuh multiplies the tiles.
//
// For each number of C and of K 2 operations; a block reads (BM + BN) K numbers for BM BN K
// multiplications, so 128 x 128 tiles read one number for 64 multiplications. Limit: multiply-add
// rate.
//
// An operand, A or B, hands out quads: four numbers that are neighbours along k, or along a line
// (a row of A, a column of B, lines beside each other). A thread reads some in each step, its
// slots, all at the same k of the step or all in the same lines. An operand has
//
//     ALONG_K                   whether the numbers of a quad are neighbours along k
//     start(slot, k, line)      where the slot's first quad begins
//     load(slot)                the quad, with 0 for what lies outside
//     step(by)                  go on by so many along k
//
// and C has store(row, column, quads), for the four rows from `row` on.
#pragma once

#include "tensor_cores.cuh"

// What operands are rounded to when they are multiplied: a format of tensor_cores.cuh.
#ifndef PRODUCT
#define PRODUCT float32
#endif
typedef PRODUCT Product;

typedef Pack<real, 4> Quad;

// Whether quads of rows of `length` numbers can be moved in one go.
__device__ __forceinline__ bool in_quads(const real *rows, int length) {
    return length % 4 == 0 && (unsigned long long)rows % 16 == 0;
}

// The quad that begins at `from`, if `left` numbers are left there.
__device__ __forceinline__ Quad read_quad(const real *from, int left, bool in_one_go) {
    Quad quad = {};
    if (left <= 0) return quad;
    if (in_one_go) return read_pack<4>(from);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (j < left) quad.v[j] = from[j];
    }
    return quad;
}

__device__ __forceinline__ void write_quad(real *to, const Quad &quad, int left, bool in_one_go) {
    if (in_one_go) {
        write_pack(to, quad);
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (j < left) to[j] = quad.v[j];
    }
}

template <int BM_, int BN_, int TM_, int TN_> struct Tile {
    static constexpr int BM = BM_, BN = BN_, BK = 8, TM = TM_, TN = TN_;
    static constexpr int ROWS = BM / TM, COLUMNS = BN / TN, THREADS = ROWS * COLUMNS;
    // Blocks that share a multiprocessor: 128 registers for a thread, or all for float64.
    static constexpr int RESIDENT = (sizeof(real) == 4 ? 512 : 256) / THREADS;
    // Lines are a little longer, or writes along k would meet in one bank.
    static constexpr int A_PITCH = BM + 4, B_PITCH = BN + 4;
    static constexpr int SHARED = 2 * BK * (A_PITCH + B_PITCH);
    // Quads that a thread reads in a step.
    static constexpr int A_SLOTS = (BM * BK / 4 + THREADS - 1) / THREADS;
    static constexpr int B_SLOTS = (BN * BK / 4 + THREADS - 1) / THREADS;
};

// gpu_direct.py has the same sizes.
typedef Tile<128, 128, 8, 8> Wide;
typedef Tile<128, 64, 8, 8> Middle;
typedef Tile<128, 32, 8, 4> Thin;
typedef Tile<32, 32, 4, 4> Small;

// What a thread brings of an operand, from memory to a tile (BK, WIDTH) in shared memory.
template <class T, int WIDTH, int SLOTS, bool ALONG_K> struct Feed {
    static constexpr int QUADS = WIDTH * T::BK / 4, BESIDE = ALONG_K ? T::BK / 4 : WIDTH / 4;
    Quad next[SLOTS];

    __device__ static int place(int slot) { return threadIdx.x + slot * T::THREADS; }
    __device__ static bool exists(int slot) {
        return QUADS % T::THREADS == 0 || place(slot) < QUADS;
    }
    __device__ static int k(int slot) {
        return ALONG_K ? place(slot) % BESIDE * 4 : place(slot) / BESIDE;
    }
    __device__ static int line(int slot) {
        return ALONG_K ? place(slot) / BESIDE : place(slot) % BESIDE * 4;
    }

    template <class Operand>
    __device__ __forceinline__ void start(Operand &from, int first_k, int first_line) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) from.start(s, first_k + k(s), first_line + line(s));
    }
    template <class Operand> __device__ __forceinline__ void read(Operand &from) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            if (exists(s)) next[s] = from.load(s);
        }
        from.step(T::BK);
    }
    __device__ __forceinline__ void keep(real *tile) const {
        constexpr int PITCH = WIDTH + 4;
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            if (!exists(s)) continue;
            real *to = tile + k(s) * PITCH + line(s);
            if constexpr (ALONG_K) {
#pragma unroll
                for (int j = 0; j < 4; j++) to[j * PITCH] = next[s].v[j];
            } else {
                write_pack(to, next[s]);
            }
        }
    }
};

// Add the products of BK columns of A and rows of B, in shared memory, to a thread's sums.
template <class T>
__device__ __forceinline__ void multiply_tiles(
    const real *a, const real *b, int row, int column, real (&sums)[T::TM][T::TN]
) {
#pragma unroll
    for (int k = 0; k < T::BK; k++) {
        Quad left[T::TM / 4], right[T::TN / 4];
#pragma unroll
        for (int i = 0; i < T::TM / 4; i++) {
            left[i] = read_pack<4>(a + k * T::A_PITCH + row + i * 4 * T::ROWS);
        }
#pragma unroll
        for (int j = 0; j < T::TN / 4; j++) {
            right[j] = read_pack<4>(b + k * T::B_PITCH + column + j * 4 * T::COLUMNS);
        }
#pragma unroll
        for (int i = 0; i < T::TM; i++) {
#pragma unroll
            for (int j = 0; j < T::TN; j++) {
                sums[i][j] += left[i / 4].v[i % 4] * right[j / 4].v[j % 4];
            }
        }
    }
}

// Make the tile of C that begins at a row and a column, adding up k from first_k to last_k.
template <class T, class A, class B, class C>
__device__ __forceinline__ void tile_gemm(
    A &a, B &b, const C &c, int first_row, int first_column, int first_k, int last_k, real *shared
) {
    real *a_tiles = shared, *b_tiles = shared + 2 * T::BK * T::A_PITCH;
    // Lanes of a warp beside each other, and warps.
    constexpr int LANES = Product::ON_TENSOR_CORES ? 4 : 8, WARPS = T::COLUMNS / LANES;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = (warp / WARPS * (32 / LANES) + lane / LANES) * 4;
    int column = (warp % WARPS * LANES + lane % LANES) * 4;
    Feed<T, T::BM, T::A_SLOTS, A::ALONG_K> feed_a;
    Feed<T, T::BN, T::B_SLOTS, B::ALONG_K> feed_b;
    real sums[T::TM][T::TN] = {};

    feed_a.start(a, first_k, first_row);
    feed_b.start(b, first_k, first_column);
    feed_a.read(a);
    feed_b.read(b);
    for (int k = first_k, buffer = 0; k < last_k; k += T::BK, buffer = 1 - buffer) {
        real *a_tile = a_tiles + buffer * T::BK * T::A_PITCH;
        real *b_tile = b_tiles + buffer * T::BK * T::B_PITCH;
        feed_a.keep(a_tile);
        feed_b.keep(b_tile);
        // One barrier is enough: the tiles of the step before are the other ones.
        __syncthreads();
        if (k + T::BK < last_k) {
            feed_a.read(a);
            feed_b.read(b);
        }
        if constexpr (Product::ON_TENSOR_CORES) {
            multiply_on_tensor_cores<T, Product>(a_tile, b_tile, row, column, sums);
        } else {
            multiply_tiles<T>(a_tile, b_tile, row, column, sums);
        }
    }
#pragma unroll
    for (int i = 0; i < T::TM; i += 4) {
#pragma unroll
        for (int j = 0; j < T::TN; j += 4) {
            Quad quads[4];
#pragma unroll
            for (int n = 0; n < 16; n++) quads[n / 4].v[n % 4] = sums[i + n / 4][j + n % 4];
            c.store(first_row + row + i * T::ROWS, first_column + column + j * T::COLUMNS, quads);
        }
    }
}

// B as a matrix in memory: rows of `columns` numbers that begin `pitch` apart; `end` of them.
template <int SLOTS> struct Matrix {
    static constexpr bool ALONG_K = false;
    const real *numbers;
    int end, columns, pitch;
    bool in_one_go;
    int column, k[SLOTS];

    __device__ Matrix(const real *numbers, int end, int columns, int pitch)
        : numbers(numbers), end(end), columns(columns), pitch(pitch),
          in_one_go(in_quads(numbers, columns) && pitch % 4 == 0) {}
    __device__ __forceinline__ void start(int slot, int first, int line) {
        k[slot] = first;
        column = line;
    }
    __device__ __forceinline__ Quad load(int slot) const {
        int left = k[slot] < end ? columns - column : 0;
        return read_quad(numbers + (long long)k[slot] * pitch + column, left, in_one_go);
    }
    __device__ __forceinline__ void step(int by) {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) k[s] += by;
    }
};
