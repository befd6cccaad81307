"""Two parts of a backward pass at the same time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.autograd.side_by_side import side_by_side
from nnmed.backend import threads


@pytest.fixture(autouse=True)
def two_threads():
    count = threads.get_num_threads()
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(count)


def test_calls_meet_and_record_nothing():
    together = threading.Barrier(2, timeout=10)
    x = nnmed.Tensor([1.0], requires_grad=True)

    def call(factor):
        together.wait()
        return x * factor

    with nnmed.no_grad():
        two, three = side_by_side(lambda: call(2), lambda: call(3))
    assert (two.item(), three.item()) == (2, 3)
    assert not any(y.requires_grad for y in (two, three))


def test_while_recording_they_run_in_turn_in_this_thread():
    x = nnmed.Tensor([1.0], requires_grad=True)
    names = []

    def call():
        names.append(threading.current_thread())
        return x * 2

    assert all(y.requires_grad for y in side_by_side(call, call))
    assert names == [threading.current_thread()] * 2


def test_an_error_of_either_is_raised():
    def fail():
        raise ValueError("the second")

    with nnmed.no_grad(), pytest.raises(ValueError, match="the second"):
        side_by_side(lambda: None, fail)


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_a_large_convolution_have_the_same_bits_with_one_thread(transposed):
    rng = np.random.default_rng(0)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    shapes = (4, 32, 24, 24), (32, 32, 3, 3)
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]

    def gradients():
        x, weight = (nnmed.Tensor(a, requires_grad=True) for a in arrays)
        (convolve(x, weight, padding=1) ** 2).sum().backward()
        return x.grad.numpy(), weight.grad.numpy()

    both = gradients()
    threads.set_num_threads(1)
    for one, two in zip(gradients(), both):
        assert (one == two).all()
