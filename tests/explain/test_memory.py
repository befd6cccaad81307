"""The timeline against what the graph really holds."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.errors import GradientError, UsageError
from nnmed.explain import memory_timeline
from nnmed.explain.memory import ARRIVED, PASSING, SAVED
from nnmed.models.resnet import ResNet


def resnet_loss():
    model = ResNet(1, 3, blocks=(1, 2), width=4)
    image = nnmed.Tensor(np.random.default_rng(0).random((2, 1, 32, 32), np.float32))
    with nnmed.recording(model):
        loss = F.cross_entropy(model(image), nnmed.Tensor([0, 2]))
    return model, loss


def ops_of(loss):
    ops, stack = set(), [loss._op]
    while stack:
        op = stack.pop()
        if isinstance(op, nnmed.Op) and op not in ops:
            ops.add(op)
            stack += op.edges
    return ops


def test_a_chain_by_hand():
    x = nnmed.Tensor(np.ones(100, np.float32), requires_grad=True)
    loss = nnmed.exp(nnmed.sin(x)).sum()
    timeline = memory_timeline(loss)
    # Moments: sin, exp, sum, then their backwards in reverse.
    (output,) = [item for item in timeline.held if item.kind == SAVED]  # of exp; sin keeps the leaf
    assert (output.nbytes, output.since, output.until) == (400, 1, 4)
    passing = [(h.nbytes, h.since, h.until) for h in timeline.held if h.kind == PASSING]
    assert sorted(passing) == [(400, 3, 4), (400, 4, 5)]
    (arrived,) = [item for item in timeline.held if item.kind == ARRIVED]
    assert (arrived.nbytes, arrived.since, arrived.until) == (400, 5, 5)
    assert timeline.usage().tolist() == [0, 400, 400, 800, 1200, 800]
    assert (timeline.peak, timeline.peak_moment) == (1200, 4)


def test_after_forward_it_is_what_the_ops_keep():
    model, loss = resnet_loss()
    timeline = memory_timeline(loss, model)
    leaves = {id(p._array) for p in model.parameters()}
    memory = {}
    for op in ops_of(loss):
        for array in op.kept_arrays():
            while isinstance(array.base, np.ndarray):
                array = array.base
            if id(array) not in leaves:
                memory[id(array)] = array.nbytes
    forward = timeline.moments // 2 - 1
    assert timeline.usage()[forward] == sum(memory.values())


def test_gradients_at_the_end_are_those_of_all_parameters():
    model, loss = resnet_loss()
    timeline = memory_timeline(loss, model)
    arrived = [item for item in timeline.held if item.kind == ARRIVED]
    assert sum(item.nbytes for item in arrived) == sum(p._array.nbytes for p in model.parameters())
    names = {item.what.split()[1] for item in arrived}
    assert names == {name for name, _ in model.named_parameters()}


def test_memory_that_two_ops_save_counts_once():
    x = nnmed.Tensor(np.ones(50, np.float32), requires_grad=True)
    y = nnmed.exp(x)
    timeline = memory_timeline((y * nnmed.sin(y)).sum())
    held = [item for item in timeline.held if "Exp" in item.what and item.kind == SAVED]
    assert len(held) == 1
    assert len(held[0].holders) == 3


def test_a_view_of_a_leaf_is_the_leaf_and_views_of_an_output_are_one_array():
    x = nnmed.from_numpy(np.ones((6, 10), np.float32)[1:]).requires_grad_()
    loss = nnmed.sin(x.reshape(50)).sum()
    assert [item for item in memory_timeline(loss).held if item.kind == SAVED] == []
    y = nnmed.exp(x)
    timeline = memory_timeline(
        (nnmed.sin(y.reshape(50)) * nnmed.cos(y[2:4].reshape(20)).sum()).sum()
    )
    (exp,) = [item for item in timeline.held if "output of Exp" in item.what and item.kind == SAVED]
    assert (exp.nbytes, len(exp.holders)) == (200, 3)


def test_of_a_data_set_the_batch_alone_is_counted():
    data = nnmed.Tensor(np.zeros((100, 3), np.float32))
    w = nnmed.Tensor(np.ones((1, 3), np.float32), requires_grad=True)
    (batch,) = [h for h in memory_timeline((data[:5] * w).sum()).held if "input a" in h.what]
    assert batch.nbytes == 5 * 3 * 4
    both = (data[:5] * w).sum() + (data[5:7] * w).sum()
    (batch,) = [h for h in memory_timeline(both).held if "input a" in h.what]
    assert batch.nbytes == 7 * 3 * 4


def test_checkpointing_a_module_moves_what_it_makes():
    model, loss = resnet_loss()
    timeline = memory_timeline(loss, model)
    less = timeline.checkpointed("layer1")
    forward = timeline.moments // 2 - 1
    moved = [new for old, new in zip(timeline.held, less.held) if old != new]
    assert moved
    assert {item.layer.partition(".")[0] for item in moved} == {"layer1"}
    assert timeline.usage()[forward] - less.usage()[forward] == sum(h.nbytes for h in moved)
    # When backward comes to the module everything is there again.
    again = moved[0].since
    assert again > forward
    np.testing.assert_array_equal(timeline.usage()[again:], less.usage()[again:])


def test_what_checkpointing_saves_is_what_it_saves():
    """The ops of a graph made with checkpoint() keep exactly so much less."""
    x = nnmed.Tensor(np.ones((4, 6), np.float32))
    model = nnmed.nn.Sequential(nnmed.nn.Linear(6, 5), nnmed.nn.Tanh(), nnmed.nn.Linear(5, 3))
    outer = nnmed.nn.Sequential(nnmed.nn.Linear(6, 6), nnmed.nn.Tanh(), model, nnmed.nn.Tanh())

    def loss(call):
        with nnmed.recording(outer):
            return outer[3](call(outer[1](outer[0](x)))).sum()

    plain, spared = loss(model), loss(lambda t: nnmed.checkpoint(model, t))
    forward = memory_timeline(plain).moments // 2 - 1
    predicted = memory_timeline(plain, outer).checkpointed("2").usage()[forward]
    assert predicted == memory_timeline(spared, outer).usage()[forward]
    assert predicted < memory_timeline(plain, outer).usage()[forward]


def test_on_a_gpu_the_timeline_is_the_same(gpu):
    timelines = []
    for device in ("cpu", gpu):
        x = nnmed.Tensor(np.ones(64, np.float32)).to(device).requires_grad_()
        timelines.append(memory_timeline((nnmed.exp(x) * nnmed.sin(x)).sum()).usage())
    np.testing.assert_array_equal(*timelines)


def test_text_and_plot(tmp_path):
    model, loss = resnet_loss()
    timeline = memory_timeline(loss, model)
    text = str(timeline)
    assert text.startswith("peak: ")
    assert "saved for backward" in text
    assert timeline.plot(tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_bad_use():
    model, loss = resnet_loss()
    with pytest.raises(UsageError, match=r"'layer7'; modules: conv1"):
        memory_timeline(loss, model).checkpointed("layer7")
    with pytest.raises(GradientError, match="no operation was recorded"):
        memory_timeline(nnmed.Tensor(1.0))
    loss.backward()
    with pytest.raises(GradientError, match="released"):
        memory_timeline(loss)
