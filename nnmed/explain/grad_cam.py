"""Grad-CAM (Selvaraju et al., ICCV 2017): which places raised the score of a class."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor, enable_grad, grad
from nnmed.ops.interpolate import interpolate


def grad_cam(model, image, target: int):
    """Return a heat map for each image.

    With A the last feature map and s the score of the class,

        w_k = (1 / HW) sum_ij ds / dA_kij,    heat_ij = relu(sum_k w_k A_kij)   (eqs. 1, 2)

    brought to the size of the image by bilinear interpolation and scaled to a maximum of 1.

    Parameters
    ----------
    model : Module with ``features`` and ``classify``
        In evaluation mode, or batch norm mixes the images of the batch.
    image : array (N, C, H, W)
    target : int
        The class.

    Returns
    -------
    array (N, H, W)
        Heat in [0, 1]; all 0 where nothing raised the score.
    """
    with enable_grad():
        features = model.features(Tensor._wrap(image)).detach().requires_grad_()
        score = model.classify(features)[:, target].sum()
        (gradient,) = grad(score, features)
    weights = gradient.mean((2, 3), keepdim=True).detach()
    heat = (weights * features.detach()).sum(1, keepdim=True).clip(min=0)
    heat = interpolate(heat, size=image.shape[2:], mode="bilinear").numpy()[:, 0]
    highest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)
