"""Measurements beside PyTorch and beside the machine's own ceilings: ``python -m benchmarks``.

``kernels``, ``training``, ``scaling`` and ``gradients`` are the commands, a file each. What they
measure stands in ``cases`` (single functions) and ``subjects`` (how nnmed and PyTorch run them,
and whole networks); how, in ``measure.py`` (time), ``memory.py``, ``work.py`` (operations and
bytes) and ``machine.py`` (ceilings).
"""
