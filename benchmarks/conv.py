"""Speed of 2-d convolution, forward and backward, beside PyTorch on the same CPU.

Usage::

    python -m benchmarks.conv                        # all layers, one thread
    python -m benchmarks.conv --threads 2 --repeat 30
    python -m benchmarks.conv --layers "64 at 64"    # layers whose name contains this

A layer's figures are medians over rounds; in each round nnmed, PyTorch in its default
layout (NCHW) and PyTorch in channels_last run one after the other, so that whatever else
the machine does hits all three. The ratio is PyTorch's time divided by nnmed's: 1 is as
fast, 0.5 takes twice as long. One thread is timed in CPU time of the thread, several in
wall-clock time. Timed are the kernels, without either side's graph: y, then dx, dweight and
dbias from dy. The first layers ("1 at ...", "3 at ...") leave out dx, as training does.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from nnmed.backend.arrays import as_channels_last
from nnmed.backend.products import channel_sums
from nnmed.backend.threads import set_num_threads
from nnmed.kernels.conv import cpu

# name: N, C, size, O, kernel, stride, groups
LAYERS = {
    "16 at 64 -> 32": (16, 16, 64, 32, 3, 1, 1),
    "16 at 128": (8, 16, 128, 16, 3, 1, 1),
    "16 at 96": (32, 16, 96, 16, 3, 1, 1),
    "32 at 32 -> 64": (16, 32, 32, 64, 3, 1, 1),
    "32 at 64": (8, 32, 64, 32, 3, 1, 1),
    "32 at 48": (32, 32, 48, 32, 3, 1, 1),
    "64 at 64": (8, 64, 64, 64, 3, 1, 1),
    "64 at 24": (32, 64, 24, 64, 3, 1, 1),
    "128 at 32": (8, 128, 32, 128, 3, 1, 1),
    "128 at 12": (32, 128, 12, 128, 3, 1, 1),
    "256 at 16": (8, 256, 16, 256, 3, 1, 1),
    "256 at 8": (32, 256, 8, 256, 3, 1, 1),
    "1 at 96 -> 16": (32, 1, 96, 16, 3, 1, 1),
    "3 at 96 -> 16": (32, 3, 96, 16, 3, 1, 1),
    "3 at 96 -> 32, 7x7, stride 2": (32, 3, 96, 32, 7, 2, 1),
    "16 at 96 -> 32, stride 2": (32, 16, 96, 32, 3, 2, 1),
    "64 at 24 -> 128, stride 2": (32, 64, 24, 128, 3, 2, 1),
    "64 at 32 -> 64, 1x1": (16, 64, 32, 64, 1, 1, 1),
    "32 at 48 -> 64, 1x1, stride 2": (32, 32, 48, 64, 1, 2, 1),
    "64 at 32, depthwise": (16, 64, 32, 64, 3, 1, 64),
    "64 at 32, 4 groups": (16, 64, 32, 64, 3, 1, 4),
}


# OpenMP's threads, which PyTorch uses, go on spinning for a while after their work: they
# would take a processor from whoever runs next.
PAUSE = 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--layers", default="", metavar="TEXT")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(options.threads)
    set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, NumPy {np.__version__}, threads: {options.threads}")
    print(f"{'':30}  ms forward + backward           PyTorch / nnmed, forward + backward")
    print(f"{'C at size -> O':30}  nnmed  NCHW  channels_last       NCHW  channels_last")
    for name, layer in LAYERS.items():
        if options.layers in name:
            print(f"{name:30}  {measure(torch, layer, options)}", flush=True)


def measure(torch, layer, options) -> str:
    """Time one layer and return its line of the table."""
    subjects = [nnmed_subject(*layer)]
    for memory_format in (torch.contiguous_format, torch.channels_last):
        subjects.append(torch_subject(torch, memory_format, *layer))
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    times = []
    for round_ in range(options.repeat + 2):
        row = []
        for steps in subjects:
            time.sleep(PAUSE)
            row.append([timed(step, clock) for step in steps])
        if round_ >= 2:  # the first rounds warm caches and thread pools
            times.append([[forward, forward + backward] for forward, backward in row])
    times = np.array(times) * 1e3  # round, subject, (forward, both)
    median = np.median(times, axis=0)
    ratio = [
        [statistics.median(times[:, other, part] / times[:, 0, part]) for part in (0, 1)]
        for other in (1, 2)
    ]
    milliseconds = "".join(f"{f:6.1f} +{both - f:6.1f}  " for f, both in median)
    return milliseconds + "".join(f"   {f:5.2f} whole {both:5.2f}" for f, both in ratio)


def timed(step, clock) -> float:
    start = clock()
    step()
    return clock() - start


def nnmed_subject(n, c, size, o, kernel, stride, groups):
    """Return nnmed's forward and backward, as two functions."""
    rng = np.random.default_rng(0)
    x = as_channels_last(rng.standard_normal((n, c, size, size), np.float32))
    weight = rng.standard_normal((o, c // groups, kernel, kernel), np.float32)
    bias = rng.standard_normal(o, np.float32)
    p = kernel // 2
    arguments = (stride, stride), ((p, p), (p, p)), (1, 1), groups

    def forward():
        return cpu.conv2d(x, weight, bias, *arguments)

    dy = forward()

    def backward():
        if c > 3:
            cpu.conv2d_input_grad(dy, weight, x.shape[2:], *arguments)
        cpu.conv2d_weight_grad(dy, x, weight.shape[2:], *arguments)
        channel_sums(dy)

    return forward, backward


def torch_subject(torch, memory_format, n, c, size, o, kernel, stride, groups):
    """Return PyTorch's forward and backward, as two functions."""
    x = torch.randn(n, c, size, size).to(memory_format=memory_format)
    weight = torch.randn(o, c // groups, kernel, kernel).to(memory_format=memory_format)
    bias = torch.randn(o)
    p = kernel // 2
    window = [stride, stride], [p, p], [1, 1]

    def forward():
        return torch.nn.functional.conv2d(x, weight, bias, stride, p, 1, groups)

    dy = forward()

    def backward():
        torch.ops.aten.convolution_backward(
            dy, x, weight, [o], *window, False, [0, 0], groups, [c > 3, True, True]
        )

    return forward, backward


if __name__ == "__main__":
    main()
