"""The arrays that went forward, as far as the graph tells."""

from __future__ import annotations

from nnmed.autograd import Tensor, no_grad
from nnmed.backend import precision
from nnmed.errors import GradientError
from nnmed.explain.clone import fresh


def _constants(op) -> list:
    """Return what was recorded of an op's constants, but for those that were changed since."""
    recorded = op.record.constants if op.record else []
    return [constant for constant in recorded if constant[1]._version.count == constant[2]]


class Values:
    """Inputs and outputs of all steps, on their own device.

    Leaves and what ops kept are read, what nobody kept is computed again when it is asked for.

    Parameters
    ----------
    steps : list of Step
    """

    def __init__(self, steps):
        self.steps = steps
        self._held = {}  # what is in memory: array, version and the version's count then
        self._computed = {}
        for step in steps:
            for position, tensor, count in (*_constants(step.op), *step.op._versions):
                held = tensor._array, tensor._version, count
                self._held[self._key(step.index, position)] = held
            for item in step.inputs:
                if item.leaf is not None:
                    version = item.leaf.tensor._version
                    self._held[item.leaf] = item.leaf.tensor._array, version, version.count
            if step.op._output is not None:
                self._held[step.index] = step.op._output

    def output(self, index: int):
        """Return the output of a step, or None where a constant is missing to compute it."""
        waiting = [index]  # not a recursion, which a long chain would make too deep
        while waiting:
            unknown = [] if self._is_known(waiting[-1]) else self._unknown_sources(waiting[-1])
            if unknown:
                waiting += unknown
            else:
                index = waiting.pop()
                if not self._is_known(index):
                    self._computed[index] = self._run(index)
        return self._read(index)

    def inputs(self, index: int) -> list:
        """Return the inputs of a step, None for constants that nobody kept."""
        for source in self._unknown_sources(index):
            self.output(source)
        return [
            self._read(self._key(index, position))
            for position in range(len(self.steps[index].inputs))
        ]

    def _key(self, index, position):
        """Return where an input's value is found: by step, by leaf, or by its own place."""
        item = self.steps[index].inputs[position]
        if item.source is not None:
            return item.source
        return (index, position) if item.leaf is None else item.leaf

    def _is_known(self, key) -> bool:
        return key in self._held or key in self._computed

    def _unknown_sources(self, index) -> list[int]:
        sources = [item.source for item in self.steps[index].inputs]
        return [source for source in sources if source is not None and not self._is_known(source)]

    def _read(self, key):
        if key not in self._held:
            return self._computed.get(key)
        array, version, count = self._held[key]
        if version.count != count:
            raise GradientError(
                "a tensor of this derivation was changed in place since (by an optimizer's step?): "
                "look at values, and verify, before that"
            )
        return array

    def _run(self, index):
        """Run the op of a step again; its inputs are known, but for constants."""
        arrays = self.inputs(index)
        if any(array is None for array in arrays):
            return None
        op = self.steps[index].op
        with no_grad(), precision.multiplying_in(op.precision):
            return fresh(op)(*[Tensor._wrap(array) for array in arrays])._array
