// Tensor cores: a warp multiplies small matrices whose numbers lie in its threads' registers.
//
// One instruction, mma.m16n8k8, adds the product of A (16 x 8) and B (8 x 8) to D (16 x 8). Each of
// the 32 threads, with g = lane / 4 from 0 to 7 and t = lane % 4, holds these numbers of them, its
// fragments (PTX ISA, "Matrix Fragments for mma.m16n8k8"):
//
//                                      column g
//                                     +--------+
//                       B      k 2t   |   b0   |
//                              k 2t+1 |   b1   |
//                                     +--------+
//              k 2t  k 2t+1           column 2t  2t+1
//             +-----+-----+             +-----+-----+
//     row g   | a0  | a1  |     row g   | d0  | d1  |
//     row g+8 | a2  | a3  |     row g+8 | d2  | d3  |
//             +-----+-----+             +-----+-----+
//                   A                         D
//
// Which line of a tile in shared memory is called row g or column g is ours to choose. Four
// instructions, (m, n) = (0, 0) to (1, 1), make 32 x 16 numbers of C; rows and columns are dealt to
// them so that a thread reads neighbours and receives a 4 x 4 square, as gemm.cuh wants it:
//
//                                   instruction (m, n)          in the 32 x 16 numbers
//     A    a0, a1 and a2, a3        rows g and g+8              rows 4g+2m and 4g+2m+1
//     B    b0, b1                   column g                    column 2g+n
//     D    d0, d2 and d1, d3        columns 2t and 2t+1         columns 4t+n and 4t+n+2
//
// So A comes as a quad of rows and B as a pair of columns, at k = 2t and at 2t+1, without conflicts
// of banks.
//
// Operands are rounded when they are read from shared memory, to 11 bits with the leading one in
// float16 and tfloat32, to 8 in bfloat16; D is float32. Operations: 2048 for each instruction and
// warp. Limit: the rate of tensor cores, or the shared memory's: 32 x 8 and 8 x 16 numbers are read
// for four instructions.
#pragma once

#include "packs.cuh"

#ifdef __CUDACC__  // elsewhere, a test brings these six instructions along

// Two numbers in a register, rounded to nearest, ties to even; what is too large becomes infinite.
__device__ __forceinline__ unsigned round_f16x2(float low, float high) {
    unsigned pair;
    asm("{ .reg .f16 low, high; cvt.rn.f16.f32 low, %1; cvt.rn.f16.f32 high, %2;"
        " mov.b32 %0, {low, high}; }" : "=r"(pair) : "f"(low), "f"(high));
    return pair;
}
__device__ __forceinline__ unsigned round_bf16x2(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
// One number, rounded to nearest, ties away from zero.
__device__ __forceinline__ unsigned round_tf32(float number) {
    unsigned result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(number));
    return result;
}

#define MMA_OF_PAIRS(name, type)                                                              \
    __device__ __forceinline__ void name(                                                     \
        float &d0, float &d1, float &d2, float &d3, unsigned a01, unsigned a23, unsigned b01  \
    ) {                                                                                       \
        asm volatile(                                                                         \
            "mma.sync.aligned.m16n8k8.row.col.f32." type "." type ".f32"                      \
            " {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"                            \
            : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3) : "r"(a01), "r"(a23), "r"(b01));         \
    }
MMA_OF_PAIRS(mma_f16, "f16")
MMA_OF_PAIRS(mma_bf16, "bf16")

// Here a0 and a1 are those of k = t in rows g and g+8, a2 and a3 of k = t+4; so are b0 and b1.
__device__ __forceinline__ void mma_tf32(
    float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2,
    unsigned a3, unsigned b0, unsigned b1
) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
        " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d0), "+f"(d1), "+f"(d2), "+f"(d3)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

#endif

// How numbers are multiplied: on the cores for float32, without rounding.
struct float32 { static constexpr bool ON_TENSOR_CORES = false; };

struct float16 {
    static constexpr bool ON_TENSOR_CORES = true;
    typedef unsigned Pair;  // the numbers of one line at k = 2t and 2t+1

    __device__ static Pair round(float low, float high) { return round_f16x2(low, high); }
    __device__ static void multiply_add(
        float &d0, float &d1, float &d2, float &d3, Pair a01, Pair a23, Pair b01
    ) {
        mma_f16(d0, d1, d2, d3, a01, a23, b01);
    }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
typedef float32 bfloat16, tfloat32;  // Turing's tensor cores know neither
#else

struct bfloat16 {
    static constexpr bool ON_TENSOR_CORES = true;
    typedef unsigned Pair;

    __device__ static Pair round(float low, float high) { return round_bf16x2(low, high); }
    __device__ static void multiply_add(
        float &d0, float &d1, float &d2, float &d3, Pair a01, Pair a23, Pair b01
    ) {
        mma_bf16(d0, d1, d2, d3, a01, a23, b01);
    }
};

// The instruction wants k = t and t+4 of a thread. Sums do not mind the order of k, as long as A
// and B agree: it gets 2t and 2t+1 like the others.
struct tfloat32 {
    static constexpr bool ON_TENSOR_CORES = true;
    struct Pair { unsigned low, high; };

    __device__ static Pair round(float low, float high) {
        return {round_tf32(low), round_tf32(high)};
    }
    __device__ static void multiply_add(
        float &d0, float &d1, float &d2, float &d3, Pair a01, Pair a23, Pair b01
    ) {
        mma_tf32(d0, d1, d2, d3, a01.low, a23.low, a01.high, a23.high, b01.low, b01.high);
    }
};

#endif

// Add the products of 8 columns of A and rows of B, in shared memory, to a thread's sums, which
// begin at a row and a column of the tile.
template <class T, class Format>
__device__ __forceinline__ void multiply_on_tensor_cores(
    const float *a, const float *b, int row, int column, float (&sums)[T::TM][T::TN]
) {
    static_assert(T::BK == 8, "one instruction along k");
    typedef typename Format::Pair Pair;
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    a += 2 * t * T::A_PITCH + row;
    b += 2 * t * T::B_PITCH + column - 4 * t + 2 * g;
    Pair right[T::TN / 2];
#pragma unroll
    for (int n = 0; n < T::TN / 2; n += 2) {
        Pack<float, 2> low = read_pack<2>(b + n * 2 * T::COLUMNS);
        Pack<float, 2> high = read_pack<2>(b + n * 2 * T::COLUMNS + T::B_PITCH);
        right[n] = Format::round(low.v[0], high.v[0]);
        right[n + 1] = Format::round(low.v[1], high.v[1]);
    }
#pragma unroll
    for (int i = 0; i < T::TM; i += 4) {
        Pack<float, 4> low = read_pack<4>(a + i * T::ROWS);
        Pack<float, 4> high = read_pack<4>(a + i * T::ROWS + T::A_PITCH);
#pragma unroll
        for (int m = 0; m < 4; m += 2) {
            Pair upper = Format::round(low.v[m], high.v[m]);
            Pair lower = Format::round(low.v[m + 1], high.v[m + 1]);
#pragma unroll
            for (int n = 0; n < T::TN / 2; n++) {
                int first = n / 2 * 4 + n % 2;
                float *d = sums[i + m] + first, *below = sums[i + m + 1] + first;
                Format::multiply_add(d[0], d[2], below[0], below[2], upper, lower, right[n]);
            }
        }
    }
}
