"""Steps of optimizers, on one large parameter and on the many small ones of a network."""

from __future__ import annotations

from benchmarks.cases.case import Case, Input

LARGE = {"weight": Input((4_000_000,), "P")}
SMALL = {"weight": Input((1000,), "P")}
# The parameters of the small detector: three pairs of 16, 32 and 64 channels.
DETECTOR = {
    f"conv{index}.{name}": Input(shape, "P" if len(shape) == 1 else "")
    for index, (channels, outputs) in enumerate(
        [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    )
    for name, shape in {
        "weight": (outputs, channels, 3, 3),
        "gamma": (outputs,),
        "beta": (outputs,),
    }.items()
}


def step(function, parameters, note, **options):
    return Case("optimizer", f"{function}, {note}", function, parameters, options)


CASES = [
    step("AdamW", SMALL, "small", lr=1e-3),
    step("SGD", LARGE, "4 million, momentum", lr=0.01, momentum=0.9),
    step("Adam", LARGE, "4 million", lr=1e-3),
    step("AdamW", LARGE, "4 million", lr=1e-3),
    step("RMSprop", LARGE, "4 million", lr=1e-3),
    step("AdamW", DETECTOR, "18 tensors", lr=1e-3),
]
