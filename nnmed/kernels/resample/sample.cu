// Sampling of pictures x (N, size, C) at places that the data choose, as grid_sample does:
//
//     y[n, p, c] = sum over k of  weight[k, n, p] x[n, index[k, n, p], c]        (0 where negative)
//
// and its gradients. Threads: one for `each` numbers of the result, 4 neighbouring channels or 1;
// a thread an entry (k, n, p) for the gradient of the weights, which adds up over all channels.
//
// The gradient by x adds many values at one place. So that nobody has to wait, and sums have one
// order, the entries are sorted by their place beforehand, and a thread walks over its own:
//
//     place    0    1    2     ...    entries of place i: order[start[i]] .. order[start[i + 1] - 1]
//     entries  7 9  -    0 4 12
//
// Bytes: each number of x and y about K times, from the cache where places are neighbours, and an
// index and a weight for each pack of them. Limit: copy bandwidth of scattered reads; of the
// gradient by x, the sorting.
#include "packs.cuh"

template <int EACH>
__device__ __forceinline__ void read_places(
    const real *x, const long long *index, const real *weight, real *y, int taps, int images,
    int size, int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int packs = channels / EACH, place = i / packs;
    x += place / places * size * channels + i % packs * EACH;
    auto sum = Pack<real, EACH>::of(0);
    for (int k = 0; k < taps; k++) {
        int entry = k * images * places + place, source = (int)index[entry];
        if (source >= 0) add(sum, read_pack<EACH>(x + source * channels), weight[entry]);
    }
    write_pack(y + i * EACH, sum);
}

template <int EACH>
__device__ __forceinline__ void add_entries(
    const real *dy, const long long *order, const long long *start, const real *weight, real *dx,
    int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int packs = channels / EACH, target = i / packs;
    dy += i % packs * EACH;
    auto sum = Pack<real, EACH>::of(0);
    for (long long j = start[target]; j < start[target + 1]; j++) {
        int entry = (int)order[j];
        add(sum, read_pack<EACH>(dy + entry % places * channels), weight[entry]);
    }
    write_pack(dx + i * EACH, sum);
}

extern "C" __global__ void sample(
    const real *x, const long long *index, const real *weight, real *y, int taps, int images,
    int size, int places, int channels, int each, int n
) {
    if (each == 4) {
        read_places<4>(x, index, weight, y, taps, images, size, places, channels, n);
    } else {
        read_places<1>(x, index, weight, y, taps, images, size, places, channels, n);
    }
}

// places: of all images.
extern "C" __global__ void sample_input_grad(
    const real *dy, const long long *order, const long long *start, const real *weight, real *dx,
    int places, int channels, int each, int n
) {
    if (each == 4) add_entries<4>(dy, order, start, weight, dx, places, channels, n);
    else add_entries<1>(dy, order, start, weight, dx, places, channels, n);
}

extern "C" __global__ void sample_weight_grad(
    const real *dy, const real *x, const long long *index, real *dweight, int images, int size,
    int places, int channels, int n
) {
    int i = thread_number();
    if (i >= n) return;
    int place = i % (images * places), source = (int)index[i];
    real sum = 0;
    if (source >= 0) {
        const real *from = x + (place / places * size + source) * channels;
        for (int c = 0; c < channels; c++) sum += dy[place * channels + c] * from[c];
    }
    dweight[i] = sum;
}
