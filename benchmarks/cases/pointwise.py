"""Activations and losses."""

from __future__ import annotations

from benchmarks.cases.case import Case, Input, maps, rows


def activation(function, source: Input, note="", random=False, **options):
    name = ", ".join(filter(None, [function, note or _sizes(source)]))
    return Case("activation", name, function, dict(input=source), options, random=random)


def loss(function, source: Input, target: Input, note=""):
    name = ", ".join(filter(None, [function, note or _sizes(source)]))
    return Case("loss", name, function, dict(input=source, target=target), {}, ("target",))


def _sizes(source: Input) -> str:
    if source.axes == "NCHW":
        return f"{source.shape[1]} at {source.shape[2]}"
    return " x ".join(map(str, source.shape))


MAP, LOGITS, SCORES = maps(8, 32, 64), rows(256, 1000), maps(8, 2, 128)

CASES = [
    activation("relu", maps(1, 8, 16), "small"),
    *(
        activation(name, MAP)
        for name in ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu")
    ),
    activation("gelu", MAP, "32 at 64, tanh", approximate="tanh"),
    activation("dropout", MAP, random=True, p=0.5),
    activation("softmax", LOGITS, dim=1),
    activation("softmax", SCORES, dim=1),
    activation("log_softmax", LOGITS, dim=1),
    loss("cross_entropy", rows(64, 10), Input((64,), "N", "label", 10), "small"),
    loss("cross_entropy", LOGITS, Input((256,), "N", "label", 1000)),
    loss("cross_entropy", SCORES, Input((8, 128, 128), "NHW", "label", 2)),
    loss("binary_cross_entropy_with_logits", maps(8, 1, 128), maps(8, 1, 128, "chance")),
    loss("mse_loss", MAP, MAP),
    loss("l1_loss", MAP, MAP),
    loss("smooth_l1_loss", MAP, MAP),
]
