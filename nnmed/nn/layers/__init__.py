"""Layers and losses: modules around the functions of ``nnmed.functional``."""
