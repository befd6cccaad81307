"""nnmed.explain(loss): the steps of backward and what is known of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.errors import GradientError, OutOfRangeError, UsageError


def leaf(*values):
    return nnmed.Tensor(values if len(values) > 1 else values[0], requires_grad=True)


def small_network():
    nnmed.seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    image = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32))
    return net, image, nnmed.Tensor([0, 2])


def test_the_function_and_its_room_live_under_one_name():
    code = (
        "import nnmed; from nnmed.explain import grad_cam, Derivation; import nnmed.explain;"
        "x = nnmed.Tensor(2.0, requires_grad=True); print(len(nnmed.explain(x * x)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "1\n", result.stderr


def test_steps_come_in_the_order_of_backward_with_their_gradients():
    x, y = leaf(2.0), leaf(3.0)
    derivation = nnmed.explain(x * y + nnmed.sin(x))
    assert [step.op_name for step in derivation] == ["Add", "Sin", "Mul"]
    add, sin, mul = derivation
    assert [item.source for item in add.inputs] == [2, 1]
    assert sin.gradient == 1.0
    assert sin.inputs[0].gradient == pytest.approx(np.cos(2.0))
    assert [item.leaf.name for item in mul.inputs] == ["x", "y"]
    assert [item.name for item in mul.inputs] == ["a", "b"]
    assert "partial" in mul.inputs[0].formula


def test_gradients_of_leaves_are_those_of_backward_and_grad_is_untouched():
    net, image, target = small_network()
    loss = F.cross_entropy(net(image), target)
    derivation = nnmed.explain(loss, net)
    assert all(p.grad is None for p in net.parameters())
    loss.backward()  # the graph is still there
    by_name = {leaf.name: leaf.gradient for leaf in derivation.leaves}
    assert set(by_name) == {name for name, _ in net.named_parameters()}
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(by_name[name], parameter.grad.numpy(), err_msg=name)


def test_the_line_of_the_user_is_named():
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()  # this line
    step = nnmed.explain(loss)[0]
    assert Path(step.file) == Path(__file__)
    assert step.source == "loss = (x * x).sum()  # this line"


def test_statistics_of_gradients():
    x = leaf(1.0, -2.0, 3.0, -4.0)
    relu = nnmed.explain(F.relu(x).sum()).where("Relu")[0]
    statistics = relu.inputs[0].statistics
    assert (statistics.norm, statistics.min, statistics.max) == (np.sqrt(2.0), 0.0, 1.0)
    assert (statistics.mean, statistics.zeros) == (0.5, 0.5)


def test_paths_that_meet_are_counted():
    x = leaf(2.0)
    a = x * 3.0
    derivation = nnmed.explain(a * a + a)
    step = derivation.tensor("a")
    assert [derivation[index].op_name for index, _ in step.contributions] == ["Add", "Mul", "Mul"]
    assert step.notes == ["3 paths were added up, from steps 0, 1, 1"]
    assert step.gradient == 2 * 6.0 + 1


def test_broadcasting_is_a_step_with_its_sum():
    x = nnmed.Tensor(np.ones((4, 3), np.float32))
    bias = leaf(1.0, 2.0, 3.0)
    step = nnmed.explain((x + bias).sum()).where("BroadcastTo")[0]
    assert step.notes == ["broadcast (3,) to (4, 3); the gradient is summed over dim 0"]
    np.testing.assert_array_equal(step.inputs[0].gradient, [4, 4, 4])
    scale = nnmed.Tensor(np.ones((2, 1, 3, 1), np.float32), requires_grad=True)
    step = nnmed.explain((scale * nnmed.Tensor(np.ones((2, 5, 3, 4)))).sum()).where("BroadcastTo")
    assert step[0].notes[0].endswith("summed over dims 1, 3")


def test_saved_arrays_are_listed_and_their_memory_is_followed():
    x = leaf(1.0, 2.0)
    y = nnmed.exp(x)
    total, square, exp = nnmed.explain((y * y).sum())
    assert total.saved == []
    assert [saved.what for saved in square.saved] == ["input a", "input b"]
    assert [saved.what for saved in exp.saved] == ["output"]
    assert square.saved[0].nbytes == 8
    # Both hold the output of exp, until the step of exp.
    assert (square.saved[0].since, square.saved[0].until) == (2, 2)
    assert (exp.saved[0].since, exp.saved[0].until) == (2, 2)


def test_a_loss_keeps_its_gradient_only_until_backward():
    x = nnmed.Tensor([[0.1, 0.2]], requires_grad=True)
    loss = F.cross_entropy(x, nnmed.Tensor([1]))
    saved = nnmed.explain(loss)[0].saved
    assert [item.what for item in saved] == ["input input", "input target", "dx"]


def test_values_that_nobody_kept_are_computed_again():
    x = leaf(1.0, 2.0)
    a = x + nnmed.Tensor([1.0, 1.0])
    b = a + 1.0
    derivation = nnmed.explain(b.sum())
    assert derivation.tensor("a").saved == []
    assert derivation.tensor("a").output_value is None  # the constant is gone
    derivation = nnmed.explain((0.5 - (x + 1.0)).sum())  # but numbers are there
    np.testing.assert_array_equal(derivation[0].input_values[0], [-1.5, -2.5])
    c = x + x
    derivation = nnmed.explain((c + c).sum())
    np.testing.assert_array_equal(derivation.tensor("c").output_value, [2, 4])
    np.testing.assert_array_equal(derivation[0].input_values[0], [4, 8])


def test_a_long_chain_is_no_deep_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(3000):
        y = y + x
    derivation = nnmed.explain(y)
    assert derivation[0].output_value == 3001
    assert derivation.leaves[0].gradient == 3001


def test_flops_bytes_shapes_and_dtypes():
    net, image, target = small_network()
    derivation = nnmed.explain(F.cross_entropy(net(image), target), net)
    conv = derivation.where("Conv")[0]
    assert conv.flops == 2 * 2 * 4 * 4 * 4 * 9
    assert conv.nbytes == 4 * (2 * 16 + 36 + 4 + 2 * 4 * 16)
    assert (conv.shape, conv.dtype) == ((2, 4, 4, 4), np.float32)
    assert conv.inputs[0].gradient is None  # the image wants none
    assert conv.inputs[1].shape == (4, 1, 3, 3)


def test_steps_are_found_by_op_layer_and_tensor():
    net, image, target = small_network()
    derivation = nnmed.explain(F.cross_entropy(net(image), target), net)
    assert derivation.where("Conv") == derivation.where("0") == derivation.where("0.weight")
    assert derivation[-1] is derivation.step(len(derivation) - 1)
    assert derivation[1:3] == derivation.steps[1:3]
    with pytest.raises(UsageError, match="no step is called 'conv9'; the ops are BatchNorm, "):
        derivation.where("conv9")
    with pytest.raises(OutOfRangeError, match="step 99: the derivation has"):
        derivation.step(99)
    with pytest.raises(UsageError, match=r"no tensor is called 'z'; the leaves are 0.weight"):
        derivation.chain_rule("z")


def test_layers_within_layers_are_found_by_the_outer_name():
    nnmed.seed(0)
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 1))
    loss = net(nnmed.Tensor([[1.0, 2.0]])).sum()
    derivation = nnmed.explain(loss, net)
    assert [step.layer for step in derivation.where("0")] == ["0.1", "0.0"]


def test_a_released_graph_is_refused():
    x = leaf(2.0)
    loss = nnmed.sin(x) * x
    loss.backward()
    with pytest.raises(GradientError, match="backward has released the arrays of Mul"):
        nnmed.explain(loss)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda: nnmed.Tensor(1.0), GradientError, "does not depend on any tensor"),
        (lambda: leaf(1.0, 2.0) * 2, GradientError, "reduce it"),
        (lambda: 3.0, UsageError, "explain takes the loss, a Tensor, got float"),
    ],
)
def test_what_has_no_derivation_is_refused(loss, error, message):
    with pytest.raises(error, match=message):
        nnmed.explain(loss())


def test_a_leaf_alone_has_no_steps():
    x = leaf(2.0)
    derivation = nnmed.explain(x)
    assert len(derivation) == 0
    assert derivation.chain_rule("x") == "dL/dx = 1"


def test_a_later_backward_and_step_leave_the_derivation_as_it_was():
    x = leaf(2.0)
    loss = nnmed.sin(x) * x
    derivation = nnmed.explain(loss)
    text = str(derivation)
    loss.backward()
    x.data = 5.0
    assert str(derivation) == text
    with pytest.raises(GradientError, match="changed in place since"):
        derivation.verify()


def test_checkpointed_ops_save_nothing_and_are_explained_all_the_same():
    x = leaf(1.0, 2.0)
    plain = nnmed.explain(nnmed.exp(nnmed.sin(x)).sum())
    derivation = nnmed.explain(nnmed.checkpoint(lambda x: nnmed.exp(nnmed.sin(x)), x).sum())
    assert [step.saved for step in derivation] == [[], [], []]
    np.testing.assert_array_equal(derivation.leaves[0].gradient, plain.leaves[0].gradient)
    assert {step.check.verdict for step in derivation.verify()} == {"passed"}


def test_the_gpu_is_explained_and_verified_as_the_cpu_is(gpu):
    net, image, target = small_network()
    on_cpu = nnmed.explain(F.cross_entropy(net(image), target), net)
    expected = [(step.gradient, step.output_value) for step in on_cpu]
    loss = F.cross_entropy(net.to(gpu)(image.to(gpu)), target.to(gpu))
    derivation = nnmed.explain(loss, net).verify()
    assert {step.device for step in derivation} == {"gpu"}
    assert {step.check.verdict for step in derivation} == {"passed"}
    for step, (gradient, value) in zip(derivation, expected):
        assert isinstance(step.gradient, np.ndarray)
        np.testing.assert_allclose(step.gradient, gradient, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(step.output_value, value, rtol=1e-4, atol=1e-5)
    assert "CrossEntropy" in str(derivation)


def test_automatic_names_keep_off_the_callers():
    a = nnmed.Tensor(2.0, requires_grad=True)
    y1 = a * 2
    L = a * 3
    derivation = nnmed.explain(nnmed.sin(y1) * L)
    names = [step.name for step in derivation] + [leaf.name for leaf in derivation.leaves]
    assert len(set(names)) == len(names)
    assert {"y1", "L", "a"} <= set(names)


def test_a_leaf_that_no_gradient_reaches_is_none():
    a, b = (nnmed.Tensor(v, requires_grad=True) for v in (2.0, 3.0))
    derivation = nnmed.explain(a * 2 + nnmed.where(nnmed.Tensor(True), a, b * 0))
    assert "a" in {leaf.name for leaf in derivation.leaves}


def test_steps_by_name_in_brackets():
    a = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    derivation = nnmed.explain((nnmed.sin(a) * a).sum())
    assert [step.op_name for step in derivation["Sin"]] == ["Sin"]
    with pytest.raises(UsageError, match="no step is called"):
        derivation["Cos"]


def test_a_leaf_has_no_page():
    with pytest.raises(UsageError, match="no steps to show"):
        nnmed.explain(nnmed.Tensor(1.0, requires_grad=True)).to_html()
