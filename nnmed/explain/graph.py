"""The computational graph of a tensor, as a picture and as text."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass

from nnmed.autograd import Op, Tensor
from nnmed.errors import GradientError, UsageError
from nnmed.explain.drawing import dot, svg, text
from nnmed.explain.files import write_text
from nnmed.explain.names import is_within, layers_of, parameter_names, variable_names
from nnmed.explain.walk import input_names, ops_behind


@dataclass(eq=False)
class Node:
    """A box of the graph.

    Attributes
    ----------
    kind : {"op", "module", "parameter", "input", "constant"}
        Backward ends at parameters and inputs, and does not reach constants.
    name : str
        Of the op, of the module, or of the tensor: the parameter's name in the model or that of
        the caller's variable.
    shape : tuple of int
        Of the tensor, or of the output.
    variable : str
        The caller's variable that holds the tensor or the output, if there is one.
    layer : str
        Name of the module in which an op ran; empty where it is unknown.
    ops : tuple of Op
        The op; those of a module, in the order in which they ran; none for a tensor.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    variable: str = ""
    layer: str = ""
    ops: tuple[Op, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A tensor on its way: `source` gave it, `target` takes it as its input `name`."""

    source: Node
    target: Node
    shape: tuple[int, ...]
    name: str


def graph(output: Tensor, model=None) -> Graph:
    """Return the graph of the operations that made `output`.

    Parameters
    ----------
    output : Tensor
        Not yet released by a backward.
    model : Module, optional
        As for :func:`nnmed.explain`, which also says what tensors are called.
        :meth:`Graph.fold` folds its modules.

    Raises
    ------
    UsageError
        If `output` is no Tensor.
    GradientError
        If the graph is released, or nothing was recorded.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    >>> [node.name for node in nnmed.graph(nnmed.exp(x) * x).nodes]
    ['x', 'Exp', 'Mul']
    """
    if not isinstance(output, Tensor):
        raise UsageError(f"graph takes a Tensor, got {type(output).__name__}")
    return named_graph(output, parameter_names(model), variable_names(sys._getframe(1)))


def named_graph(output: Tensor, parameters: dict, variables: dict) -> Graph:
    """Do what :func:`graph` does, with the names of parameters and variables."""
    if not output.requires_grad:
        raise GradientError(
            "graph: no operation was recorded that made this tensor: use tensors with "
            "requires_grad=True, outside of nnmed.no_grad()"
        )
    ops = ops_behind(output)
    builder = _Builder(ops, output, parameters, variables)
    inner = [builder.nodes[op] for op in ops] or [builder.leaf(output)]
    return Graph(inner, builder.edges)


class Graph:
    """Nodes and edges, to be drawn; ``print(graph)`` draws it in the terminal.

    A notebook shows it as a picture.

    Attributes
    ----------
    nodes : list of Node
        Each after those that its inputs come from.
    edges : list of Edge
    """

    def __init__(self, inner: list[Node], edges: list[Edge]):
        self.edges = edges
        sources: dict = {}
        for edge in edges:
            sources.setdefault(edge.target, []).append(edge.source)
        ordered: dict = {}  # a tensor comes just before the first op that takes it
        for node in inner:
            ordered.update(dict.fromkeys([*sources.get(node, []), node]))
        self.nodes: list[Node] = list(ordered)

    def fold(self, *modules: str) -> Graph:
        """Return a graph in which each of these modules is one node.

        Parameters
        ----------
        *modules : str
            Names such as ``"layer1"`` or ``"layer2.0"``; by default the first part of every
            module's name. A module that ran several times becomes as many nodes. Which ops
            belong to it is known exactly if the graph was made under
            ``nnmed.recording(model)``, see :func:`nnmed.explain.names.layers_of`.

        Raises
        ------
        UsageError
            If no op is known to have run in a module.
        """
        layers = [node.layer for node in self.nodes if node.layer]
        modules = modules or tuple(dict.fromkeys(layer.partition(".")[0] for layer in layers))
        for name in modules:
            if not any(is_within(layer, name) for layer in layers):
                known = ", ".join(dict.fromkeys(layers)) or "none: pass model= to graph()"
                raise UsageError(f"fold: no op is known to be of {name!r}; modules: {known}")
        folded = _folded(self.nodes, modules)
        vanishing = self._only_inside(folded)
        edges = {}
        for edge in self.edges:
            source, target = folded.get(edge.source, edge.source), folded[edge.target]
            if source is not target and source not in vanishing:
                # A module takes a tensor once, however many of its ops use it.
                key = edge.source, target, target.kind == "op" and edge.name
                edges.setdefault(key, Edge(source, target, edge.shape, edge.name))
        return Graph(list(dict.fromkeys(folded.values())) or self.nodes, list(edges.values()))

    def _only_inside(self, folded: dict) -> set[Node]:
        """Return the parameters and constants that ops of a single module use."""
        users: dict = {}
        for edge in self.edges:
            users.setdefault(edge.source, set()).add(folded[edge.target])
        return {
            tensor
            for tensor, nodes in users.items()
            if tensor.kind in ("parameter", "constant")
            and not tensor.variable
            and [node.kind for node in nodes] == ["module"]
        }

    def to_svg(self, path=None) -> str:
        """Return the graph as SVG, and write it to `path` if that is given.

        Data flow from the top to the bottom, so backward runs upward. Colours follow the
        reader's light or dark scheme; a node tells its formulas when it is pointed at.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        picture = svg.draw(self)
        if path is not None:
            write_text(path, picture, "graph")
        return picture

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        return dot.draw(self)

    def __str__(self) -> str:
        return text.draw(self)

    def _repr_svg_(self) -> str:
        return self.to_svg()


class _Builder:
    """Makes the nodes and edges of ops, given in the order in which they ran."""

    def __init__(self, ops, output: Tensor, parameters: dict, variables: dict):
        self.parameters, self.variables = parameters, variables
        shapes = {edge: s for op in ops for edge, s in zip(op.edges, op.input_shapes)}
        shapes[output._op] = output.shape
        layers = layers_of(ops, parameters)
        self.nodes: dict = {
            op: Node("op", op.name, shapes[op], variables.get(op, ""), layers[op], (op,))
            for op in ops
        }
        self.edges = [
            Edge(self.source(op, position), self.nodes[op], op.input_shapes[position], name)
            for op in ops
            for position, name in enumerate(input_names(op))
        ]

    def source(self, op, position) -> Node:
        """Return the node that an input of an op comes from."""
        edge = op.edges[position]
        if edge is None:
            return self.constant(op, position)
        return self.nodes[edge] if isinstance(edge, Op) else self.leaf(edge)

    def leaf(self, tensor: Tensor) -> Node:
        """Return the node of a tensor at which backward ends."""
        if tensor not in self.nodes:
            name, variable = self.parameters.get(tensor), self.variables.get(tensor, "")
            kind = "parameter" if name else "input"
            self.nodes[tensor] = Node(kind, name or variable or "input", tensor.shape, variable)
        return self.nodes[tensor]

    def constant(self, op, position) -> Node:
        """Return the node of an input that gets no gradient, known only as far as it is kept."""
        kept = {index: tensor for index, tensor, _ in op._versions}
        tensor = kept.get(position)
        key = (op, position) if tensor is None else tensor
        if key not in self.nodes:
            variable = self.variables.get(tensor, "")
            name = variable or _value(tensor) or "constant"
            self.nodes[key] = Node("constant", name, op.input_shapes[position], variable)
        return self.nodes[key]


def _value(tensor) -> str:
    """Return the number that a kept constant is, if it is one."""
    return f"{tensor.item():g}" if tensor is not None and tensor.shape == () else ""


def _folded(nodes, modules) -> dict[Node, Node]:
    """Return for each node with ops the one that stands for it afterwards.

    A node of a module takes ops that ran one after the other. So it lies between two moments,
    and no path can leave it and come back.
    """
    inner = [node for node in nodes if node.ops]
    folded = {}
    for key, run in itertools.groupby(inner, lambda node: _module_of(node, modules) or node):
        run = list(run)
        folded.update(dict.fromkeys(run, key if isinstance(key, Node) else _module(key, run)))
    return folded


def _module_of(node: Node, modules) -> str | None:
    return next((name for name in modules if is_within(node.layer, name)), None)


def _module(name: str, run: list[Node]) -> Node:
    ops = tuple([op for node in run for op in node.ops])
    return Node("module", name, run[-1].shape, run[-1].variable, name, ops)
