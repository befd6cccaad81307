// Softmax and log-softmax of the rows of an array, and their gradients:
//
//     y_c = exp(x_c - m) / sum_k exp(x_k - m)          dx_c = y_c (dy_c - sum_k dy_k y_k)
//     y_c = x_c - m - log sum_k exp(x_k - m)           dx_c = dy_c - exp(y_c) sum_k dy_k
//
// with m the row's maximum. rows.cuh says how threads meet rows.
//
// Bytes: a row is read up to three times, but from memory once if it stays in the cache, and
// written once; an exp or two an element. Limit: copy bandwidth.
#include "rows.cuh"

extern "C" __global__ void softmax(
    const real *x, real *y, int rows, int classes, int inner, int lanes
) {
    Row row;
    if (!row.find(rows, classes, inner, lanes)) return;
    real largest = row.largest(x), total = row.powers(x, largest);
    for (int c = row.lane; c < classes; c += lanes) {
        y[row.at(c)] = exp(x[row.at(c)] - largest) / total;
    }
}

extern "C" __global__ void softmax_grad(
    const real *dy, const real *y, real *dx, int rows, int classes, int inner, int lanes
) {
    Row row;
    if (!row.find(rows, classes, inner, lanes)) return;
    real sum = 0;
    for (int c = row.lane; c < classes; c += lanes) sum += dy[row.at(c)] * y[row.at(c)];
    sum = row.sum(sum);
    for (int c = row.lane; c < classes; c += lanes) {
        dx[row.at(c)] = y[row.at(c)] * (dy[row.at(c)] - sum);
    }
}

extern "C" __global__ void log_softmax(
    const real *x, real *y, int rows, int classes, int inner, int lanes
) {
    Row row;
    if (!row.find(rows, classes, inner, lanes)) return;
    real largest = row.largest(x), total = log(row.powers(x, largest));
    for (int c = row.lane; c < classes; c += lanes) {
        y[row.at(c)] = x[row.at(c)] - largest - total;
    }
}

extern "C" __global__ void log_softmax_grad(
    const real *dy, const real *y, real *dx, int rows, int classes, int inner, int lanes
) {
    Row row;
    if (!row.find(rows, classes, inner, lanes)) return;
    real sum = 0;
    for (int c = row.lane; c < classes; c += lanes) sum += dy[row.at(c)];
    sum = row.sum(sum);
    for (int c = row.lane; c < classes; c += lanes) {
        dx[row.at(c)] = dy[row.at(c)] - exp(y[row.at(c)]) * sum;
    }
}
