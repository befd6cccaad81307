"""The gradient of one op against central differences of its forward, in float64."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor, enable_grad
from nnmed.backend import precision
from nnmed.backend.arrays import to_device
from nnmed.explain.clone import fresh_in_float64, recorded_gradients, run_in_float64
from nnmed.explain.step import Step

_ALLOWED = 1e-6  # relative to the norm of the terms g_i v_i
_SEEN = 1e-3  # the same: with a larger tolerance a gradient is not to be seen well
_HIDDEN = 0.5  # and with this one not at all
_ALL_ENTRIES = 20_000  # up to so many numbers computed, every entry of an input is moved
_DIRECTIONS = 2
_LOOKED_AT = 4096  # numbers of an input, for ties
_INFINITIES = 8
_SHRINKINGS = 12  # so often a step is divided by 4 while the difference still depends on it
NOTHING = 1e-150  # smaller differences are 0
_NEAR, _NEARER = 0.1, 0.01  # share of the way to another number of x's own range


class Point:
    """An op in float64, at a point near the real one that has no ties and no kinks.

    Attributes
    ----------
    gradients : dict of int to array
        By input, of the sum of `weights` times the output.
    is_finite : bool
        Whether a point was found at which all numbers are finite.
    is_drawn : bool
        Whether it is a point drawn between 0 and 1, and not one near the real one.
    is_unclear : bool
        Whether differences were met that no step settles.
    """

    is_unclear = False

    def __init__(self, step: Step, rng, is_drawn: bool = False):
        self.step, self.op, self.device, self.rng = step, step.op, step.device, rng
        self.needs = [item.is_wanted for item in step.inputs]
        self.real = values = step.input_values
        near = [_near(x, item.shape, rng) for x, item in zip(values, step.inputs)]
        # Probabilities, logarithms and roots take numbers between 0 and 1.
        drawn = [_drawn(x, item.shape, rng) for x, item in zip(values, step.inputs)]
        self.is_drawn = is_drawn
        self.place(drawn if is_drawn else near)
        if not (self.is_finite or is_drawn):
            self.is_drawn = True
            self.place(drawn)

    def place(self, inputs) -> None:
        """Go to a point."""
        self.inputs = inputs
        self.y = y = self.forward(inputs)
        self.drawn: dict = {}  # directions along which large inputs are moved
        # What is infinite, such as a padding, does not change with x.
        self.seen = np.isfinite(y)
        self.weights = np.where(self.seen, self.away_from_zero(y.shape), 0.0)
        self.gradients = self.backward(self.weights)
        finite = all(np.isfinite(array).all() for array in self.gradients.values())
        self.is_finite = finite and bool(self.seen.any())
        self.eps = np.finfo(y.dtype).eps
        # What does not change is not rounded in another way either.
        moved = self.seen & (y != self.forward([_scaled(x) for x in inputs]))
        self.size = np.linalg.norm((self.weights * np.where(moved, y, 0.0)).ravel())
        # Rounding and curvature are in balance for steps of this size, of most functions.
        self.h = 10 * np.sqrt(self.eps)

    def hides_gradients(self) -> bool:
        """Tell whether the rounding of y is as large as what a gradient does along a direction."""
        return any(share > _SEEN for share in self.rounding_of_gradients())

    def hides_all(self) -> bool:
        """Tell whether nothing is to be seen of any gradient that is not 0."""
        shares = [share for share in self.rounding_of_gradients() if np.isfinite(share)]
        return bool(shares) and min(shares) > _HIDDEN

    def rounding_of_gradients(self):
        """Yield the tolerance along each direction, as a share of what the gradient does there."""
        for position in self.gradients:
            for direction in self.directions(position):
                terms = self.terms(position, direction)
                yield self.tolerance(position, direction, self.h) / terms if terms else np.inf

    def repeats(self) -> bool:
        """Tell whether forward does the same again."""
        return np.array_equal(self.y, self.forward(self.inputs), equal_nan=True)

    def wrong_entry(self):
        """Return (input, entry, gradient, central difference) of a wrong entry, or None."""
        for position, gradient in self.gradients.items():
            for direction in self.directions(position):
                if not self.disagrees(position, direction, self.h):
                    continue
                h = self.settled(position, direction)
                if h is None:
                    self.is_unclear = True
                elif self.disagrees(position, direction, h):
                    entry = self.worst_entry(position, direction, h)
                    alone = np.zeros_like(direction)
                    alone[entry] = direction[entry]
                    expected = self.difference(position, alone, h) / direction[entry]
                    name = self.step.inputs[position].name
                    return name, entry, float(gradient[entry]), float(expected)
        return None

    def wrong_at_ties(self):
        """Return what :meth:`wrong_entry` does, of the real point, where numbers may be tied.

        All numbers of an input grow together, so that what is tied stays tied. Where the output
        grows and shrinks at different rates there is a kink, at which nothing is asked.
        """
        self.place([x if x.dtype.kind != "f" else x.astype(np.float64) for x in self.real])
        if not self.is_finite:
            return None
        for position, gradient in self.gradients.items():
            direction = self.inputs[position]
            up, down = (
                2 * self.difference(position, direction, self.h, ends)
                for ends in ((self.h, 0), (0, -self.h))
            )
            tolerance = 4 * self.tolerance(position, direction, self.h)
            expected = (gradient * direction).sum()
            if abs(up - down) <= tolerance < abs(up - expected):
                name = self.step.inputs[position].name
                return name, None, float(expected), float(up)
        return None

    def has_ties(self) -> bool:
        """Tell whether numbers of the real point are tied, as far as it looks."""
        for x in self.real:
            some = x[x != 0].ravel()[:_LOOKED_AT] if x.dtype.kind == "f" else x[:0].ravel()
            if len(np.unique(some)) < len(some):
                return True
        return False

    def wrong_infinity(self):
        """Return what :meth:`wrong_entry` does for a gradient that is not finite where y changes.

        A few of them are looked at, at a point at which some number is not finite.
        """
        for position, gradient in self.gradients.items():
            for entry in map(tuple, np.argwhere(~np.isfinite(gradient))[:_INFINITIES]):
                direction = np.zeros_like(gradient)
                direction[entry] = np.maximum(np.abs(self.inputs[position][entry]), 1e-3)
                expected = self.difference(position, direction, self.h) / direction[entry]
                if np.isfinite(expected):
                    entry = tuple(int(i) for i in entry)
                    name = self.step.inputs[position].name
                    return name, entry, float(gradient[entry]), float(expected)
        return None

    def forward(self, inputs) -> np.ndarray:
        """Return the output at a point."""
        return run_in_float64(self.op, inputs, self.device)

    def backward(self, dy) -> dict[int, np.ndarray]:
        """Return the gradients at the point, by the backward that can be recorded."""
        node = fresh_in_float64(self.op)
        with enable_grad(), precision.multiplying_in("float32"):
            y = node(*[self.tensor(x, need) for x, need in zip(self.inputs, self.needs)])
        dy = Tensor._wrap(to_device(dy.astype(y.dtype), y.device))
        gradients = recorded_gradients(node, dy)
        return {
            position: np.zeros_like(self.inputs[position]) if g is None else g
            for position, (g, need) in enumerate(zip(gradients, self.needs))
            if need
        }

    def tensor(self, array, requires_grad: bool) -> Tensor:
        """Return an input on the op's device."""
        array = np.asarray(array)  # NumPy makes 0-d results scalars
        return Tensor._wrap(to_device(array, self.device)).requires_grad_(requires_grad)

    def directions(self, position):
        """Yield directions along which an input is moved: entry by entry, or random ones.

        An entry moves in proportion to its size, so that none crosses zero.
        """
        x = self.inputs[position]
        if x.size * (x.size + self.weights.size) <= _ALL_ENTRIES:
            for entry in np.ndindex(x.shape):
                direction = np.zeros_like(x)
                direction[entry] = np.abs(x[entry])
                yield direction
        else:
            if position not in self.drawn:
                sizes = np.abs(x)
                self.drawn[position] = [
                    self.away_from_zero(x.shape) * sizes for _ in range(_DIRECTIONS)
                ]
            yield from self.drawn[position]

    def difference(self, position, direction, h: float, ends=None) -> float:
        """Return the derivative along a direction by central differences, or between `ends`."""
        outputs = []
        for step in ends or (h, -h):
            inputs = list(self.inputs)
            inputs[position] = inputs[position] + step * direction
            outputs.append(self.forward(inputs))
        change = np.where(self.seen, outputs[0] - outputs[1], 0.0)
        return (change * self.weights).sum() / (2 * h)

    def settled(self, position, direction) -> float | None:
        """Return a step so small that the difference does not depend on it, None if there is none.

        That one is relative to x: too large for a function that turns at a scale of its own, as
        sin does at 1e4. A smaller one is of use only while rounding leaves the gradient to be seen:
        where the tolerance is larger than it, everything would agree.
        """
        usual = self.tolerance(position, direction, self.h)
        most = max(usual, _SEEN * self.terms(position, direction))
        before = self.difference(position, direction, self.h)
        for h in self.h / 4.0 ** np.arange(1, _SHRINKINGS + 1):
            tolerance = self.tolerance(position, direction, h)
            difference = self.difference(position, direction, h)
            if abs(difference - before) <= tolerance:
                return h
            if tolerance > most:
                break
            before = difference
        return None

    def away_from_zero(self, shape) -> np.ndarray:
        """Return random numbers of both signs.

        None is small, so that every entry counts, and their mean is not 0, so that sums over
        many entries count as well.
        """
        return np.asarray(self.rng.uniform(0.5, 1, shape) * self.rng.choice([-1, 1, 1], shape))

    def terms(self, position, direction) -> float:
        """Return the size of what the derivative along a direction is the sum of."""
        return np.linalg.norm(self.gradients[position] * direction)

    def error(self, position, direction, h: float) -> float:
        """Return how far gradient and difference are apart along a direction."""
        analytic = (self.gradients[position] * direction).sum()
        return abs(analytic - self.difference(position, direction, h))

    def tolerance(self, position, direction, h: float) -> float:
        """Return how far they may be apart: the smaller the step, the more x and y are rounded."""
        terms, moved = self.terms(position, direction), np.linalg.norm(direction.ravel())
        return _ALLOWED * terms + self.eps * (100 * self.size + terms + moved) / h + NOTHING

    def disagrees(self, position, direction, h: float) -> bool:
        """Tell whether they are further apart than rounding explains."""
        return not self.error(position, direction, h) <= self.tolerance(position, direction, h)

    def worst_entry(self, position, direction, h: float) -> tuple[int, ...]:
        """Halve a direction, following the larger error, down to one entry."""
        entries = np.flatnonzero(direction)
        while len(entries) > 1:
            halves = np.array_split(entries, 2)
            parts = []
            for half in halves:
                part = np.zeros_like(direction)
                part.flat[half] = direction.flat[half]
                parts.append(self.error(position, part, h))
            entries = halves[int(parts[1] > parts[0])]
        return tuple(int(i) for i in np.unravel_index(entries[0], direction.shape))


def _near(x, shape, rng):
    """Return `x` in float64, every entry a little of the way to a number of x's own range.

    That breaks ties, leaves kinks, and stays where the op is defined. Small numbers move further,
    so that they count; large ones stay beyond a bound of the op. Integers stay. What is not known
    is drawn from both sides of 0.
    """
    if x is None:
        return rng.uniform(-2, 2, shape)
    if x.dtype.kind != "f":
        return x
    if not np.isfinite(x).all():
        return _drawn(x, shape, rng)
    near = x.astype(np.float64)  # in its order of memory
    low, high = near.min(), near.max()
    if low == high:
        margin = 0.1 * abs(low) or 0.1
        low, high = low - margin, high + margin
    size = np.abs(near)
    share = np.where(size < _NEAR * size.max(), _NEAR, _NEARER)
    near += share * (rng.uniform(low, high, shape) - near)
    return near


def _scaled(x):
    return x * (1 + 2.0**-10) if x.dtype.kind == "f" else x


def _drawn(x, shape, rng):
    drawn = np.asarray(rng.uniform(0.1, 0.9, shape))
    if x is None:
        return drawn
    if x.dtype.kind != "f":
        return x
    ordered = np.empty_like(x, np.float64)
    ordered[...] = drawn
    return ordered
