// Losses of rows of logits (or of their logarithms) and a label, or probabilities, a row: the
// value, and the gradient by the logits in the same pass. rows.cuh says how threads meet rows;
// formulas: reference.py.
//
// losses, dx and parts may be null; parts has a sum for each block, added in order by finish.cu.
// `divisor` is on the device, since it depends on the labels, and the host need not wait for it:
// the gradient is divided by it, where it is not 0.
//
// Bytes: a row is read three times, from memory once if it stays in the cache, and written once.
// Limit: copy bandwidth.
#include "rows.cuh"

// Add what the first lane of each row has to the block's part.
__device__ __forceinline__ void add_up(real value, bool counts, double *parts) {
    __shared__ double shared[32];
    double sum = block_sum(counts ? (double)value : 0.0, shared);
    if (parts && threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__device__ __forceinline__ bool is_class(long long label, int classes) {
    return 0 <= label && label < classes;
}

// The host does not look at the labels: one that is no class makes its loss and gradient NaN.
__device__ __forceinline__ real nan_value() { return sqrt(real(-1)); }

__device__ __forceinline__ real inverse(const double *divisor, double fixed) {
    double by = divisor ? *divisor : fixed;
    return by == 0 ? real(1) : real(1 / by);
}

// The weight of each label, 0 where it is ignored; its sum over a block.
extern "C" __global__ void label_weights(
    const long long *labels, const real *weight, double *parts, long long ignored, int rows,
    int classes
) {
    int i = thread_number();
    bool counts = i < rows && labels[i] != ignored;
    real value = 1;
    if (counts && weight) value = is_class(labels[i], classes) ? weight[labels[i]] : nan_value();
    add_up(value, counts, parts);
}

extern "C" __global__ void cross_entropy(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    double fixed, real *losses, real *dx, double *parts, long long ignored, real smoothing,
    int rows, int classes, int inner, int lanes
) {
    Row row;
    bool there = row.find(rows, classes, inner, lanes);
    bool counts = there && labels[row.number] != ignored;
    real value = counts ? nan_value() : 0;
    if (counts && is_class(labels[row.number], classes)) {
        int label = (int)labels[row.number];
        real largest = row.largest(x), total = row.powers(x, largest), log_total = log(total);
        real hit = (1 - smoothing) * (weight ? weight[label] : 1), share = smoothing / classes;
        real weights = 0, weighted = 0;
        if (share != 0) {
            for (int c = row.lane; c < classes; c += lanes) {
                real w = weight ? weight[c] : 1;
                weights += w, weighted += w * (x[row.at(c)] - largest);
            }
            weights = row.sum(weights), weighted = row.sum(weighted);
        }
        value = (log_total - (x[row.at(label)] - largest)) * hit;
        if (share != 0) value += (weights * log_total - weighted) * share;
        if (dx) {
            real scale = inverse(divisor, fixed), all = (hit + weights * share) / total;
            for (int c = row.lane; c < classes; c += lanes) {
                real slope = exp(x[row.at(c)] - largest) * all - (c == label ? hit : 0);
                if (share != 0) slope -= (weight ? weight[c] : 1) * share;
                dx[row.at(c)] = slope * scale;
            }
        }
    } else if (there && dx) {
        for (int c = row.lane; c < classes; c += lanes) dx[row.at(c)] = value;
    }
    if (losses && there && row.lane == 0) losses[row.number] = value;
    add_up(value, counts && row.lane == 0, parts);
}

// Probabilities q for labels: -sum of w_c q_c log p_c.
extern "C" __global__ void soft_cross_entropy(
    const real *x, const real *q, const real *weight, real *losses, real *dx, double *parts,
    real smoothing, real scale, int rows, int classes, int inner, int lanes
) {
    Row row;
    bool there = row.find(rows, classes, inner, lanes);
    real value = 0;
    if (there) {
        real largest = row.largest(x), total = row.powers(x, largest), sum = 0, weighted = 0;
        auto share = [&](int c) {
            return ((1 - smoothing) * q[row.at(c)] + smoothing / classes) * (weight ? weight[c] : 1);
        };
        for (int c = row.lane; c < classes; c += lanes) {
            sum += share(c), weighted += share(c) * (x[row.at(c)] - largest - log(total));
        }
        sum = row.sum(sum), value = -row.sum(weighted);
        for (int c = row.lane; dx && c < classes; c += lanes) {
            dx[row.at(c)] = (exp(x[row.at(c)] - largest) / total * sum - share(c)) * scale;
        }
        if (losses && row.lane == 0) losses[row.number] = value;
    }
    add_up(value, there && row.lane == 0, parts);
}

// x holds logarithms of probabilities.
extern "C" __global__ void nll_loss(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    double fixed, real *losses, real *dx, double *parts, long long ignored, int rows, int classes,
    int inner, int lanes
) {
    Row row;
    bool there = row.find(rows, classes, inner, lanes);
    bool counts = there && labels[row.number] != ignored;
    bool known = counts && is_class(labels[row.number], classes);
    int label = known ? (int)labels[row.number] : counts ? 0 : -1;
    real w = known ? (weight ? weight[label] : real(1)) : nan_value();
    real value = counts ? -w * x[row.at(label)] : 0;
    if (there && dx) {
        real scale = inverse(divisor, fixed);
        for (int c = row.lane; c < classes; c += lanes) dx[row.at(c)] = c == label ? -w * scale : 0;
    }
    if (losses && there && row.lane == 0) losses[row.number] = value;
    add_up(value, counts && row.lane == 0, parts);
}

// -w (1 - p)^gamma log p of the label; 1 - p is the sum of the others, so nothing cancels.
extern "C" __global__ void focal_loss(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    double fixed, real *losses, real *dx, double *parts, long long ignored, real gamma,
    real tiny, int rows, int classes, int inner, int lanes
) {
    Row row;
    bool there = row.find(rows, classes, inner, lanes);
    bool counts = there && labels[row.number] != ignored;
    real value = counts ? nan_value() : 0;
    if (counts && is_class(labels[row.number], classes)) {
        int label = (int)labels[row.number];
        real largest = row.largest(x), ahead = x[row.at(label)] - largest;
        real right = exp(ahead), others = 0;
        for (int c = row.lane; c < classes; c += lanes) {
            if (c != label) others += exp(x[row.at(c)] - largest);
        }
        others = row.sum(others);
        real total = others + right, wrong = others / total;
        real entropy = log1p(others + (right - 1)) - ahead;
        real factor = pow(wrong, gamma) * (weight ? weight[label] : 1);
        value = factor * entropy;
        if (dx) {
            real at_least = wrong > tiny ? wrong : tiny;
            real slope = factor * (1 + gamma * (right / total) * entropy / at_least) * inverse(divisor, fixed);
            for (int c = row.lane; c < classes; c += lanes) {
                dx[row.at(c)] = c == label ? -slope * wrong : slope * exp(x[row.at(c)] - largest) / total;
            }
        }
    } else if (there && dx) {
        for (int c = row.lane; c < classes; c += lanes) dx[row.at(c)] = value;
    }
    if (losses && there && row.lane == 0) losses[row.number] = value;
    add_up(value, counts && row.lane == 0, parts);
}
