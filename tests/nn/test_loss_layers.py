"""Every loss layer equals torch.nn's, or the function that it stands for."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn

RNG = np.random.default_rng(0)
X, Y, Z = RNG.standard_normal((3, 6, 4)).astype(np.float32)
P = RNG.uniform(0.1, 0.9, (6, 4)).astype(np.float32)
CLASSES = RNG.integers(0, 4, 6)
SIGNS = np.where(X > 0, 1, -1)
LISTS = np.array([[0, 2, -1, 1], [3, -1, 0, 0]] * 3)
WEIGHT = np.array([0.5, 2, 1, 3], np.float32)

AS_TORCH = [
    ("NLLLoss", dict(weight=WEIGHT, ignore_index=1, reduction="sum"), (X, CLASSES)),
    ("BCELoss", dict(weight=WEIGHT, reduction="none"), (P, 1 - P)),
    ("HuberLoss", dict(reduction="sum", delta=0.4), (X, Y)),
    ("KLDivLoss", dict(reduction="batchmean"), (X, P)),
    ("KLDivLoss", dict(reduction="sum", log_target=True), (X, Y)),
    ("PoissonNLLLoss", dict(log_input=False, full=True, eps=0.1), (P, 3 * P)),
    ("GaussianNLLLoss", dict(full=True, eps=0.2, reduction="none"), (X, Y, P)),
    ("SoftMarginLoss", dict(reduction="none"), (X, SIGNS)),
    ("MultiLabelSoftMarginLoss", dict(weight=WEIGHT, reduction="none"), (X, P)),
    ("MultiMarginLoss", dict(p=2, margin=0.5, weight=WEIGHT), (X, CLASSES)),
    ("MultiLabelMarginLoss", dict(reduction="sum"), (X, LISTS)),
    ("HingeEmbeddingLoss", dict(margin=0.3, reduction="sum"), (X, SIGNS)),
    ("MarginRankingLoss", dict(margin=0.3), (X, Y, SIGNS)),
    ("CosineEmbeddingLoss", dict(margin=0.1), (X, Y, SIGNS[:, 0])),
    ("TripletMarginLoss", dict(margin=2.0, p=1.0, eps=1e-3, swap=True), (X, Y, Z)),
    ("TripletMarginWithDistanceLoss", dict(margin=2.0, swap=True), (X, Y, Z)),
    ("PairwiseDistance", dict(p=1.0, eps=0.1, keepdim=True), (X, Y)),
    ("CosineSimilarity", dict(dim=0, eps=1e-3), (X, Y)),
]


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # PyTorch on the mean of kl_div
@pytest.mark.oracle
@pytest.mark.parametrize(("name", "options", "arrays"), AS_TORCH)
@pytest.mark.parametrize("default", [False, True])
def test_equals_torch(torch, name, options, arrays, default):
    results = []
    for package, tensor in ((torch.nn, torch.tensor), (nn, nnmed.Tensor)):
        chosen = {} if default else dict(options)
        if "weight" in chosen:
            chosen["weight"] = tensor(chosen["weight"])
        layer = getattr(package, name)(**chosen)
        results.append(layer(*[tensor(a) for a in arrays]).numpy())
        assert set(layer.state_dict()) == {"weight"} & set(chosen)
    np.testing.assert_allclose(results[1], results[0], rtol=2e-5, atol=1e-6)


SINGLE = nnmed.Tensor(RNG.standard_normal((2, 1, 3, 4)).astype(np.float32))
SEVERAL = nnmed.Tensor(RNG.standard_normal((2, 3, 3, 4)).astype(np.float32))
PHI = nnmed.Tensor(RNG.standard_normal((2, 3, 3, 4)).astype(np.float32))
MASK = nnmed.Tensor(RNG.integers(0, 2, (2, 3, 4)))
COMMON = dict(include_background=False, smooth=0.5, batch=True, ignore_index=1)
AS_FUNCTION = [
    (nn.DiceLoss, F.dice_loss, dict(COMMON, squared_pred=True, reduction="sum")),
    (nn.GeneralizedDiceLoss, F.generalized_dice_loss, dict(COMMON, reduction="sum")),
    (nn.TverskyLoss, F.tversky_loss, dict(COMMON, alpha=0.2, beta=0.9, reduction="none")),
    (nn.FocalTverskyLoss, F.focal_tversky_loss, dict(COMMON, gamma=2.0, alpha=0.1)),
    (nn.DiceCELoss, F.dice_ce_loss, dict(COMMON, lambda_ce=0.1, lambda_dice=2.0)),
    (nn.FocalLoss, F.focal_loss, dict(gamma=1.0, alpha=(1, 2, 3), ignore_index=1)),
    (nn.LovaszHingeLoss, F.lovasz_hinge_loss, dict(batch=True, ignore_index=1)),
    (nn.LovaszSoftmaxLoss, F.lovasz_softmax_loss, dict(classes="all", batch=True)),
    (nn.BoundaryLoss, F.boundary_loss, dict(include_background=True, reduction="sum")),
]


@pytest.mark.parametrize(("layer", "function", "options"), AS_FUNCTION)
def test_equals_its_function(layer, function, options):
    x = SINGLE if layer is nn.LovaszHingeLoss else SEVERAL
    target = PHI if layer is nn.BoundaryLoss else MASK
    for chosen in ({}, options):
        module = layer(**chosen)
        expected = function(x, target, **chosen).numpy()
        np.testing.assert_array_equal(module(x, target).numpy(), expected)
        for name, value in chosen.items():
            assert getattr(module, name) == value
            assert f"{name}={value!r}" in repr(module)


def test_the_weights_of_dice_ce_are_a_buffer():
    layer = nn.DiceCELoss(weight=[1.0, 2.0, 3.0])
    assert list(layer.state_dict()) == ["weight"]
    expected = F.dice_ce_loss(SEVERAL, MASK, weight=nnmed.Tensor([1.0, 2.0, 3.0])).item()
    assert layer(SEVERAL, MASK).item() == expected
