"""Convolution: forward, gradient with respect to the input, and to the weight."""
