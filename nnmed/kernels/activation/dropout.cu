// Dropout and random slopes by Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011): word i of a key is computed on its own, so that any thread, and the
// CPU, finds the same one.
//
// A counter value makes four words of 64 bits, read as eight of 32, low half first. So a thread
// has eight elements and one byte of the mask:
//
//     thread   |       0       |        1        | ...
//     element  | 0 1 2 ... 7   | 8 9 10 ... 15   |
//     counter  |       1       |        2        |
//
// Bytes: 2 numbers and a bit an element; 10 rounds of two 64-bit products for eight elements.
// Limit: copy bandwidth.
#include "common.cuh"

typedef unsigned long long word64;

__device__ __forceinline__ void philox(word64 counter, word64 key0, word64 key1, word64 *word) {
    word64 c0 = counter, c1 = 0, c2 = 0, c3 = 0;
    for (int round = 0; round < 10; round++) {
        word64 low0 = 0xD2E7470EE14C6C93ull * c0, high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0);
        word64 low1 = 0xCA5A826395121157ull * c2, high1 = __umul64hi(0xCA5A826395121157ull, c2);
        c0 = high1 ^ c1 ^ key0, c1 = low1, c2 = high0 ^ c3 ^ key1, c3 = low0;
        key0 += 0x9E3779B97F4A7C15ull, key1 += 0xBB67AE8584CAA73Bull;
    }
    word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
}

// Word k of the eight of a counter value.
__device__ __forceinline__ unsigned part(const word64 *word, int k) {
    return (unsigned)(word[k / 2] >> 32 * (k % 2));
}

// An element is kept if its word is at least `lowest`.
extern "C" __global__ void draw_mask(
    unsigned char *bits, unsigned long long key0, unsigned long long key1,
    unsigned long long lowest, int n
) {
    int byte = thread_number();
    if (byte * 8 >= n) return;
    word64 word[4];
    philox(byte + 1, key0, key1, word);
    unsigned mask = 0;
    for (int k = 0; k < 8 && byte * 8 + k < n; k++) {
        mask |= (unsigned)(part(word, k) >= lowest) << k;
    }
    bits[byte] = (unsigned char)mask;
}

extern "C" __global__ void apply_mask(
    const real *x, const unsigned char *bits, real *y, real scale, int n
) {
    int i = thread_number();
    if (i >= n) return;
    y[i] = x[i] * ((bits[i / 8] >> i % 8 & 1) ? scale : real(0));
}

extern "C" __global__ void random_slopes(
    const real *x, real *slopes, unsigned long long key0, unsigned long long key1, real lower,
    real step, int n
) {
    int block = thread_number();
    if (block * 8 >= n) return;
    word64 word[4];
    philox(block + 1, key0, key1, word);
    for (int k = 0; k < 8 && block * 8 + k < n; k++) {
        int i = block * 8 + k;
        slopes[i] = x[i] > 0 ? real(1) : lower + step * part(word, k);
    }
}
