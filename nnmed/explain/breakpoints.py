"""Where the debugger of backward stops."""

from __future__ import annotations

from nnmed.backend.arrays import array_module
from nnmed.explain.names import is_within


class Breakpoints:
    """A list of places, each an op, a layer, a tensor, or the first number that is not finite.

    Parameters
    ----------
    names : dict of (Op or Tensor) to str
        What is called how, by the op that made it or by the leaf.
    parameters : dict of Tensor to str
    """

    kinds = ("op", "layer", "tensor", "nan")

    def __init__(self, names: dict, parameters: dict):
        self.names, self.parameters = names, parameters
        self.places: list[tuple[str, str]] = []

    def add(self, text: str) -> list[str]:
        """Add a place such as ``op Conv``; return what is to be said about it."""
        kind, _, name = text.partition(" ")
        if kind not in self.kinds or bool(name) == (kind == "nan"):
            return [f"no place {text!r}: break op NAME, layer NAME, tensor NAME, or nan"]
        if kind == "tensor" and name not in self.names.values():
            return [f"no tensor is called {name!r}; known: {', '.join(self.names.values())}"]
        self.places.append((kind, name))
        return [f"breakpoint {len(self.places)}: {kind} {name}".rstrip()]

    def listing(self) -> list[str]:
        """Return a line for each place."""
        lines = [f"{i}: {kind} {name}".rstrip() for i, (kind, name) in enumerate(self.places, 1)]
        return lines or ["there are no breakpoints"]

    def clear(self, text: str) -> list[str]:
        """Forget the place of a number, or all; return what is to be said about it."""
        if not text:
            self.places = []
        elif text.isdecimal() and 0 < int(text) <= len(self.places):
            del self.places[int(text) - 1]
        else:
            return [f"there is no breakpoint {text!r}"]
        return self.listing()

    def reason(self, turn) -> str:
        """Return why to stop at an op's turn in backward, or an empty string."""
        for kind, name in self.places:
            if getattr(self, f"_stops_at_{kind}")(turn, name):
                return f"{kind} {name}".rstrip()
        return ""

    def layer(self, op) -> str:
        """Return the module in which an op ran, as far as it is known by the op alone."""
        if op.record is not None and op.record.layer:
            return op.record.layer
        names = [self.parameters[edge] for edge in op.edges if edge in self.parameters]
        return names[0].rpartition(".")[0] if names else ""

    def _stops_at_op(self, turn, name) -> bool:
        return turn.op.name == name

    def _stops_at_layer(self, turn, name) -> bool:
        return is_within(self.layer(turn.op), name)

    def _stops_at_tensor(self, turn, name) -> bool:
        """Tell whether this op made the tensor, or brings it a gradient."""
        return any(self.names.get(edge) == name for edge in (turn.op, *turn.edges))

    def _stops_at_nan(self, turn, name) -> bool:
        arrays = [g._array for g in (turn.dy, *turn.gradients) if g is not None]
        return any(not array_module(a).isfinite(a).all() for a in arrays)
