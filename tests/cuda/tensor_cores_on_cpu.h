// The instructions of tensor_cores.cuh, for the threads of cuda_on_cpu.h.
//
// As on the card, a warp's threads hold parts of the matrices in their registers, and each sees
// those of the others only in the instruction itself, which takes the registers of all 32 lanes and
// gives each lane four numbers of the result. Where they lie is from NVIDIA's PTX ISA, "Matrix
// Fragments for mma.m16n8k8".
#pragma once

namespace emulator {

static inline float from_bits(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline unsigned to_bits(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }

static unsigned encode_f16(float x) {
    unsigned sign = to_bits(x) >> 16 & 0x8000;
    float size = fabsf(x);
    if (std::isnan(x)) return 0x7e00;
    if (size >= 65520) return sign | 0x7c00;  // nearer to 65536 than to the largest, 65504
    int exponent = size < 0x1p-14f ? -14 : ilogbf(size);
    return sign | (((exponent + 14) << 10) + (int)nearbyintf(ldexpf(size, 10 - exponent)));
}

static float decode_f16(unsigned bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return fraction ? NAN : bits >> 15 ? -INFINITY : INFINITY;
    float size = ldexpf(fraction + (exponent ? 1024 : 0), (exponent ? exponent : 1) - 25);
    return bits >> 15 ? -size : size;
}

static unsigned encode_bf16(float x) {
    if (std::isnan(x)) return 0x7fff;
    unsigned bits = to_bits(x);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static float decode_bf16(unsigned bits) { return from_bits(bits << 16); }

// What all lanes of the warp have in their registers.
template <int N> struct Registers {
    unsigned of[WARP][N];

    explicit Registers(const unsigned (&own)[N]) {
        for (int r = 0; r < N; r++) {
            exchange(~0u, own[r], current->lane);
            for (int lane = 0; lane < WARP; lane++) of[lane][r] = taken[current->warp][lane];
        }
    }
};

// Two numbers lie in a register: A's in two registers, B's in the third.
template <float (*decode)(unsigned)> struct PairFragments {
    Registers<3> registers;

    float number(int lane, int r, int k) const {
        return decode(registers.of[lane][r] >> 16 * (k % 2) & 0xffff);
    }
    float a(int row, int k) const { return number(row % 8 * 4 + k / 2, row / 8, k); }
    float b(int k, int column) const { return number(column * 4 + k / 2, 2, k); }
};

// One number lies in a register, whose 13 lowest bits do not count: A's in four, B's in two.
struct Tf32Fragments {
    Registers<6> registers;

    float number(int lane, int r) const { return from_bits(registers.of[lane][r] & ~0x1fffu); }
    float a(int row, int k) const { return number(row % 8 * 4 + k % 4, row / 8 + k / 4 * 2); }
    float b(int k, int column) const { return number(column * 4 + k % 4, 4 + k / 4); }
};

template <class Fragments>
static void mma(float &d0, float &d1, float &d2, float &d3, const Fragments &from) {
    int g = current->lane / 4, t = current->lane % 4;
    float *d[] = {&d0, &d1, &d2, &d3};
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 8; k++) *d[i] += from.a(g + i / 2 * 8, k) * from.b(k, 2 * t + i % 2);
    }
}

}  // namespace emulator

static inline unsigned round_f16x2(float low, float high) {
    return emulator::encode_f16(low) | emulator::encode_f16(high) << 16;
}
static inline unsigned round_bf16x2(float low, float high) {
    return emulator::encode_bf16(low) | emulator::encode_bf16(high) << 16;
}
static inline unsigned round_tf32(float x) {
    return std::isnan(x) ? 0x7fffffff : (emulator::to_bits(x) + 0x1000) & ~0x1fffu;
}
static inline void mma_f16(
    float &d0, float &d1, float &d2, float &d3, unsigned a01, unsigned a23, unsigned b01
) {
    emulator::Registers<3> registers({a01, a23, b01});
    emulator::mma(d0, d1, d2, d3, emulator::PairFragments<emulator::decode_f16>{registers});
}
static inline void mma_bf16(
    float &d0, float &d1, float &d2, float &d3, unsigned a01, unsigned a23, unsigned b01
) {
    emulator::Registers<3> registers({a01, a23, b01});
    emulator::mma(d0, d1, d2, d3, emulator::PairFragments<emulator::decode_bf16>{registers});
}
static inline void mma_tf32(
    float &d0, float &d1, float &d2, float &d3, unsigned a0, unsigned a1, unsigned a2,
    unsigned a3, unsigned b0, unsigned b1
) {
    emulator::Registers<6> registers({a0, a1, a2, a3, b0, b1});
    emulator::mma(d0, d1, d2, d3, emulator::Tf32Fragments{registers});
}
