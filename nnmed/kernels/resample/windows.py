"""How windows lie over a picture."""

from __future__ import annotations

from typing import NamedTuple


class Windows(NamedTuple):
    """Windows over a padded picture; each field is a pair for rows and columns."""

    kernel: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    def counts(self, size) -> tuple[int, int]:
        """Return how many windows fit along a picture of `size`, at most 0 where none does."""
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, *self))

    def read(self, tap, counts):
        """Return the index of what `tap` of all windows reads in padded planes."""
        return slice(None), *(
            slice(t * d, t * d + (count - 1) * s + 1, s)
            for t, count, d, s in zip(tap, counts, self.dilation, self.stride)
        )
