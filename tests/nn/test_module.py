"""Module: registering, walking, state, modes, repr."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.errors import DTypeError, ModelError, UsageError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.register_buffer("seen", Tensor(np.zeros(3, np.float32)))
        self.register_buffer("scratch", Tensor(np.zeros(1, np.float32)), persistent=False)

    def forward(self, x):
        return self.first(x) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Identity())
        self.tied = self.head[0]

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


NAMES = [
    f"blocks.{i}.{name}"
    for i in range(2)
    for name in ("scale", "first.weight", "first.bias")
]  # fmt: skip


def test_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [*NAMES, "head.0.weight"]
    assert len(list(net.parameters())) == 7
    assert next(name for name, _ in net.named_parameters("net")) == "net.blocks.0.scale"
    assert list(net.named_parameters(recurse=False)) == []
    assert [name for name, _ in net.named_buffers()] == [
        "blocks.0.seen", "blocks.0.scratch", "blocks.1.seen", "blocks.1.scratch",
    ]  # fmt: skip
    assert [name for name, _ in net.named_children()] == ["blocks", "head", "tied"]
    names = [name for name, _ in net.named_modules()]
    assert names[:4] == ["", "blocks", "blocks.0", "blocks.0.first"]
    assert len(list(net.modules())) == len(names) == len(set(names))


@pytest.mark.oracle
def test_state_dict_names_equal_pytorch(torch):
    class TorchBlock(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(3, 3)
            self.scale = torch.nn.Parameter(torch.ones(3))
            self.register_buffer("seen", torch.zeros(3))
            self.register_buffer("scratch", torch.zeros(1), persistent=False)

    class TorchNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = torch.nn.ModuleList([TorchBlock(), TorchBlock()])
            self.head = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Identity())
            self.tied = self.head[0]

    ours, theirs = Net(), TorchNet()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    names = [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_parameters()] == names
    assert repr(ours) == repr(theirs).replace("TorchNet", "Net").replace("TorchBlock", "Block")
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]


def test_state_goes_from_one_net_to_another():
    ours, other = Net(), Net()
    other.blocks[0].seen.data = np.arange(3, dtype=np.float32)
    before = ours.blocks[0].scale._version.count
    result = ours.load_state_dict(other.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert ours.blocks[0].scale._version.count == before + 1
    for name, tensor in ours.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[name].numpy())
        assert not np.shares_memory(tensor.numpy(), other.state_dict()[name].numpy())
    assert not ours.state_dict()["blocks.0.scale"].requires_grad
    assert np.shares_memory(ours.state_dict()["blocks.0.scale"].numpy(), ours.blocks[0].scale.data)


def test_a_state_that_does_not_fit_is_refused_whole():
    net = Net()
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()}
    del state["blocks.0.scale"]
    state["blocks.2.scale"] = np.zeros(3, np.float32)
    state["head.0.weight"] = np.zeros((3, 2), np.float32)
    state["blocks.1.seen"] = np.zeros(3, np.int64)
    with pytest.raises(ModelError) as error:
        net.load_state_dict(state)
    for text in (
        "missing: blocks.0.scale",
        "unexpected: blocks.2.scale",
        "head.0.weight (shape (3, 2), expected (2, 3))",
        "blocks.1.seen (dtype int64, expected float32)",
    ):
        assert text in str(error.value)
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    with pytest.raises(ModelError, match="mapping"):
        net.load_state_dict([1, 2])


def test_a_long_list_of_names_is_cut():
    net = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)])
    with pytest.raises(ModelError, match="and 28 more"):
        net.load_state_dict({})


def test_not_strict():
    net = Net()
    state = {"blocks.0.scale": np.zeros(3, np.float64), "other": np.zeros(1)}
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert unexpected == ["other"]
    assert "blocks.1.scale" in missing
    assert net.blocks[0].scale.dtype == np.float32
    assert not net.blocks[0].scale.numpy().any()
    with pytest.raises(ModelError, match="shape"):
        net.load_state_dict({"blocks.0.scale": np.zeros(4)}, strict=False)


def test_attributes():
    net = Net()
    block = net.blocks[0]
    block.scale = None
    assert block.scale is None
    assert "scale" not in dict(block.named_parameters())
    block.scale = nn.Parameter(np.zeros(3, np.float32))
    assert "scale" in dict(block.named_parameters())
    block.seen = Tensor(np.ones(3, np.float32))
    assert "seen" in dict(block.named_buffers())
    block.plain = 3
    assert block.plain == 3
    block.plain = nn.Identity()
    assert [name for name, _ in block.named_children()] == ["first", "plain"]
    del block.plain
    assert not hasattr(block, "plain")
    assert {"scale", "seen", "first"} <= set(dir(block))
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'other'"):
        block.other  # noqa: B018
    for value in (Tensor(np.zeros(3, np.float32)), 3):
        with pytest.raises(UsageError, match="scale is a Parameter"):
            block.scale = value
    with pytest.raises(UsageError, match="seen is a Tensor"):
        block.seen = np.zeros(3)
    with pytest.raises(UsageError, match="without dots"):
        block.add_module("a.b", nn.Identity())
    with pytest.raises(UsageError, match="already has an attribute"):
        block.register_buffer("forward", Tensor(1.0))


def test_super_init_forgotten():
    class Wrong(nn.Module):
        def __init__(self):
            self.layer = nn.Identity()

    with pytest.raises(UsageError, match="super"):
        Wrong()


def test_modes():
    net = Net()
    assert net.train(False) is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    net.eval()
    assert not net.blocks[1].training


def test_gradients_switched_and_forgotten():
    net = Net()
    net(Tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert not any(p.grad.numpy().any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(Tensor(np.ones((2, 3), np.float32))).requires_grad


def test_apply_goes_from_the_leaves_up():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen[0] == "Linear"
    assert seen[-1] == "Net"


def test_dtypes():
    net = Net().double()
    assert {t.dtype for t in (*net.parameters(), *net.buffers())} == {np.dtype(np.float64)}
    assert net(Tensor(np.ones((2, 3)))).dtype == np.float64
    assert {p.dtype for p in net.float().parameters()} == {np.dtype(np.float32)}
    assert net.to("cpu") is net
    assert net.to(np.float64).head[0].weight.dtype == np.float64
    with pytest.raises(DTypeError, match="float16"):
        net.to(np.float16)
    counter = nn.BatchNorm1d(3).double()
    assert counter.num_batches_tracked.dtype == np.int64


def test_a_copy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    twin.head[0].weight.data = np.zeros((2, 3), np.float32)
    assert net.head[0].weight.numpy().any()
    assert twin.tied is twin.head[0]


def test_forward_must_be_written():
    with pytest.raises(UsageError, match="ModuleList defines no forward"):
        nn.ModuleList()(1)


def test_containers():
    layers = [nn.Linear(2, 2), nn.Identity(), nn.Linear(2, 1)]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    assert list(dict(model[1:].named_modules())) == ["", "1", "2"]
    model[1] = nn.Linear(2, 2)
    assert isinstance(model[1], nn.Linear)
    assert len(model.append(nn.Identity())) == 4
    named = nn.Sequential({"a": nn.Identity(), "b": nn.Linear(1, 1)})
    assert [name for name, _ in named.named_parameters()] == ["b.weight", "b.bias"]
    items = nn.ModuleList(layers).extend([nn.Identity()])
    assert len(items) == 4
    assert type(items[:2]) is nn.ModuleList
    assert len(nn.Sequential()) == len(nn.ModuleList(nn.ModuleList())) == 0
    with pytest.raises(IndexError, match="no index 9"):
        items[9]
    with pytest.raises(UsageError, match="no Module"):
        nn.Sequential(nn.Identity(), abs)
    with pytest.raises(UsageError, match="Module or None"):
        nn.ModuleList([3])


def test_parameter():
    parameter = nn.Parameter([1.0, 2.0])
    assert parameter.requires_grad
    assert repr(parameter).startswith("Parameter containing:\nTensor([1., 2.]")
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
