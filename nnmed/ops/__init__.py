"""Differentiable operations, a family a file.

Each op is a class with its formula, its forward (which calls a kernel) and its backward
(made of ops again); beside it stands the function that users call.
"""

from nnmed.ops.methods import attach

attach()
