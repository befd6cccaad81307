"""Pooling, batch normalisation and resampling of feature maps."""

from __future__ import annotations

from benchmarks.cases.case import Case, Input, maps, vector


def pooling(name, function, source: Input, **options):
    return Case("pooling", name, function, dict(input=source), options)


def batch_norm(n, channels, size, training=True):
    name = f"{channels} at {size}" + ("" if training else ", inference")
    inputs = dict(
        input=maps(n, channels, size),
        running_mean=vector(channels),
        running_var=vector(channels, "chance"),
        weight=vector(channels),
        bias=vector(channels),
    )
    constants = ("running_mean", "running_var")
    return Case("normalization", name, "batch_norm", inputs, dict(training=training), constants)


def resample(name, function, source: Input, **options):
    return Case("resample", name, function, dict(input=source), options)


CASES = [
    pooling("max 2x2, small", "max_pool2d", maps(1, 8, 16), kernel_size=2),
    pooling("max 2x2, 16 at 128", "max_pool2d", maps(8, 16, 128), kernel_size=2),
    pooling("max 2x2, 64 at 64", "max_pool2d", maps(8, 64, 64), kernel_size=2),
    pooling("max 3x3, stride 2, 64 at 112", "max_pool2d", maps(8, 64, 112),
            kernel_size=3, stride=2, padding=1),
    pooling("average 2x2, 64 at 64", "avg_pool2d", maps(8, 64, 64), kernel_size=2),
    pooling("average 3x3, stride 1, 64 at 32", "avg_pool2d", maps(8, 64, 32),
            kernel_size=3, stride=1, padding=1),
    pooling("adaptive average to 1, 512 at 7", "adaptive_avg_pool2d", maps(32, 512, 7),
            output_size=1),
    pooling("adaptive maximum to 4, 64 at 32", "adaptive_max_pool2d", maps(8, 64, 32),
            output_size=4),
    batch_norm(1, 8, 16),
    batch_norm(8, 16, 128),
    batch_norm(32, 32, 48),
    batch_norm(8, 64, 64),
    batch_norm(8, 256, 16),
    batch_norm(8, 64, 64, training=False),
    resample("nearest x 2, small", "interpolate", maps(1, 8, 8), scale_factor=2.0),
    resample("nearest x 2, 64 at 32", "interpolate", maps(8, 64, 32), scale_factor=2.0),
    resample("bilinear x 2, 64 at 32", "interpolate", maps(8, 64, 32),
             scale_factor=2.0, mode="bilinear", align_corners=False),
    resample("bilinear x 1/2, 16 at 128", "interpolate", maps(8, 16, 128),
             scale_factor=0.5, mode="bilinear", align_corners=False),
    resample("zeros around, 64 at 64", "pad", maps(8, 64, 64), pad=(1, 1, 1, 1)),
    resample("reflection, 64 at 64", "pad", maps(8, 64, 64), pad=(2, 2, 2, 2), mode="reflect"),
]  # fmt: skip
