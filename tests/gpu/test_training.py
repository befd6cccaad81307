"""Training in earnest on a card: memory, threads, bits, waiting. On the stand-in it is short."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.backend import cuda
from nnmed.data.loader import Batch
from nnmed.errors import DeviceError
from nnmed.models import SmallCNN
from nnmed.optim import SGD, AdamW
from nnmed.training.cuda_graph import CapturedStep
from nnmed.training.out_of_memory import FittingStep
from nnmed.training.step import TrainingStep


def loss(output, batch):
    return F.cross_entropy(output, nnmed.Tensor(batch.label))


def batches(count, device, images=8, size=16):
    rng = np.random.default_rng(0)
    for _ in range(count):
        label = np.arange(images) % 2
        image = rng.standard_normal((images, 1, size, size)) + label[:, None, None, None] / 2
        arrays = (nnmed.Tensor(a).to(device)._array for a in (image.astype(np.float32), label))
        yield Batch(*arrays, [None] * images)


def make(device, model=None, optimizer=SGD, **options):
    """Return a training step of a network that is always the same."""
    nnmed.seed(0)
    model = (model or SmallCNN(1, 2, (4, 8))).to(device)
    return TrainingStep(model, optimizer(model.parameters(), lr=0.02), loss, **options)


def weights(step):
    return {name: tensor.numpy() for name, tensor in step.model.state_dict().items()}


def assert_same_bits(ours, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array, name)


def convolutions():
    """Return a network without products of matrices, which CuPy does not capture."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
        nn.Conv2d(8, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def test_the_small_cnn_learns_what_it_learns_on_the_cpu(gpu, is_card):
    count, ours, expected = 200 if is_card else 12, make(gpu), make("cpu")
    for batch, same in zip(batches(count, gpu), batches(count, "cpu")):
        # Training enlarges what rounding begins.
        assert ours(batch).item() == pytest.approx(expected(same).item(), abs=0.01)
    for step in (ours, expected):
        step.model.eval()
    (batch,), (same,) = batches(1, gpu), batches(1, "cpu")
    with nnmed.no_grad():
        output = ours.model(nnmed.Tensor(batch.image)).numpy()
        np.testing.assert_allclose(
            output, expected.model(nnmed.Tensor(same.image)).numpy(), rtol=0.02, atol=0.02
        )


def test_two_runs_end_with_the_same_bits(gpu, is_card):
    def train():
        step = make(gpu, SmallCNN(1, 2, (4, 8), dropout=0.3), AdamW, max_norm=1.0)
        for batch in batches(100 if is_card else 4, gpu):
            step(batch)
        return weights(step)

    with nnmed.deterministic(True):
        assert_same_bits(train(), train())


def test_memory_does_not_grow(gpu, is_card):
    pool, step = cuda.cupy().get_default_memory_pool(), make(gpu, SmallCNN(1, 2, (4,)))

    def train(count):
        for batch in batches(count, gpu):
            step(batch)
        gc.collect()
        return pool.used_bytes(), pool.total_bytes()

    assert train(20 if is_card else 3) == train(1000 if is_card else 5)


def test_two_threads_train_two_networks(gpu, is_card):
    def train(step):
        for batch in batches(50 if is_card else 3, gpu):
            step(batch)
        return weights(step)

    expected = train(make(gpu))
    with ThreadPoolExecutor(2) as pool:
        for ours in pool.map(train, [make(gpu), make(gpu)]):
            assert_same_bits(ours, expected)


def test_a_step_does_not_wait_for_the_card(gpu, is_card):
    """What waits, or reads memory of the host, is refused while a stream is captured."""

    def train(wrap):
        step = wrap(make(gpu, convolutions(), max_norm=1.0))
        return [step(batch).item() for batch in batches(50 if is_card else 6, gpu)]

    captured = train(partial(CapturedStep, required=True))
    # The eager step leaves some products to cuBLAS.
    np.testing.assert_allclose(captured, train(lambda step: step), rtol=0, atol=0.01)


def test_memory_that_does_not_suffice_is_an_error_with_a_remedy(gpu):
    pool = cuda.cupy().get_default_memory_pool()
    pool.free_all_blocks()
    step = FittingStep(make(gpu), lambda step: step)
    (large,), (small,) = batches(1, gpu, images=64, size=64), batches(1, gpu)
    pool.set_limit(size=pool.total_bytes() + (1 << 20))
    try:
        with pytest.raises(DeviceError, match=r"out of memory .*--batch-size or --size"):
            step(large)
    finally:
        pool.set_limit(size=0)
    assert np.isfinite(make(gpu)(small).item())  # the card can go on


def test_sums_at_repeated_indices_have_one_order(gpu):
    rng = np.random.default_rng(0)
    index = rng.integers(0, 1000, 300_000)
    dy = nnmed.Tensor(rng.standard_normal(index.size).astype(np.float32))
    x = nnmed.Tensor(np.zeros(1000, np.float32)).to(gpu).requires_grad_()
    expected = np.zeros(1000, np.float32)
    np.add.at(expected, index, dy.numpy())
    with nnmed.deterministic(True):
        for _ in range(3):
            (dx,) = nnmed.grad(x[index], x, dy.to(gpu))
            np.testing.assert_array_equal(dx.numpy(), expected)


@pytest.mark.gpu
def test_memory_beside_the_pool_does_not_grow(card):
    """What libraries and compiled kernels take, which no pool counts."""
    device, step = cuda.cupy().cuda.Device(), make(card)

    def free(count):
        for batch in batches(count, card):
            step(batch)
        device.synchronize()
        return device.mem_info[0]

    assert free(10) - free(1000) < 32 << 20
