"""explain(loss): backward, shown step by step."""

from __future__ import annotations

import shutil
import sys

from nnmed.autograd import Tensor
from nnmed.errors import GradientError, OutOfRangeError, UsageError
from nnmed.explain import as_json, latex, markdown, table
from nnmed.explain.build import Builder
from nnmed.explain.files import write_text
from nnmed.explain.graph import Graph, named_graph
from nnmed.explain.names import is_within, parameter_names, variable_names
from nnmed.explain.step import Leaf, Step
from nnmed.explain.trail import Trail, follow
from nnmed.explain.values import Values
from nnmed.explain.verify import check_step, check_sum
from nnmed.explain.walk import Walk
from nnmed.explain.written import chain_rule, write_out


def explain(loss: Tensor, model=None) -> Derivation:
    """Run backward from `loss` and return its derivation, leaving every ``grad`` untouched.

    Parameters
    ----------
    loss : Tensor
        A scalar whose graph is not yet released; it is not released by this either.
    model : Module, optional
        Names the parameters, and the layers that use them. Layers without parameters are known
        if the graph was made under ``nnmed.recording(model)``.

    Returns
    -------
    Derivation
        Its arrays are those of backward, which stay in memory as long as it does.

    Raises
    ------
    GradientError
        If the graph is released, or `loss` is no scalar that depends on a leaf.
    UsageError
        If `loss` is no Tensor.

    Notes
    -----
    Other tensors are called as the caller's variables are.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor(2.0, requires_grad=True)
    >>> y = nnmed.Tensor(3.0, requires_grad=True)
    >>> derivation = nnmed.explain(x * y + nnmed.sin(x))
    >>> print(derivation.chain_rule("x"))
    dL/dx = dL/dy2 * y + dL/dy1 * cos(x) = 1 * 3 + 1 * cos(2) = 2.583853
    """
    if not isinstance(loss, Tensor):
        raise UsageError(f"explain takes the loss, a Tensor, got {type(loss).__name__}")
    parameters, variables = parameter_names(model), variable_names(sys._getframe(1))
    builder = Builder(Walk(loss), parameters, variables)
    steps = [builder.step(turn) for turn in builder.walk.turns]
    graph = named_graph(loss, parameters, variables) if steps else Graph([], [])
    return Derivation(steps, [*builder.leaves.values()], graph)


class Derivation:
    """The steps of a backward pass, in its order: from the loss to the leaves.

    ``derivation[3]``, ``derivation[2:5]``, ``len(derivation)`` and iteration are those of the
    list of steps; a slice is a list. ``derivation["Conv"]`` and ``derivation["layer1.0"]`` are what
    :meth:`where` finds. ``str(derivation)`` is a table.

    Attributes
    ----------
    steps : list of Step
    leaves : list of Leaf
        Where backward ends, with the gradients that arrived.
    graph : Graph
        The computation, to be drawn.
    """

    def __init__(self, steps: list[Step], leaves: list[Leaf], graph: Graph):
        self.steps, self.leaves, self.graph = steps, leaves, graph
        values = Values(steps)
        for step in steps:
            step._values = values
        write_out(steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self):
        return iter(self.steps)

    def __getitem__(self, index):
        if isinstance(index, str):
            return self.where(index)
        return self.steps[index] if isinstance(index, slice) else self.step(index)

    def step(self, index: int) -> Step:
        """Return the step of a number, as in :attr:`Step.index`."""
        try:
            return self.steps[index]
        except IndexError:
            raise OutOfRangeError(
                f"step {index}: the derivation has {len(self)} steps, from 0"
            ) from None

    def where(self, name: str) -> list[Step]:
        """Return the steps of an op, of a layer with all below it, or those that use a tensor.

        Parameters
        ----------
        name : str
            ``"Conv"``, ``"layer1.0"``, ``"layer1.0.conv1.weight"`` or a variable's name.

        Raises
        ------
        UsageError
            If nothing has that name.
        """
        found = [step for step in self if _is_called(step, name)]
        if not found:
            ops = ", ".join(sorted({step.op_name for step in self}))
            raise UsageError(
                f"where: no step is called {name!r}; the ops are {ops}; layers and tensors are "
                "listed by print(derivation)"
            )
        return found

    def tensor(self, name: str) -> Leaf | Step:
        """Return the leaf, or the step whose output, has a name."""
        for item in (*self.leaves, *self.steps):
            if item.name == name:
                return item
        leaves = ", ".join(leaf.name for leaf in self.leaves)
        raise UsageError(f"no tensor is called {name!r}; the leaves are {leaves}")

    def chain_rule(self, name: str) -> str:
        """Return in one line how the gradient of the tensor `name` comes about.

        With the numbers put in where the arrays are small.
        """
        return chain_rule(self.tensor(name), self.steps)

    def follow(self, name: str, index) -> Trail:
        """Return how much of a number's gradient passes through each step, and where.

        Parameters
        ----------
        name : str
            Of the tensor: a leaf, or the output of a step.
        index
            Of the number, as in ``array[index]``. Several numbers are raised together: of a grey
            image in three equal channels, ``np.s_[0, :, 52, 18]`` is one pixel.

        Raises
        ------
        UsageError, OutOfRangeError
            If there is no such tensor, or no such number in it.
        GradientError
            If backward of an op on the way cannot be recorded, or a tensor was changed in place
            since.

        Examples
        --------
        >>> import nnmed
        >>> x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
        >>> print(nnmed.explain((x * x).sum()).follow("x", 1))
        x[1] = 2, dL/dx = 4
        step  op   part  through
        1     Mul  4     [1]: 4 * 1 = 4
        0     Sum  4     []: 4 * 1 = 4
        """
        return follow(self.tensor(name), index, self.steps)

    def verify(self, raise_exception: bool = False) -> Derivation:
        """Check every step on its own and note the verdict in ``step.check``; return self.

        Where several paths meet, the sum is checked too; that of a leaf is noted in ``leaf.check``,
        which is None where it is right.

        See :mod:`nnmed.explain.verify` for how. To be called before the optimizer's step.

        Parameters
        ----------
        raise_exception : bool
            Raise for the steps that fail.

        Raises
        ------
        GradientError
            If a tensor was changed in place since; if steps fail and `raise_exception` is set.
        """
        for step in self:
            step.check = check_sum(step, self.steps) or check_step(step)
        for leaf in self.leaves:
            leaf.check = check_sum(leaf, self.steps)
        checks = [item.check for item in (*self.steps, *self.leaves) if item.check is not None]
        failures = [check.message for check in checks if check.verdict == "failed"]
        if failures and raise_exception:
            raise GradientError("verify: " + "\n".join(failures))
        return self

    def __str__(self) -> str:
        return table.draw(self, columns=shutil.get_terminal_size().columns)

    def to_markdown(self) -> str:
        """Return the derivation as Markdown, with formulas for MathJax and GitHub."""
        return markdown.write(self)

    def to_latex(self) -> str:
        """Return a LaTeX document, which needs the package amsmath only."""
        return latex.write(self)

    def to_html(
        self, path=None, title: str = "Backward, step by step", beside=None, follow=None
    ) -> str:
        """Return the explorer, a page for a browser, and write it to `path` if that is given.

        One file, which needs nothing from the network: the graph, and for each step its formulas
        and arrays, the gradients that come and go, the verdict of :meth:`verify` if that was
        called, and the code. The reach of any pixel or weight is shown; of one, see `follow`, how
        much of its gradient passes through each step.

        Parameters
        ----------
        path : str or Path, optional
        title : str
        beside : Derivation, optional
            Of another run of the same computation; the page compares the two.
        follow : (str, index), optional
            What :meth:`follow` takes: this number's way to the loss is open from the start.

        Raises
        ------
        UsageError
            If `beside` has other steps, or there are none, as of a leaf.
        GradientError
            If a tensor was changed in place since, by an optimizer's step for instance.
        DataError
            If the file cannot be written.
        """
        from nnmed.explain.page import build_page  # brings what converts formulas

        page = build_page(self, title, beside, follow)
        if path is not None:
            write_text(path, page, "page")
        return page

    def to_json(self) -> str:
        """Return the derivation as JSON: statistics of arrays, and the numbers of small ones."""
        return as_json.write(self)


def _is_called(step: Step, name: str) -> bool:
    names = [step.op_name, step.name, *[item.leaf.name for item in step.inputs if item.leaf]]
    return name in names or is_within(step.layer, name)
