"""A number followed to the loss: all of its gradient passes at each step, if there is one way."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.errors import GradientError, OutOfRangeError, UsageError


def network(seed=0):
    """Return the derivation of a small ResNet's loss, with `image` as its input."""
    nnmed.seed(seed)
    model = models.ResNet(2, 3, (1, 1), 4)
    model.eval()
    start = np.random.default_rng(seed).standard_normal((1, 2, 24, 20)).astype(np.float32)
    image = nnmed.Tensor(start, requires_grad=True)
    with nnmed.recording(model):
        loss = F.cross_entropy(model(image), nnmed.Tensor([1]))
    return nnmed.explain(loss, model)


def test_by_hand():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    trail = nnmed.explain((y * y).sum()).follow("x", 1)
    assert trail.value == 2
    assert trail.gradient == 36
    parts = [(passage.step.op_name, passage.part) for passage in trail.passages]
    assert parts == [
        ("Mul", pytest.approx(36)),
        ("Mul", pytest.approx(36)),
        ("Sum", pytest.approx(36)),
    ]
    (entry,) = trail.passages[0].entries
    assert entry.place == (1,)
    assert entry.change == pytest.approx(3)
    assert entry.gradient == 12


def test_where_ways_part_their_parts_add_up():
    x = nnmed.Tensor([[0.5, -1.0]], requires_grad=True)
    a, b = nnmed.exp(x), nnmed.sin(x)
    derivation = nnmed.explain((a * 2.0 + b).sum())
    trail = derivation.follow("x", (0, 0))
    by_op = {passage.step.op_name: passage.part for passage in trail.passages}
    assert by_op["Exp"] == pytest.approx(2 * np.exp(0.5), rel=1e-6)
    assert by_op["Sin"] == pytest.approx(np.cos(0.5), rel=1e-6)
    assert by_op["Add"] == pytest.approx(by_op["Exp"] + by_op["Sin"], rel=1e-6)
    assert by_op["Add"] == pytest.approx(trail.gradient, rel=1e-6)


def test_in_a_network_the_whole_gradient_passes_where_all_ways_meet():
    derivation = network()
    index = np.s_[0, :, 9, 7]
    trail = derivation.follow("image", index)
    assert trail.gradient == pytest.approx(
        derivation.tensor("image").gradient[index].sum(), rel=1e-6
    )
    parts = {}
    for passage in trail.passages:
        parts.setdefault(passage.step.op_name, []).append(passage.part)
    for name in ("Add", "Linear", "CrossEntropy"):  # ways that have met again
        assert parts[name] == pytest.approx([trail.gradient] * len(parts[name]), rel=1e-5)
    assert trail.passages[-1].step.index == 0


def test_what_comes_from_all_sources_is_what_passes():
    trail = network().follow("image", np.s_[0, :, 9, 7])
    ways = set()
    for passage in trail.passages:
        assert sum(passage.sources.values()) == pytest.approx(passage.part, rel=1e-4)
        ways.add(len(passage.sources))
    assert ways == {1, 2}  # where a shortcut joins there are two
    assert list(trail.passages[0].sources) == [None]


def test_what_an_entry_does_is_what_it_does():
    """The entries that are named change as they do if the pixel is changed."""
    derivation = network()
    trail = derivation.follow("image", (0, 1, 9, 7))
    (leaf,) = [leaf for leaf in derivation.leaves if leaf.name == "image"]
    step = trail.passages[0].step
    weight = next(item.leaf for item in step.inputs if item.name == "weight").tensor.numpy()
    image = leaf.tensor.numpy().astype(np.float64)
    moved = image.copy()
    moved[0, 1, 9, 7] += 1
    weight = nnmed.Tensor(weight.astype(np.float64))
    before, after = (F.conv2d(nnmed.Tensor(x), weight, None, 2, 1).numpy() for x in (image, moved))
    assert len(trail.passages[0].entries) == 5
    for entry in trail.passages[0].entries:
        assert entry.change == pytest.approx((after - before)[entry.place], rel=1e-6)
    parts = [abs(entry.part) for entry in trail.passages[0].entries]
    assert parts == sorted(parts, reverse=True)


def test_the_output_of_a_step_is_followed_too():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3.0
    trail = nnmed.explain((y * y).sum()).follow("y", 0)
    assert trail.gradient == 6
    assert [passage.step.op_name for passage in trail.passages] == ["Mul", "Sum"]


def test_text():
    x = nnmed.Tensor([[1.0, 2.0]], requires_grad=True)
    text = str(nnmed.explain((x * x).sum()).follow("x", np.s_[..., 1]))
    assert text.splitlines() == [
        "x[..., 1] = 2, dL/dx = 4",
        "step  op   part  through",
        "1     Mul  4     [0, 1]: 4 * 1 = 4",
        "0     Sum  4     []: 4 * 1 = 4",
    ]


class Fused(nnmed.Op):
    """y = 2 x"""

    def forward(self, x):
        return x * 2

    def fused_backward(self, dy):
        return (dy * 2,)


def test_mistakes():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    derivation = nnmed.explain((x * 2.0).sum())
    with pytest.raises(OutOfRangeError, match=r"x \(2,\) has no \[2\]"):
        derivation.follow("x", 2)
    with pytest.raises(OutOfRangeError, match="too many indices"):
        derivation.follow("x", (0, 0))
    with pytest.raises(UsageError, match=r"\[5:\] of x \(2,\) is no number"):
        derivation.follow("x", slice(5, None))
    with pytest.raises(UsageError, match="no tensor is called 'z'"):
        derivation.follow("z", 0)
    derivation = nnmed.explain(Fused()(x).sum())
    with pytest.raises(GradientError, match=r"Fused at .* has no backward that can be recorded"):
        derivation.follow("x", 0)


def test_a_kink_does_not_stop_it():
    """At a kink it is as in backward, and no half of both sides."""
    x = nnmed.Tensor([0.0, 1.0], requires_grad=True)
    loss = (F.relu(x) * nnmed.Tensor([2.0, 3.0])).sum() + x.abs().max()
    derivation = nnmed.explain(loss)
    for place in (0, 1):
        trail = derivation.follow("x", place)
        assert trail.passages[-1].part == pytest.approx(trail.gradient)


def test_on_the_gpu(gpu):
    x = nnmed.Tensor(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2), requires_grad=True).to(gpu)
    y = F.relu(x - 1.5)
    derivation = nnmed.explain((y * y).sum())
    trail = derivation.follow("y", (0, 0, 1, 1))
    assert trail.gradient == pytest.approx(3.0)
    assert trail.passages[-1].part == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("function", "values"),
    [(nnmed.sqrt, [0.0, 4.0]), (lambda x: x * x, [np.nan, 4.0]), (lambda x: 1 / x, [0.0, 4.0])],
)
def test_numbers_that_are_not_followed_do_not_matter(function, values):
    x = nnmed.Tensor(np.float32(values), requires_grad=True)
    with np.errstate(all="ignore"):
        trail = nnmed.explain(function(x).sum()).follow("x", 1)
    assert np.isfinite(trail.gradient)
    for passage in trail.passages:
        assert passage.part == pytest.approx(trail.gradient)
        assert sum(passage.sources.values()) == pytest.approx(trail.gradient)
