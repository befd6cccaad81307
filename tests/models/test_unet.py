"""U-Net: shapes at any size, names, skips, and equality with the same network in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.errors import ShapeError, UsageError
from nnmed.models import UNet


def image(*shape):
    return nnmed.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (17, 16), (31, 45)])
def test_every_pixel_gets_its_scores(size):
    model = UNet(3, 5, base_channels=2)
    x = image(2, 3, *size)
    assert model(x).shape == (2, 5, *size)
    assert model.features(x).shape == (2, 2, *size)
    np.testing.assert_array_equal(model.classify(model.features(x)).data, model(x).data)


def test_the_paper_has_31_million_parameters():
    model = UNet(1, 2)
    convolutions = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 4)
    assert convolutions == 31_023_808
    names = set(model.state_dict())
    assert {
        "encoder.0.conv1.weight", "encoder.3.bn2.running_mean", "bottleneck.conv2.weight",
        "decoder.0.up.weight", "decoder.3.conv.bn1.bias", "head.bias",
    } <= names  # fmt: skip
    assert model.state_dict()["decoder.0.up.weight"].shape == (1024, 512, 2, 2)


def test_levels_can_be_chosen():
    model = UNet(1, 2, base_channels=2, levels=2)
    assert len(model.encoder) == len(model.decoder) == 2
    assert model(image(1, 1, 8, 11)).shape == (1, 2, 8, 11)


def test_every_parameter_gets_a_gradient():
    model = UNet(1, 3, base_channels=2, levels=2)
    labels = nnmed.Tensor(np.random.default_rng(1).integers(0, 3, (2, 9, 8)))
    F.cross_entropy(model(image(2, 1, 9, 8)), labels).backward()
    for name, parameter in model.named_parameters():
        assert np.abs(parameter.grad.numpy()).max() > 0, name


def test_it_learns_to_tell_bright_pixels():
    nnmed.seed(0)
    model = UNet(1, 2, base_channels=4, levels=2)
    x = image(4, 1, 16, 16)
    labels = nnmed.Tensor((x.numpy()[:, 0] > 0).astype(np.int64))
    optimizer = nnmed.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_skips_carry_the_details():
    """Without what the encoder passes across, a shift of one pixel would be lost."""
    model = UNet(1, 1, base_channels=4, levels=3).eval()
    dot, shifted = np.zeros((2, 1, 1, 16, 16), np.float32)
    dot[..., 5, 5] = shifted[..., 5, 6] = 1
    with nnmed.no_grad():
        a, b = (model(nnmed.Tensor(x)).numpy() for x in (dot, shifted))
    assert not np.allclose(a, b)


def test_a_small_image_is_refused():
    with pytest.raises(ShapeError, match="4 levels need images of 16 x 16"):
        UNet(1, 2, base_channels=1)(image(1, 1, 15, 32))


@pytest.mark.parametrize("options", [dict(base_channels=0), dict(levels=0)])
def test_senseless_sizes_are_refused(options):
    with pytest.raises(UsageError, match="at least 1"):
        UNet(1, 2, **options)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [16, 21])
def test_it_equals_pytorchs(size, torch):
    from benchmarks.subjects.torch_networks import UNet as Twin

    model = UNet(2, 3, base_channels=2).double()
    twin = Twin(2, 3, 2).double()
    state = {name: torch.from_numpy(t.numpy().copy()) for name, t in model.state_dict().items()}
    twin.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal((2, 2, size, size))
    output, expected = model(nnmed.Tensor(x)), twin(torch.from_numpy(x))
    np.testing.assert_allclose(output.numpy(), expected.detach().numpy(), rtol=1e-7, atol=1e-9)
    (output * output).sum().backward()
    (expected * expected).sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters()):
        np.testing.assert_allclose(
            ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-7, err_msg=name
        )
