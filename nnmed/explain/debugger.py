"""Step through backward from a prompt, in the manner of ``pdb``."""

from __future__ import annotations

import cmd
import linecache
import sys
import threading
from typing import NamedTuple

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.autograd.op import observers
from nnmed.explain.breakpoints import Breakpoints
from nnmed.explain.formula.spelling import formula_text
from nnmed.explain.names import parameter_names, place_of, variable_names
from nnmed.explain.step import Statistics
from nnmed.explain.walk import input_names


class Turn(NamedTuple):
    """An op's turn in backward; without gradients while it is still to come."""

    op: Op
    edges: tuple
    dy: Tensor | None = None
    gradients: tuple = ()


class debugger:
    """Context manager: every backward inside stops, and asks at a prompt how to go on.

    It stops first when the loss's own op has given its gradients, and then as ``step``,
    ``next``, ``continue`` and the breakpoints say; ``help`` lists all that can be asked. The
    gradients seen so far are kept in memory until the block ends.

    Parameters
    ----------
    model : Module, optional
        Names parameters and layers; layers without parameters are known if the graph was made
        under ``nnmed.recording(model)``.

    Notes
    -----
    Only this thread's backward stops. ``quit`` abandons it, and the program goes on behind the
    ``with`` block.

    Examples
    --------
    ::

        with nnmed.debugger(model):
            loss.backward()

        > CrossEntropy () at train.py:31
        (nnmed) break op Conv
        (nnmed) continue
        > Conv (8, 64, 7, 7) at resnet.py:36
        (nnmed) print gradient weight
    """

    def __init__(self, model=None):
        self._parameters = parameter_names(model)

    def __enter__(self):
        self._prompt = _Prompt(sys._getframe(1), self._parameters)
        observers.append(self._prompt)
        return self

    def __exit__(self, kind, exception, traceback):
        observers.remove(self._prompt)
        del self._prompt  # and with it the frame and all gradients
        return kind is _Quit


class _Quit(BaseException):
    """Leaves backward; no ``except Exception`` of the user's may stop it."""


class _Prompt(cmd.Cmd):
    """Shows the op that had its turn, and reads commands until one goes on."""

    prompt = "(nnmed) "
    doc_header = "Commands (help COMMAND explains one):"

    def __init__(self, frame, parameters: dict):
        super().__init__()
        self.frame, self.parameters = frame, parameters
        self.names: dict = {}
        self.breakpoints = Breakpoints(self.names, parameters)
        self.turns: dict[Op, Turn] = {}
        self.came_from: dict = {}  # for each op, and leaf, the op that brought it a gradient first
        self.wanted = "step"
        self.last_line = None
        self.thread = threading.get_ident()

    # -- watching ---------------------------------------------------------------------

    def forward(self, op, inputs, output) -> None:
        """Nothing stops in forward."""

    def backward(self, op, dy, gradients) -> None:
        """Note an op's turn, and stop there if that is wanted."""
        if self.thread != threading.get_ident():
            return
        self.names.update(variable_names(self.frame) | self.parameters)
        turn = self.turns[op] = Turn(op, tuple(op.edges), dy, gradients)
        for edge in turn.edges:
            self.came_from.setdefault(edge, op)
        reason = self.breakpoints.reason(turn)
        line = op.code, op.line
        if reason or self.wanted == "step" or (self.wanted == "next" and line != self.last_line):
            if reason:
                self.say(f"breakpoint: {reason}")
            self.turn, self.last_line = turn, line
            self.show()
            self.cmdloop()

    def say(self, text: str) -> None:
        self.stdout.write(f"{text}\n")

    def show(self) -> None:
        """Say which op is looked at."""
        op = self.turn.op
        to_come = "" if self.turn.dy is not None else ", whose turn is still to come"
        layer = self.breakpoints.layer(op)
        shapes = ", ".join(map(str, op.input_shapes))
        self.say(f"> {op.name} {shapes} at {place_of(op)}{layer and f' in {layer}'}{to_come}")

    # -- going on ---------------------------------------------------------------------

    def do_step(self, argument):
        """step: go on to the next op."""
        return self.go_on("step")

    def do_next(self, argument):
        """next: go on to the next line of your code."""
        return self.go_on("next")

    def do_continue(self, argument):
        """continue: go on to the next breakpoint."""
        return self.go_on("continue")

    def do_quit(self, argument):
        """quit: abandon backward and leave the with block; what leaves have got they keep."""
        raise _Quit

    def go_on(self, wanted: str) -> bool:
        self.wanted = wanted
        return True

    def do_break(self, argument):
        """break op NAME | layer NAME | tensor NAME | nan: stop there; break: list them."""
        for line in self.breakpoints.add(argument) if argument else self.breakpoints.listing():
            self.say(line)

    def do_clear(self, argument):
        """clear [NUMBER]: forget a breakpoint, or all."""
        for line in self.breakpoints.clear(argument):
            self.say(line)

    # -- looking ----------------------------------------------------------------------

    def do_print(self, argument):
        """print dy | gradient [INPUT] | inputs: show arrays; INPUT is a number or a name."""
        what, _, which = argument.partition(" ")
        if what == "inputs":
            self.print_inputs()
        elif self.turn.dy is None:
            self.say("its gradients are not computed yet: go on with step")
        elif what == "dy":
            self.print_array("dy", self.turn.dy)
        elif what == "gradient":
            self.print_gradients(which)
        else:
            self.say("print dy, print gradient [INPUT] or print inputs")

    def do_where(self, argument):
        """where: show the line of your code that ran the op."""
        op = self.turn.op
        self.say(f"{op.location} in {op.code.co_name}")
        for number in range(max(op.line - 2, 1), op.line + 3):
            text = linecache.getline(op.code.co_filename, number).rstrip()
            if text:
                self.say(f"{number:>5} {'->' if number == op.line else '  '} {text}")

    def do_formula(self, argument):
        """formula: show the formulas of the op and of its gradients."""
        op = self.turn.op
        forward, backward = op.latex()
        for formula in (forward, *backward.values()):
            self.say(f"  {formula_text(formula)}")

    def do_up(self, argument):
        """up [INPUT]: look at the op that the gradient goes to, here of the first input."""
        position = self.position(argument or self.first_op())
        if position is not None:
            edge = self.turn.edges[position]
            if isinstance(edge, Op):
                self.turn = self.turns.get(edge) or Turn(edge, tuple(edge.edges))
                self.show()
            else:
                self.say(f"there is no op: this input is {self.name(edge)}")

    def do_down(self, argument):
        """down: look at the op that the gradient came from."""
        source = self.came_from.get(self.turn.op)
        if source is None:
            self.say("backward began here")
        else:
            self.turn = self.turns[source]
            self.show()

    def print_inputs(self) -> None:
        op = self.turn.op
        kept = {position: tensor for position, tensor, _ in op._versions}
        for position, (name, edge) in enumerate(zip(input_names(op), self.turn.edges)):
            tensor = edge if isinstance(edge, Tensor) else kept.get(position)
            about = f"{name} = {self.name(edge)}"
            if tensor is None:
                self.say(f"{about} {op.input_shapes[position]}, which is not in memory")
            else:
                self.print_array(about, tensor)

    def print_gradients(self, which: str) -> None:
        positions = [self.position(which)] if which else range(len(self.turn.edges))
        names = input_names(self.turn.op)
        for position in positions:
            if position is None:
                continue
            gradient = self.turn.gradients[position]
            if gradient is None:
                self.say(f"no gradient of {names[position]} is wanted")
            else:
                to = self.name(self.turn.edges[position])
                self.print_array(f"gradient of {names[position]}, to {to}", gradient)

    def print_array(self, title: str, tensor: Tensor) -> None:
        array = tensor.numpy()
        s = Statistics.of(array)
        self.say(
            f"{title}: {array.shape} {array.dtype}, norm {s.norm:.6g}, min {s.min:.6g}, "
            f"mean {s.mean:.6g}, max {s.max:.6g}, zeros {s.zeros:.1%}"
        )
        self.say(np.array2string(array, precision=5, threshold=40, edgeitems=2))

    # -- names ------------------------------------------------------------------------

    def name(self, edge) -> str:
        """Return what an input is called."""
        if edge in self.names:
            return self.names[edge]
        return "a constant" if edge is None else edge.name if isinstance(edge, Op) else "a leaf"

    def first_op(self) -> str:
        """Return the number of the first input that an op made."""
        made = [str(i) for i, edge in enumerate(self.turn.edges) if isinstance(edge, Op)]
        return made[0] if made else "0"

    def position(self, text: str) -> int | None:
        """Return which input is meant, by number or name, or None with a word about it."""
        names = input_names(self.turn.op)
        if text in names:
            return names.index(text)
        if text.isdecimal() and int(text) < len(names):
            return int(text)
        inputs = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        self.say(f"there is no input {text!r}; inputs: {inputs}")
        return None

    # -- the prompt itself ------------------------------------------------------------

    do_s, do_n, do_c, do_q = do_step, do_next, do_continue, do_quit
    do_b, do_p, do_w, do_u, do_d, do_f = do_break, do_print, do_where, do_up, do_down, do_formula
    do_EOF = do_quit

    def get_names(self):
        """Leave the short names out of help and of completion."""
        return [name for name in super().get_names() if len(name) > 4 and name != "do_EOF"]

    def default(self, line: str) -> None:
        """Refuse what is no command."""
        self.say(f"there is no command {line!r}: help lists them")
