// Losses of rows of logits (or of their logarithms) and a label, or probabilities, a row: the
// value, and the gradient by the logits in the same pass. rows.cuh says how threads meet rows;
// formulas: reference.py. A block has the rows of `each` threads, so that there are not too many
// sums of blocks; finish.cu adds them up in order:
//
//     row       0 1 2 ..         r ..             one row after the other, 256 threads' worth at
//     thread    0 1 2 .. 255 | 0 1 2 .. | ..      a time, until a block has `each` of them
//
// losses, dx and parts may be null. Losses of rows are added in double, one addition a row.
// `divisor` is on the device, since it depends on the labels, and the host need not wait for it:
// the gradient is divided by it, where it is not 0.
//
// Bytes: a row is read three times, from memory once if it stays in the cache, and written once;
// two exp an element. Limit: copy bandwidth.
#include "rows.cuh"

// What a thread that works for a loss needs beside numbers and labels.
#define ROWS_ARGUMENTS \
    real *losses, real *dx, double *parts, int each, int rows, int classes, int inner, int lanes

// Call value = loss(row) for each row of this block, by all lanes of the row.
template <class Loss>
__device__ __forceinline__ void for_each_row(
    const Loss &loss, real *losses, double *parts, int each, int rows, int classes, int inner,
    int lanes
) {
    __shared__ double shared[32];
    double sum = 0;
    for (int k = threadIdx.x; k < each; k += blockDim.x) {
        Row row;
        if (!row.find(blockIdx.x * each + k, rows, classes, inner, lanes)) break;
        real value = loss(row);
        if (row.lane > 0) continue;
        if (losses) losses[row.number] = value;
        sum += value;
    }
    sum = block_sum(sum, shared);
    if (parts && threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__device__ __forceinline__ bool is_class(long long label, int classes) {
    return 0 <= label && label < classes;
}

// Set the gradient of a row to its loss: 0 where its label is ignored. The host does not look at
// the labels, so one that is no class makes both NaN.
__device__ __forceinline__ real without_class(const Row &row, bool ignored, real *dx) {
    real value = ignored ? real(0) : sqrt(real(-1));
    for (int c = row.lane; dx && c < row.classes; c += row.lanes) dx[row.at(c)] = value;
    return value;
}

__device__ __forceinline__ real inverse(const double *divisor) {
    return divisor && *divisor != 0 ? real(1 / *divisor) : real(1);
}

// The weight of each label, 0 where it is ignored; its sum over a block.
extern "C" __global__ void label_weights(
    const long long *labels, const real *weight, double *parts, long long ignored, int each,
    int rows, int classes
) {
    auto weight_of = [=](const Row &row) -> real {
        long long label = labels[row.number];
        if (label == ignored || !weight) return label != ignored;
        return is_class(label, classes) ? weight[label] : sqrt(real(-1));
    };
    for_each_row(weight_of, nullptr, parts, each, rows, classes, 1, 1);
}

extern "C" __global__ void cross_entropy(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    long long ignored, real smoothing, ROWS_ARGUMENTS
) {
    real scale = inverse(divisor), share = smoothing / classes;
    auto loss = [=](const Row &row) {
        if (!is_class(labels[row.number], classes) || labels[row.number] == ignored) {
            return without_class(row, labels[row.number] == ignored, dx);
        }
        int label = (int)labels[row.number];
        real largest = row.largest(x), total = row.powers(x, largest), log_total = log(total);
        real hit = (1 - smoothing) * (weight ? weight[label] : 1);
        real value = (log_total - (x[row.at(label)] - largest)) * hit, weights = 0;
        if (share != 0) {
            real weighted = 0;
            for (int c = row.lane; c < classes; c += lanes) {
                real w = weight ? weight[c] : 1;
                weights += w, weighted += w * (x[row.at(c)] - largest);
            }
            weights = row.sum(weights);
            value += (weights * log_total - row.sum(weighted)) * share;
        }
        real all = (hit + weights * share) / total;
        for (int c = row.lane; dx && c < classes; c += lanes) {
            real slope = exp(x[row.at(c)] - largest) * all - (c == label ? hit : 0);
            if (share != 0) slope -= (weight ? weight[c] : 1) * share;
            dx[row.at(c)] = slope * scale;
        }
        return value;
    };
    for_each_row(loss, losses, parts, each, rows, classes, inner, lanes);
}

// Probabilities q for labels: -sum of w_c q_c log p_c.
extern "C" __global__ void soft_cross_entropy(
    const real *x, const real *q, const real *weight, real smoothing, real scale, ROWS_ARGUMENTS
) {
    real share = smoothing / classes;
    auto loss = [=](const Row &row) {
        auto wanted = [&](int c) {
            return ((1 - smoothing) * q[row.at(c)] + share) * (weight ? weight[c] : 1);
        };
        real largest = row.largest(x), total = row.powers(x, largest), log_total = log(total);
        real sum = 0, value = 0;
        for (int c = row.lane; c < classes; c += lanes) {
            sum += wanted(c), value -= wanted(c) * (x[row.at(c)] - largest - log_total);
        }
        sum = row.sum(sum);
        for (int c = row.lane; dx && c < classes; c += lanes) {
            dx[row.at(c)] = (exp(x[row.at(c)] - largest) / total * sum - wanted(c)) * scale;
        }
        return row.sum(value);
    };
    for_each_row(loss, losses, parts, each, rows, classes, inner, lanes);
}

// x holds logarithms of probabilities.
extern "C" __global__ void nll_loss(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    long long ignored, ROWS_ARGUMENTS
) {
    real scale = inverse(divisor);
    auto loss = [=](const Row &row) {
        long long label = labels[row.number];
        if (!is_class(label, classes) || label == ignored) {
            return without_class(row, label == ignored, dx);
        }
        real w = weight ? weight[label] : 1;
        for (int c = row.lane; dx && c < classes; c += lanes) {
            dx[row.at(c)] = c == label ? -w * scale : 0;
        }
        return -w * x[row.at((int)label)];
    };
    for_each_row(loss, losses, parts, each, rows, classes, inner, lanes);
}

// -w (1 - p)^gamma log p of the label; 1 - p is the sum of the others, so nothing cancels.
extern "C" __global__ void focal_loss(
    const real *x, const long long *labels, const real *weight, const double *divisor,
    long long ignored, real gamma, real tiny, ROWS_ARGUMENTS
) {
    real scale = inverse(divisor);
    auto loss = [=](const Row &row) {
        if (!is_class(labels[row.number], classes) || labels[row.number] == ignored) {
            return without_class(row, labels[row.number] == ignored, dx);
        }
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
        real steep = gamma * (right / total) * entropy / (wrong > tiny ? wrong : tiny);
        real slope = factor * (1 + steep) * scale;
        for (int c = row.lane; dx && c < classes; c += lanes) {
            real power = exp(x[row.at(c)] - largest);
            dx[row.at(c)] = c == label ? -slope * wrong : slope * power / total;
        }
        return factor * entropy;
    };
    for_each_row(loss, losses, parts, each, rows, classes, inner, lanes);
}
