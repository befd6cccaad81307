"""The layout is sound for every graph: nothing overlaps, and chains are straight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnmed.explain.drawing.layers import in_layers
from nnmed.explain.drawing.layout import lay_out
from nnmed.explain.drawing.ordering import crossings, order


@st.composite
def graphs(draw):
    """Sizes of boxes, and edges from smaller to greater numbers; some of them twice."""
    count = draw(st.integers(1, 14))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []
    sizes = draw(st.lists(st.tuples(st.integers(30, 200), st.integers(20, 60)),
                          min_size=count, max_size=count))  # fmt: skip
    return sizes, edges


def curve_points(points):
    """Return points on a line as it is drawn: uprights, and Bezier curves between them."""
    t = np.linspace(0, 1, 9)[:, None]
    drawn = []
    for start, end in itertools.pairwise(np.asarray(points, float)):
        middle = (start[1] + end[1]) / 2
        corners = start, np.array([start[0], middle]), np.array([end[0], middle]), end
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
        drawn += list(sum(w * corner for w, corner in zip(weights, corners)))
    return np.array(drawn)


@given(graphs())
def test_boxes_do_not_overlap_and_lines_touch_only_their_own(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    half = np.array(sizes) / 2
    centres = np.array(layout.centres)
    for a, b in itertools.combinations(range(len(sizes)), 2):
        apart = np.abs(centres[a] - centres[b]) - half[a] - half[b]
        assert (apart > 0).any()
    for (source, target), points in zip(edges, layout.lines):
        drawn = curve_points(points)
        for box in set(range(len(sizes))) - {source, target}:
            assert (np.abs(drawn - centres[box]) >= half[box]).any(axis=1).all()


@given(graphs())
def test_everything_lies_on_the_page_and_lines_go_down_to_their_boxes(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    half = np.array(sizes) / 2
    centres = np.array(layout.centres)
    assert (centres - half >= 0).all()
    assert (centres + half <= [layout.width + 1e-6, layout.height + 1e-6]).all()
    for (source, target), points in zip(edges, layout.lines):
        points = np.array(points)
        assert (np.diff(points[:, 1]) >= 0).all()
        assert points[0, 1] == pytest.approx(centres[source, 1] + half[source, 1])
        assert points[-1, 1] == pytest.approx(centres[target, 1] - half[target, 1])
        assert abs(points[-1, 0] - centres[target, 0]) <= half[target, 0]


@given(graphs())
def test_the_order_never_crosses_more_than_before(graph):
    sizes, edges = graph
    layered = in_layers(len(sizes), edges)
    before, members = crossings(layered), [sorted(layer) for layer in layered.layers]
    assert before == counted_one_by_one(layered)
    order(layered)
    assert crossings(layered) <= before
    assert [sorted(layer) for layer in layered.layers] == members


def counted_one_by_one(layered):
    position = layered.positions()
    count = 0
    for layer in layered.layers:
        edges = [(position[u], position[v]) for u in layer for v in layered.below[u]]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(edges, 2))
    return count


def test_the_order_unties_a_crossing():
    layered = in_layers(6, [(0, 5), (1, 4), (2, 3)])
    assert crossings(layered) == 3
    order(layered)
    assert crossings(layered) == 0


def test_a_source_stands_right_above_its_user():
    # 0 -> 1 -> 2 -> 4, and a parameter 3 that 4 alone takes
    layered = in_layers(5, [(0, 1), (1, 2), (2, 4), (3, 4)])
    assert layered.layers == [[0], [1], [2, 3], [4]]


def test_a_chain_is_straight_whatever_hangs_on_it():
    # Ops 1, 4, 7, 10 in a chain behind the input 0, two parameters each, and a shortcut.
    edges = [(0, 1), (1, 4), (4, 7), (7, 10), (1, 10)]
    edges += [(op - back, op) for op in (4, 7, 10) for back in (1, 2)]
    layout = lay_out([(100, 40)] * 11, edges)
    assert len({round(layout.centres[op][0], 6) for op in (0, 1, 4, 7, 10)}) == 1
    shortcut = layout.lines[4][2:-2]
    assert len({round(x, 6) for x, _ in shortcut}) == 1
    assert abs(shortcut[0][0] - layout.centres[1][0]) > 50


def test_arrows_at_one_box_keep_apart():
    layout = lay_out([(100, 40)] * 5, [(0, 4), (1, 4), (2, 4), (3, 4), (3, 4)])
    ends = sorted(points[-1][0] for points in layout.lines)
    assert min(np.diff(ends)) > 5
