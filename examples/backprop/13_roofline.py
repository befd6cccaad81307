# %% [markdown]
# # 13 · The same kernel on CPU and GPU, against the roofline
#
# How fast could an op be? Two things take time: arithmetic, and carrying numbers between memory and
# processor. They overlap, so the slower one decides:
#
# $$ \text{time} \ge \max\left( \frac{\text{operations}}{P}, \frac{\text{bytes}}{B} \right) $$
#
# $P$ is the processor's peak in operations a second, $B$ the bandwidth of its memory. Divide the
# operations by this time, and call operations per byte the **intensity** $I$:
#
# $$ \text{speed} \le \min\left( P,\; I \cdot B \right) $$
#
# In a log-log plot that is a slope and a flat top: the roofline (Williams et al., 2009). The
# corner, at $I = P/B$, parts the ops that wait for memory from those that compute.
#
# **Predict** from shapes alone, with 4 bytes a number:
#
# | op | operations | bytes | intensity |
# |---|---|---|---|
# | $x + y$ | 1 an element | read 2, write 1: 12 | 1/12 |
# | ReLU | 1 an element | read 1, write 1: 8 | 1/8 |
# | convolution, 64 channels, a pixel | $2 \cdot 9 \cdot 64 \cdot 64$ | $4 \cdot (64 + 64)$ | 144 |
#
# A corner lies somewhere between 2 and 50 on most machines. So ReLU is slow because it carries,
# and a faster processor does not help it; the convolution does a thousand times more with every
# byte.

# %%
import math
from time import perf_counter

import numpy as np
from _lesson import check, options, show
from threadpoolctl import threadpool_limits

import nnmed
from nnmed import functional as F
from nnmed.backend import cuda
from nnmed.report.figure import BLUE, GREEN, frame, new_figure

# One core and its roof; with more, both rise.
nnmed.set_num_threads(1)
threadpool_limits(1, "blas")
N, C, SIZE = (2, 64, 56) if options.quick else (8, 64, 112)
ROUNDS = 2 if options.quick else 10
DEVICES = ["cpu", "gpu"] if cuda.is_available() else ["cpu"]
if DEVICES == ["cpu"]:
    print("no GPU is found (nnmed doctor tells why): this is the CPU only")

# %% [markdown]
# ## The two ceilings
#
# Measured, not read from a data sheet: a large product of matrices for $P$, a large copy for $B$.
# A GPU is given its work and goes on by itself, so the clock must wait for it.


# %%
def seconds(call, device):
    """Return the time of the fastest of several calls."""
    best = math.inf
    for _ in range(1 + ROUNDS):
        start = perf_counter()
        call()
        if device == "gpu":
            cuda.cupy().cuda.get_current_stream().synchronize()
        best = min(best, perf_counter() - start)
    return best


def ceilings(device):
    """Return peak (operations a second) and bandwidth (bytes a second)."""
    xp = np if device == "cpu" else cuda.cupy()
    n = 512 if options.quick else 1024
    a, b, c = (xp.ones((n, n), np.float32) for _ in range(3))
    source = xp.ones(N * C * SIZE**2, np.float32)
    target = xp.empty_like(source)
    product = seconds(lambda: xp.matmul(a, b, out=c), device)
    copy = seconds(lambda: xp.copyto(target, source), device)
    return 2 * n**3 / product, 2 * source.nbytes / copy


# %% [markdown]
# ## The ops
#
# Every op of nnmed says how many operations and bytes its forward takes at least; `nnmed.explain`
# reports them (`Op.flops` in `nnmed/autograd/op.py`).
#
# The convolution comes in the three forms of lesson 05. The loops are so slow that they get a
# small picture. Operations are counted as the formula has them, for all forms alike. So
# Winograd's form, which finds the same result with fewer, can stand *above* the roof: it is not
# faster than the processor, it has less to do.


# %%
def make_ops(device):
    """Return calls of ops on one device, by name."""
    rng = np.random.default_rng(0)

    def tensor(*shape):
        array = rng.standard_normal(shape, np.float32)
        return nnmed.Tensor(array).to(device).requires_grad_()

    x, y, weight = tensor(N, C, SIZE, SIZE), tensor(N, C, SIZE, SIZE), tensor(C, C, 3, 3)
    small, few = tensor(1, 8, 12, 12), tensor(8, 8, 3, 3)

    def conv(form, x, weight):
        with nnmed.use_kernels(conv=form):
            return F.conv2d(x, weight, padding=1)

    ops = {
        "add": lambda: x + y,
        "relu": lambda: F.relu(x),
        "max-pool": lambda: F.max_pool2d(x, 2),
        "batch-norm": lambda: F.batch_norm(x, None, None, training=True),
    }
    if device == "gpu":  # where there are no forms to choose from
        return {**ops, "conv": lambda: F.conv2d(x, weight, padding=1)}
    return {
        **ops,
        "conv, loops": lambda: conv("reference", small, few),
        "conv, im2col": lambda: conv("im2col", x, weight),
        "conv, Winograd": lambda: conv("winograd", x, weight),
    }


def work(call):
    """Return operations and bytes of the op's forward, as it tells itself."""
    step = nnmed.explain(call().sum()).steps[-1]  # backward goes through the sum first
    return step.flops, step.nbytes


def measure(device):
    """Return the ceilings, and for each op its intensity and speed."""
    peak, bandwidth = ceilings(device)
    corner = peak / bandwidth
    print(f"\n{device}: {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s, corner {corner:.1f}")
    print(f"{'op':16} {'intensity':>9} {'at the roof':>12} {'measured':>12}")
    points = {}
    for name, call in make_ops(device).items():
        flops, nbytes = work(call)
        with nnmed.no_grad():
            time = seconds(call, device)
        roof = max(flops / peak, nbytes / bandwidth)
        points[name] = flops / nbytes, flops / time
        print(f"{name:16} {flops / nbytes:9.3f} {roof * 1e3:9.3f} ms {time * 1e3:9.3f} ms")
    return peak, bandwidth, points


results = {device: measure(device) for device in DEVICES}

# %% [markdown]
# ## The picture
#
# A point under the slope waits for memory, one under the flat top computes. The distance to the
# roof is what a better kernel could still gain. (The roof is not sharp. A processor reads the
# memory that it is about to overwrite, which nobody counts; that weighs less for `add`, with two
# inputs, than for a copy. And arrays that fit into a cache do not wait for memory.)

# %%
figure = new_figure(8, 4.8)
axes = figure.subplots()
for (device, (peak, bandwidth, points)), colour in zip(results.items(), (BLUE, GREEN)):
    intensity = np.logspace(-1.6, 3, 200)
    roof = np.minimum(peak, intensity * bandwidth) / 1e9
    label = f"{device}: {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s"
    axes.loglog(intensity, roof, color=colour, linewidth=2, label=label)
    for name, (place, speed) in points.items():
        axes.loglog(place, speed / 1e9, "o", color=colour)
        axes.annotate(name, (place, speed / 1e9), (8, -11), textcoords="offset points", fontsize=9)
axes.set(xlabel="intensity: operations a byte", ylabel="GFLOP/s")
axes.set_title("one core of the CPU" + (", and the GPU" if "gpu" in results else " (no GPU found)"))
axes.legend(loc="upper left", fontsize=9)
frame(axes)
show(figure, "13_roofline")

# %% [markdown]
# ## Check, and break
#
# The intensity of the convolution, from its shapes: a multiplication and an addition for each of
# the nine taps, 64 input and 64 output channels. Reading the weights once adds a little to the
# bytes.

# %%
pixels = N * SIZE**2
operations = 2 * 9 * C * C * pixels
carried = 4 * (C * pixels + C * pixels + 9 * C * C)
conv = "conv, im2col" if "gpu" not in results else "conv"
check(
    "intensity of the convolution from its shapes = as the op counts it",
    operations / carried,
    results[DEVICES[-1]][2][conv][0],
    change=("2 * 9 * C * C * pixels", "9 * C * C * pixels"),
    tolerance=1e-9,
)
