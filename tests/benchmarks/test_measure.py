"""How it is measured: rounds, clocks, memory, exponents, tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import measure, memory, networks, scaling
from benchmarks.machine import Ceilings
from benchmarks.tables import number, percent, table


def fake_clock(durations, log):
    def clock(step):
        log.append(step())
        return durations[step()]

    return clock


def test_subjects_take_turns():
    log = []
    clock = fake_clock({"a": 0.5, "b": 0.25}, log)
    times = measure.interleaved([[lambda: "a"], [lambda: "b"]], 3, clock)
    assert times.shape == (3, 2, 1)
    np.testing.assert_array_equal(times[:, :, 0], [[0.5, 0.25]] * 3)
    warm_up = 4
    assert log[warm_up:] == ["a", "b"] * 3


def test_short_steps_are_called_several_times_a_sample():
    log = []
    clock = fake_clock({"a": measure.SAMPLE / 8, "b": 2 * measure.SAMPLE}, log)
    measure.interleaved([[lambda: "a"], [lambda: "b"]], 1, clock)
    assert log[-9:] == ["a"] * 8 + ["b"]


def test_each_backward_follows_its_forward():
    log = []
    clock = fake_clock({"forward": measure.SAMPLE / 4, "backward": measure.SAMPLE / 4}, log)
    times = measure.interleaved([[lambda: "forward", lambda: "backward"]], 1, clock)
    assert log == ["forward", "backward"] * 4  # twice to warm up, twice measured
    np.testing.assert_allclose(times, measure.SAMPLE / 4)


@pytest.mark.parametrize(("seconds", "rounds"), [(100, 20), (10, 10), (0.1, 3)])
def test_slow_subjects_get_fewer_rounds(seconds, rounds):
    clock = fake_clock({"a": 1.0}, [])
    assert len(measure.interleaved([[lambda: "a"]], 20, clock, seconds=seconds)) == rounds


@pytest.mark.parametrize("threads", [1, 2])
def test_the_clock_runs_the_step_once(threads):
    calls = []
    assert measure.cpu_clock(threads)(lambda: calls.append(1)) >= 0
    assert calls == [1]


def test_the_nearer_ceiling_counts():
    ceilings = Ceilings(sgemm=100.0, copy=10.0)
    assert ceilings.least_seconds(flops=200, moved=1) == 2
    assert ceilings.least_seconds(flops=1, moved=40) == 4


def test_spread_is_median_and_quartiles():
    assert measure.Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == (3, 2, 4)


def test_exponents_of_power_laws():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert scaling.exponent(x, 3 * x**1.5) == pytest.approx(1.5)
    assert scaling.exponent(x, 7 / x) == pytest.approx(-1)
    assert scaling.exponent([1, 2, 4], [0, 4, 8]) == pytest.approx(1)
    assert scaling.exponent([1], [2]) is None
    assert scaling.exponent([2, 2], [1, 3]) is None


def test_memory_is_that_of_a_process_of_its_own():
    small, large = (
        memory.alone("nnmed", networks.workload("detector", batch, quick=True).with_(size=size),
                     "training", threads=1, rounds=2)
        for batch, size in ((1, 16), (8, 128))
    )  # fmt: skip
    assert large["peak_bytes"] > small["peak_bytes"] + 5e6
    assert large["flops"] > 100 * small["flops"]
    assert len(large["seconds"]) == 2


def test_the_process_prints_json(capsys):
    workload = networks.workload("unet", 1, quick=True).as_dict()
    figures = memory.run("nnmed", workload, "inference", threads=1, rounds=1, wall=True)
    assert set(json.loads(json.dumps(figures))) == {"peak_bytes", "seconds", "flops"}
    assert memory.peak_bytes() > 10e6


def test_tables_are_markdown_with_padded_columns():
    lines = table(("kernel", "ms"), [("conv", "1.5"), ("a longer name", "20")]).splitlines()
    assert lines == [
        "| kernel        |  ms |",
        "|---------------|----:|",
        "| conv          | 1.5 |",
        "| a longer name |  20 |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0, "0"), (1234.5, "1234"), (12.34, "12.3"),
     (1.234, "1.23"), (0.01234, "0.0123"), (0.00001234, "1e-05"), (-2.5, "-2.50")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_shares_are_percents():
    assert percent(0.256) == "26%"
    assert percent(None) == "-"
