// How much each pixel's error counts in the Lovasz extension of the Jaccard loss.
//
// With the pixels of a row by falling error, and t of them in the reference, f of which are among
// the first k and f' among the first k + 1, pixel k counts by what it adds to 1 - (t - f) / u,
// where u = t + k - f is how many are in the reference or found so far:
//
//     inside the reference (f' = f + 1):   1 / u
//     outside of it:                       (t - f) / (u (u + 1))
//
// so nothing is subtracted. Where the reference is empty, the first pixel has all weight.
// Threads: one for each place in the order, which writes where its pixel is:
//
//     thread    0   1   2   ..          weights   . 1 . 0 2 .
//     order     7   3   9   ..                  (scattered)
//
// Bytes: an index, 1 or 2 counts and a flag read, a number written at a place of its own. Limit:
// the bandwidth of scattered access; the sort before it takes longer.
#include "common.cuh"

extern "C" __global__ void lovasz_weights(
    const long long *order, const int *found, const unsigned char *kept, real *weights, int pixels,
    int n
) {
    int i = thread_number();
    if (i >= n) return;
    int k = i % pixels, row = i - k, pixel = row + (int)order[i];
    int all = found[row + pixels - 1], before = k ? found[i - 1] : 0, united = all + k - before;
    real weight = k == 0;
    if (all > 0) {
        bool inside = found[i] > before;
        weight = inside ? 1 / (real)united : (all - before) / (real)united / (united + 1);
    }
    weights[pixel] = kept[pixel] ? weight : 0;
}
