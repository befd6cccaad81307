"""What a trained network looked at."""

from nnmed.explain.grad_cam import grad_cam

__all__ = ["grad_cam"]
