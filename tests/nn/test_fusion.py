"""Batch norms folded into convolutions: equal outputs, fewer modules, a model left alone."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import models, nn
from nnmed.autograd import op as op_module
from nnmed.backend import random
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.fusion import fold_batch_norms
from nnmed.nn.utils import fuse_conv_bn_eval


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_statistics(model, seed=1):
    """Give the batch norms of a model weights and statistics of some training."""
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            for tensor in (*module.parameters(), module.running_mean, module.running_var):
                tensor.data = rng.uniform(0.5, 1.5, tensor.shape)
    return model.eval()


def kinds(model):
    return [type(module).__name__ for module in model.modules()]


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [
        (nn.Conv1d(4, 6, 3, bias=False), nn.BatchNorm1d(6), (2, 4, 7)),
        (nn.Conv2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6), (2, 4, 7, 6)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), (2, 4, 7, 6)),
        (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, eps=0.1, affine=False), (2, 4, 3, 3)),
        (nn.Conv3d(4, 2, 2), nn.BatchNorm3d(2, bias=False), (1, 4, 3, 4, 3)),
        (nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6), (2, 4, 3, 4)),
        (nn.ConvTranspose2d(4, 6, 2, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 3, 4)),
    ],
)
def test_a_fused_convolution_does_both(conv, norm, shape):
    pair = with_statistics(nn.Sequential(conv, norm))
    x, before = nnmed.Tensor(draw(*shape)), conv.weight.numpy().copy()
    fused = fuse_conv_bn_eval(*pair)
    np.testing.assert_allclose(fused(x).numpy(), pair(x).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(conv.weight.numpy(), before)
    assert type(fused) is type(conv)
    assert fused.weight.dtype == fused.bias.dtype == np.float32


@pytest.mark.oracle
def test_weights_equal_pytorch(torch):
    ours = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    theirs.load_state_dict({n: torch.tensor(t.numpy()) for n, t in ours.state_dict().items()})
    expected = torch.nn.utils.fuse_conv_bn_eval(*theirs)
    fused = fuse_conv_bn_eval(*ours)
    for a, b in zip(fused.parameters(), expected.parameters()):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make", [models.ResNet, models.SmallCNN, lambda i, o: models.UNet(i, o, base_channels=8)]
)
def test_a_whole_model_keeps_its_outputs(make):
    random.seed(0)
    model = with_statistics(make(3, 2))
    x = nnmed.Tensor(draw(2, 3, 32, 32))
    expected = model(x).numpy()
    before = {n: t.numpy().copy() for n, t in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    folded = fold_batch_norms(model.train(), nnmed.Tensor(draw(1, 3, 32, 32, seed=3)))
    assert "BatchNorm2d" not in kinds(folded)
    assert kinds(folded).count("Conv2d") == kinds(model).count("Conv2d")
    assert not folded.training
    scale = abs(expected).max()
    np.testing.assert_allclose(folded(x).numpy() / scale, expected / scale, atol=2e-5)
    for n, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[n])
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert not any(m._forward_hooks for m in folded.modules())
    assert not op_module.observers


class Tangled(nn.Module):
    """Where folding would change what the model gives, or nothing can be folded."""

    def __init__(self):
        super().__init__()
        self.used_twice = nn.Conv2d(3, 3, 1)
        self.called_twice = nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3, 3, 1)
        self.plain = nn.Conv2d(3, 3, 1)
        self.first_norm, self.second_norm, self.third_norm, self.fourth_norm = (
            nn.BatchNorm2d(3) for _ in range(4)
        )

    def forward(self, x):
        y = self.used_twice(x)
        y = self.first_norm(y) + y
        y = self.second_norm(self.called_twice(y)) + self.called_twice(x)
        y = self.third_norm(self.plain(y))
        last = self.last(y)
        return {"normal": self.fourth_norm(last), "plain": [last]}


def test_only_what_stays_equal_is_folded():
    model = with_statistics(Tangled())
    x = nnmed.Tensor(draw(2, 3, 4, 4))
    folded = fold_batch_norms(model, x)
    assert isinstance(folded.third_norm, nn.Identity)
    for name in ("first_norm", "second_norm", "fourth_norm"):
        assert isinstance(getattr(folded, name), nn.BatchNorm2d)
    ours, expected = folded(x), model(x)
    for a, b in ((ours["normal"], expected["normal"]), (ours["plain"][0], expected["plain"][0])):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_a_batch_norm_without_running_statistics_stays():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))
    folded = fold_batch_norms(model, nnmed.Tensor(draw(2, 3, 4, 4)))
    assert kinds(folded) == ["Sequential", "Conv2d", "BatchNorm2d"]


@pytest.mark.parametrize(
    ("conv", "norm", "error", "words"),
    [
        (nn.Linear(3, 4), nn.BatchNorm1d(4), UsageError, "Linear and BatchNorm1d"),
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(3), ShapeError, "4 channels"),
        (
            nn.Conv2d(3, 4, 1),
            nn.BatchNorm2d(4, track_running_stats=False),
            UsageError,
            "no running",
        ),
        (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, relu=True), UsageError, "ends in relu"),
    ],
)
def test_bad_arguments_are_named(conv, norm, error, words):
    with pytest.raises(error, match=words):
        fuse_conv_bn_eval(conv.eval(), norm.eval())


def test_training_mode_is_refused():
    with pytest.raises(UsageError, match=r"\.eval\(\)"):
        fuse_conv_bn_eval(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval())
