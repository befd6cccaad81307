"""Which arrays a training step holds, from when until when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.errors import GradientError, UsageError
from nnmed.explain.names import is_within, layers_of, parameter_names, place_of
from nnmed.explain.walk import Kept, kept_by, leaves_of, memory_of, ops_behind

SAVED, PASSING, ARRIVED = "saved for backward", "gradients on their way", "gradients of leaves"
_LISTED = 10  # so many arrays are named in the text


@dataclass(frozen=True)
class Held:
    """An array in memory.

    Attributes
    ----------
    kind : str
        ``SAVED``, ``PASSING`` (the gradient of an op's output) or ``ARRIVED`` (of a leaf).
    what : str
        Which array it is, and the user's line.
    layer : str
        The module that it belongs to, empty if unknown.
    nbytes : int
    since, until : int
        The first and the last moment at which it is held.
    holders : tuple of int
        For saved arrays the ops that keep it, by number.
    made_by : int or None
        The op that made it; None for what came from outside, and for gradients.
    """

    kind: str
    what: str
    layer: str
    nbytes: int
    since: int
    until: int
    holders: tuple[int, ...] = ()
    made_by: int | None = None

    def __str__(self) -> str:
        return f"{self.what}{self.layer and f' in {self.layer}'}, {self.kind}"


@dataclass(frozen=True)
class MemoryTimeline:
    """The arrays of forward and backward over the moments of a step.

    With n ops there are 2n moments: op i runs forward at moment i and backward at moment
    2n - 1 - i.

    Attributes
    ----------
    held : tuple of Held
    layers : tuple of str
        The module of each op, in the order in which they ran.
    """

    held: tuple[Held, ...]
    layers: tuple[str, ...]

    @property
    def moments(self) -> int:
        """How many there are."""
        return 2 * len(self.layers)

    def usage(self, held=None) -> np.ndarray:
        """Return the bytes in memory at each moment, of some arrays or of all."""
        change = np.zeros(self.moments + 1, np.int64)
        for item in self.held if held is None else held:
            change[item.since] += item.nbytes
            change[item.until + 1] -= item.nbytes
        return change.cumsum()[:-1]

    @property
    def peak(self) -> int:
        """The most bytes that are held at a moment."""
        return int(self.usage().max())

    @property
    def peak_moment(self) -> int:
        """The first moment at which so much is held."""
        return int(self.usage().argmax())

    def at(self, moment: int) -> list[Held]:
        """Return what is held at a moment, the largest first."""
        held = [item for item in self.held if item.since <= moment <= item.until]
        return sorted(held, key=lambda item: -item.nbytes)

    def checkpointed(self, name: str) -> MemoryTimeline:
        """Return the timeline as it would be with ``nnmed.checkpoint`` around a module.

        What is made inside and held only there is let go in forward, and is there again from
        the moment when backward comes to the module. ``timeline.peak -
        timeline.checkpointed("layer1").peak`` is what that saves at the peak.

        Parameters
        ----------
        name : str
            As in ``model.named_modules()``.

        Raises
        ------
        UsageError
            If no op is known to have run in it.
        """
        inside = {i for i, layer in enumerate(self.layers) if is_within(layer, name)}
        if not inside:
            known = ", ".join(dict.fromkeys(filter(None, self.layers)))
            raise UsageError(f"checkpointed: no op is of {name!r}; modules: {known or 'unknown'}")
        again = self.moments - 1 - max(inside)
        held = [
            replace(item, since=again)
            if item.made_by in inside and inside.issuperset(item.holders)
            else item
            for item in self.held
        ]
        return replace(self, held=tuple(held))

    def __str__(self) -> str:
        moment, ops = self.peak_moment, len(self.layers)
        turn = f"forward of op {moment}"
        if moment >= ops:
            turn = f"backward of op {2 * ops - 1 - moment}"
        held = self.at(moment)
        lines = [f"peak: {_size(self.peak)} at the {turn} of {ops}, in {len(held)} arrays"]
        lines += [f"{_size(item.nbytes):>12}  {item}" for item in held[:_LISTED]]
        rest = sum(item.nbytes for item in held[_LISTED:])
        return "\n".join([*lines, *[f"{_size(rest):>12}  all others"] * bool(rest)])

    def plot(self, path):
        """Draw what is held over the moments, module by module; return the path.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        from nnmed.explain.figures import memory  # figures bring matplotlib

        return memory(self, path)


def memory_timeline(loss: Tensor, model=None) -> MemoryTimeline:
    """Return what a step holds in memory, from the graph of its loss.

    Parameters
    ----------
    loss : Tensor
        Before its backward.
    model : Module, optional
        Names the modules; exactly if the graph was made under ``nnmed.recording(model)``.

    Notes
    -----
    Counted are the arrays that ops save, as they are in memory, and the gradients of backward,
    in the dtype of `loss`. Left out are the parameters themselves, the optimizer's state, what
    an op needs only while it runs, and outputs that nobody saves.

    Raises
    ------
    GradientError
        If the graph is released, or nothing was recorded.

    Examples
    --------
    >>> import nnmed
    >>> from nnmed.explain import memory_timeline
    >>> x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    >>> memory_timeline(nnmed.exp(x).sum()).peak  # the output of exp, its gradient, that of x
    24
    """
    if not isinstance(loss, Tensor):
        raise UsageError(f"memory_timeline takes the loss, a Tensor, got {type(loss).__name__}")
    ops = ops_behind(loss)
    if not ops:
        raise GradientError("memory_timeline: no operation was recorded that made this tensor")
    parameters = parameter_names(model)
    layers = layers_of(ops, parameters)
    survey = _Survey(ops, layers, parameters, loss.dtype.itemsize)
    return MemoryTimeline((*survey.saved(), *survey.gradients()), tuple(layers.values()))


class _Survey:
    """Lists the arrays of a graph."""

    def __init__(self, ops: list[Op], layers: dict, parameters: dict, itemsize: int):
        self.ops, self.layers, self.parameters, self.itemsize = ops, layers, parameters, itemsize
        self.number = {op: index for index, op in enumerate(ops)}
        self.last = 2 * len(ops) - 1

    def saved(self) -> list[Held]:
        """Return what ops save; memory that several save is one array."""
        leaves = {id(memory_of(leaf._array)) for leaf in leaves_of(self.ops)}
        holders: dict[int, list] = {}
        for op in self.ops:
            for kept in kept_by(op):
                if id(kept.memory) not in leaves:
                    holders.setdefault(id(kept.memory), []).append((op, kept))
        return [self.array(own) for own in holders.values()]

    def array(self, holders: list[tuple[Op, Kept]]) -> Held:
        """Return one saved array, from those that save it in the order of forward."""
        numbers = tuple([self.number[op] for op, _ in holders])
        op, kept = holders[0]
        maker = kept.maker or op  # a constant belongs to the op that keeps it
        what = kept.what if maker is op else "output"
        made_by = self.number.get(kept.maker)
        nbytes = kept.memory.nbytes
        if kept.maker is None:  # a batch may be a view of a whole data set, which is there anyway
            views = {id(kept.array): kept.array.nbytes for _, kept in holders}
            nbytes = min(nbytes, sum(views.values()))
        return Held(
            SAVED, f"{what} of {maker.name} at {place_of(maker)}", self.layers[maker],
            nbytes, numbers[0] if made_by is None else made_by,
            self.last - min(numbers), numbers, made_by,
        )  # fmt: skip

    def gradients(self) -> list[Held]:
        """Return gradients: of outputs until their op's turn, of leaves until the end."""
        came: dict = {}  # the first turn of backward that brings one, its shape and layer
        for op in reversed(self.ops):
            for edge, shape in zip(op.edges, op.input_shapes):
                if edge is not None:
                    came.setdefault(edge, (self.last - self.number[op], shape, self.layers[op]))
        held = []
        for edge, (since, shape, layer) in came.items():
            nbytes = int(np.prod(shape, dtype=np.int64)) * self.itemsize
            if isinstance(edge, Op):
                what, until = f"of the output of {edge.name} at {place_of(edge)}", self.number[edge]
                layer = self.layers[edge]
                held.append(Held(PASSING, what, layer, nbytes, since, self.last - until))
            else:
                what = f"of {self.parameters.get(edge, 'a leaf')} {shape}"
                held.append(Held(ARRIVED, what, layer, nbytes, since, self.last))
        return held


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.2f} MiB" if nbytes >= 2**20 else f"{nbytes / 2**10:.2f} KiB"
