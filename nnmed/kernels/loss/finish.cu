// The last step of a loss: add the blocks' sums, in order, and divide.
//
// One block: thread k has parts k, k + 256, ...; the sums of the threads are added as pairs, so the
// order is always the same. Bytes: 8 a part, 4096 of them at most. Limit: the launch itself.
#include "common.cuh"

__device__ __forceinline__ double total(const double *parts, int n) {
    __shared__ double shared[32];
    double sum = 0;
    for (int k = threadIdx.x; k < n; k += blockDim.x) sum += parts[k];
    return block_sum(sum, shared);
}

// The sum over a number on the device, or over `fixed` where there is none.
extern "C" __global__ void finish(
    const double *parts, const double *divisor, double fixed, real *result, int n
) {
    double sum = total(parts, n);
    if (threadIdx.x == 0) *result = sum / (divisor ? *divisor : fixed);
}

// The sum itself, at least `least`.
extern "C" __global__ void finish_divisor(
    const double *parts, double least, double *result, int n
) {
    double sum = total(parts, n);
    if (threadIdx.x == 0) *result = sum < least ? least : sum;
}
