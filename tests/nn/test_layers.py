"""Every layer and loss: repr, names, forward and gradients as torch.nn, through a weight file."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.backend import random
from nnmed.errors import ShapeError, UsageError
from nnmed.nn import load_weights, save_weights

IMAGES = (2, 4, 7, 6)

# (name of the class, positional arguments, keyword arguments, shape of the input)
LAYERS = [
    ("Linear", (5, 3), {}, (2, 4, 5)),
    ("Linear", (5, 3), {"bias": False}, (5,)),
    ("Identity", (), {}, (3,)),
    ("Conv2d", (4, 6, 3), {}, IMAGES),
    ("Conv2d", (4, 6, (3, 2), 2, (1, 0), 2, 2, False), {}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "same"}, IMAGES),
    ("Conv2d", (4, 8, 3), {"padding": "valid", "groups": 4}, IMAGES),
    ("Conv2d", (4, 6, 1), {}, (4, 7, 6)),
    ("ConvTranspose2d", (4, 6, 3), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1, 2, True, 1), {}, IMAGES),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"dilation": 2, "bias": False}, IMAGES),
    ("MaxPool2d", (2,), {}, IMAGES),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, IMAGES),
    ("MaxPool2d", ((3, 2),), {"dilation": 2, "stride": 1}, IMAGES),
    ("AvgPool2d", (2,), {}, IMAGES),
    ("AvgPool2d", (3, 2, 1, True, False), {}, IMAGES),
    ("AvgPool2d", (3,), {"divisor_override": 5}, IMAGES),
    ("AdaptiveAvgPool2d", (3,), {}, IMAGES),
    ("AdaptiveAvgPool2d", ((None, 2),), {}, IMAGES),
    ("AdaptiveMaxPool2d", ((2, 4),), {}, IMAGES),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {"affine": False}, (5, 4, 3)),
    ("BatchNorm2d", (4,), {"eps": 1e-3, "momentum": 0.3}, IMAGES),
    ("BatchNorm2d", (4,), {"momentum": None}, IMAGES),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, IMAGES),
    ("BatchNorm2d", (4,), {"bias": False}, IMAGES),
    ("ReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("ELU", (), {"alpha": 0.7}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", (), {"approximate": "tanh"}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4)),
    ("LogSoftmax", (), {"dim": -1}, (3, 4)),
    ("Flatten", (), {}, IMAGES),
    ("Flatten", (0, 2), {}, IMAGES),
    ("Upsample", (), {"scale_factor": 2}, IMAGES),
    ("Upsample", ((5, 9),), {"mode": "bilinear"}, IMAGES),
    ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bilinear", "align_corners": True}, IMAGES),
    ("ZeroPad2d", (1,), {}, IMAGES),
    ("ZeroPad2d", ((1, 2, 0, 3),), {}, IMAGES),
]  # fmt: skip
LOSSES = [
    ("MSELoss", {}),
    ("MSELoss", {"reduction": "sum"}),
    ("L1Loss", {"reduction": "none"}),
    ("SmoothL1Loss", {"beta": 0.5}),
    ("BCEWithLogitsLoss", {"weight": [0.5, 2, 1], "pos_weight": [1, 3, 2]}),
]


def identify(case):
    name, *arguments = case
    return name + " " + " ".join(map(str, arguments[:2]))


def make(case, module):
    name, positional, keywords, _ = case
    return getattr(module, name)(*positional, **keywords)


def draw(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def randomize(torch, layer):
    """Give every weight and statistic of a PyTorch layer a value of its own."""
    generator = torch.Generator().manual_seed(0)
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def close(ours, theirs):
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("case", LAYERS, ids=identify)
def test_layer_equals_pytorch(torch, case, tmp_path):
    from safetensors.torch import load_file, save_file

    theirs, ours = make(case, torch.nn), make(case, nn)
    randomize(torch, theirs)
    assert repr(ours) == repr(theirs)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    load_weights(ours, tmp_path / "theirs.safetensors")

    array = draw(case[-1])
    for training in (True, False):
        x, y = Tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
        out, expected = ours.train(training)(x), theirs.train(training)(y)
        close(out, expected)
        gradient = draw(out.shape, seed=1)
        out.backward(Tensor(gradient))
        expected.backward(torch.from_numpy(gradient))
        close(x.grad, y.grad)
        for parameter, other in zip(ours.parameters(), theirs.parameters()):
            close(parameter.grad, other.grad)
            parameter.grad = other.grad = None

    save_weights(ours, tmp_path / "ours.safetensors")
    back = make(case, torch.nn).eval()
    back.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    close(ours(Tensor(array)), back(torch.from_numpy(array)))


@pytest.mark.oracle
@pytest.mark.parametrize("case", LAYERS, ids=identify)
def test_argument_names_equal_pytorch(torch, case):
    ours = list(inspect.signature(getattr(nn, case[0])).parameters)
    theirs = list(inspect.signature(getattr(torch.nn, case[0])).parameters)
    left_out = ("device", "dtype")
    # PyTorch's Sigmoid and Tanh inherit (*args, **kwargs) and take nothing.
    left_out += ("args", "kwargs") if case[0] != "Identity" else ()
    added = ["relu"] if case[0].startswith("BatchNorm") else []
    assert ours == [name for name in theirs if name not in left_out] + added


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "options"), LOSSES)
def test_loss_equals_pytorch(torch, name, options):
    lists = {k: np.array(v, np.float32) for k, v in options.items() if isinstance(v, list)}
    ours = getattr(nn, name)(**{**options, **lists})
    theirs = getattr(torch.nn, name)(
        **{**options, **{k: torch.from_numpy(v) for k, v in lists.items()}}
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    x, target = draw((4, 3)), (draw((4, 3), 1) > 0).astype(np.float32)
    close(ours(Tensor(x), Tensor(target)), theirs(torch.from_numpy(x), torch.from_numpy(target)))


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "sum", "label_smoothing": 0.1}, {"weight": True, "ignore_index": 1}],
)
def test_cross_entropy_equals_pytorch(torch, options):
    weight = np.array([0.2, 3, 1], np.float32)
    weights = [{"weight": f(weight)} if "weight" in options else {} for f in (Tensor, torch.tensor)]
    ours = nn.CrossEntropyLoss(**{**options, **weights[0]})
    theirs = torch.nn.CrossEntropyLoss(**{**options, **weights[1]})
    x, labels = draw((5, 3)), np.array([0, 1, 2, 2, 0])
    close(ours(Tensor(x), Tensor(labels)), theirs(torch.from_numpy(x), torch.from_numpy(labels)))
    shares = np.abs(draw((5, 3), 1))
    if "ignore_index" not in options:
        close(ours(Tensor(x), Tensor(shares)), theirs(torch.tensor(x), torch.tensor(shares)))


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d"])
def test_default_initialisation_has_the_bounds_of_pytorch(torch, name):
    size = (64, 32) if name == "Linear" else (64, 32, 3)
    random.seed(0)
    ours, theirs = getattr(nn, name)(*size), getattr(torch.nn, name)(*size)
    for parameter, other in zip(ours.parameters(), theirs.parameters()):
        rel = 0.01 if other.ndim > 1 else 0.2
        bound = other.abs().max().item()
        assert abs(parameter.numpy()).max() == pytest.approx(bound, rel=rel)
        if other.ndim > 1:
            assert parameter.numpy().std() == pytest.approx(bound / np.sqrt(3), rel=0.03)


@pytest.mark.oracle
def test_output_size_of_a_transposed_convolution(torch):
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    other = torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = draw((1, 2, 4, 5))
    for size in ((7, 9), (8, 10), (1, 3, 8, 9)):
        shape = layer(Tensor(x), output_size=size).shape
        assert shape == tuple(other(torch.from_numpy(x), output_size=list(size)).shape)
    for size in ((9, 9), (6, 9), (8,)):
        with pytest.raises(ShapeError, match="lies between"):
            layer(Tensor(x), output_size=size)


def test_max_pool_returns_indices():
    values, indices = nn.MaxPool2d(2, return_indices=True)(Tensor(draw(IMAGES)))
    assert values.shape == indices.shape == (2, 4, 3, 3)
    _, indices = nn.AdaptiveMaxPool2d(1, return_indices=True)(Tensor(draw(IMAGES)))
    assert indices.dtype.kind == "i"


def test_dropout_has_a_stream_of_its_own():
    random.seed(1)
    first, second = nn.Dropout(0.5), nn.Dropout(0.5)
    x = Tensor(np.ones(1000, np.float32))
    draws = [layer(x).numpy() for layer in (first, second, first)]
    assert len({array.tobytes() for array in draws}) == 3
    for array in draws:
        assert set(np.unique(array)) == {0, 2}
        assert 400 < (array == 0).sum() < 600
    assert first.eval()(x) is x
    random.seed(1)
    np.testing.assert_array_equal(nn.Dropout(0.5)(x).numpy(), draws[0])
    assert repr(first) == "Dropout(p=0.5, inplace=False)"


def test_batch_norm_counts_batches_and_resets():
    layer = nn.BatchNorm2d(4)
    for _ in range(3):
        layer(Tensor(draw(IMAGES)))
    assert int(layer.num_batches_tracked) == 3
    with pytest.raises(ShapeError, match="BatchNorm2d"):
        layer(Tensor(draw((2, 4))))
    assert int(layer.num_batches_tracked) == 3
    layer.reset_running_stats()
    assert int(layer.num_batches_tracked) == 0
    assert (layer.running_var.numpy() == 1).all()


def test_a_seed_repeats_a_model():
    def make_model():
        random.seed(5)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2))

    for one, two in zip(make_model().parameters(), make_model().parameters()):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.Linear(-1, 2),
        lambda: nn.Linear(2, 2.0),
        lambda: nn.BatchNorm2d("4"),
        lambda: nn.Conv2d(-4, 6, 3),
        lambda: nn.Conv2d(4, 6, 3, groups=0),
        lambda: nn.Conv2d(4, 6, 3, groups=4),
        lambda: nn.Conv2d(4, 6, 3, padding="full"),
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding="same"),
        lambda: nn.Conv2d(4, 6, (3, 3, 3)),
        lambda: nn.Dropout(1.5),
        lambda: nn.Dropout(inplace=True),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.ZeroPad2d((1, 2)),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(UsageError):
        call()
