"""The graph has every op and tensor once, with its name, and folds into modules."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.errors import DataError, GradientError, UsageError
from nnmed.models.resnet import ResNet

SVG = "{http://www.w3.org/2000/svg}"


def leaf(value):
    return nnmed.Tensor(value, requires_grad=True)


def resnet_loss(recorded=True):
    model = ResNet(1, 3, blocks=(1, 2), width=4)
    image = nnmed.Tensor(np.zeros((2, 1, 16, 16), np.float32))
    with nnmed.recording(model if recorded else None):
        loss = F.cross_entropy(model(image), nnmed.Tensor([0, 2]))
    return model, loss


def links(graph):
    return {(edge.source.name, edge.target.name, edge.name) for edge in graph.edges}


def test_names_shapes_and_edges_of_a_formula():
    x, y = leaf([2.0, 1.0]), leaf([[3.0, 4.0]])
    z = x * 2 + y
    graph = nnmed.graph(z)
    assert [node.name for node in graph.nodes] == ["x", "2", "Mul", "BroadcastTo", "y", "Add"]
    assert links(graph) == {
        ("x", "Mul", "a"), ("2", "Mul", "b"), ("Mul", "BroadcastTo", "x"),
        ("BroadcastTo", "Add", "a"), ("y", "Add", "b"),
    }  # fmt: skip
    kinds = {node.name: node.kind for node in graph.nodes}
    assert (kinds["x"], kinds["2"], kinds["Add"]) == ("input", "constant", "op")
    shapes = {node.name: node.shape for node in graph.nodes}
    assert (shapes["x"], shapes["Mul"], shapes["Add"]) == ((2,), (2,), (1, 2))
    assert graph.nodes[-1].variable == "z"


def test_a_tensor_used_twice_is_one_node_with_two_edges():
    x = leaf(3.0)
    graph = nnmed.graph(x * x)
    assert [node.name for node in graph.nodes] == ["x", "Mul"]
    assert [edge.name for edge in graph.edges] == ["a", "b"]


def test_sources_come_before_their_users():
    model, loss = resnet_loss()
    for graph in (nnmed.graph(loss, model), nnmed.graph(loss, model).fold("layer1", "layer2.1")):
        number = {node: index for index, node in enumerate(graph.nodes)}
        assert len(number) == len(graph.nodes)
        assert all(number[edge.source] < number[edge.target] for edge in graph.edges)


def test_parameters_have_the_names_of_the_model():
    model, loss = resnet_loss()
    graph = nnmed.graph(loss, model)
    names = [node.name for node in graph.nodes if node.kind == "parameter"]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert "layer2.0" in {node.layer for node in graph.nodes if node.name == "Add"}


def test_folding_without_names_folds_the_outermost_modules():
    model, loss = resnet_loss()
    graph = nnmed.graph(loss, model).fold()
    names = [node.name for node in graph.nodes]
    # maxpool is an Identity here and dropout does nothing: neither runs an op
    modules = [node.name for node in graph.nodes if node.kind == "module"]
    assert modules == ["conv1", "bn1", "layer1", "layer2", "fc"]
    assert not any(name.endswith("weight") for name in names)
    ops = [op for node in graph.nodes for op in node.ops]
    assert ops == [op for node in nnmed.graph(loss, model).nodes for op in node.ops]
    chain = ["conv1", "bn1", "layer1", "layer2"]
    assert {(before, after, "x") for before, after in pairwise(chain)} <= links(graph)


def test_folding_one_module_leaves_the_others():
    model, loss = resnet_loss()
    whole = nnmed.graph(loss, model)
    graph = whole.fold("layer2.0")
    (block,) = [node for node in graph.nodes if node.kind == "module"]
    assert (block.name, block.shape) == ("layer2.0", (2, 8, 4, 4))
    assert len(whole.nodes) - len(graph.nodes) == len(block.ops) - 1 + len(
        list(model.layer2[0].parameters())
    )
    # The block's input goes to a convolution and to the shortcut inside: one edge.
    assert sum(edge.target is block for edge in graph.edges) == 1


def test_folding_by_parameters_alone():
    model, loss = resnet_loss(recorded=False)
    graph = nnmed.graph(loss, model).fold("layer1", "layer2")
    layer2 = next(node for node in graph.nodes if node.name == "layer2")
    assert {"Conv", "BatchNorm", "Relu", "Add"} <= {op.name for op in layer2.ops}
    # Behind the last parameter of a module nobody knows to whom an op belongs.
    assert [op.name for op in layer2.ops][-1] == "BatchNorm"


def test_a_module_that_ran_twice_is_two_nodes():
    layer, other = nn.Linear(3, 3), nn.Linear(3, 3)
    model = nn.Sequential(layer, other)
    x = nnmed.Tensor(np.ones((1, 3), np.float32))
    with nnmed.recording(model):
        y = layer(other(layer(x)))
    graph = nnmed.graph(y, model).fold()
    assert [node.name for node in graph.nodes if node.kind == "module"] == ["0", "1", "0"]
    # A parameter that both use stays.
    assert [node.name for node in graph.nodes if node.kind == "parameter"] == [
        "0.weight", "0.bias",
    ]  # fmt: skip


def test_folding_an_unknown_module_names_the_known_ones():
    model, loss = resnet_loss()
    with pytest.raises(UsageError, match=r"'layer9'; modules: conv1, bn1, layer1\.0\.conv1"):
        nnmed.graph(loss, model).fold("layer9")
    with pytest.raises(UsageError, match="pass model="):
        nnmed.graph(nnmed.exp(leaf(1.0))).fold("layer1")


def test_what_has_no_graph():
    with pytest.raises(UsageError, match="takes a Tensor, got float"):
        nnmed.graph(1.0)
    with pytest.raises(GradientError, match="no operation was recorded"):
        nnmed.graph(nnmed.Tensor(1.0))
    y = nnmed.exp(leaf(1.0))
    y.backward()
    with pytest.raises(GradientError, match="released the arrays of Exp"):
        nnmed.graph(y)


def test_a_leaf_alone_is_a_node():
    x = leaf(1.0)
    graph = nnmed.graph(x)
    assert str(graph) == str(graph.fold()) == "●  x ()"
    assert ">x</text>" in graph.to_svg()


def test_drawing_leaves_the_graph_usable():
    x = leaf(1.0)
    y = nnmed.exp(x) * x
    graph = nnmed.graph(y)
    y.backward()
    assert str(graph)
    assert graph.to_svg()
    assert x.grad.item() == pytest.approx(2 * np.e)


# -- formats ---------------------------------------------------------------------------


def test_svg_is_accessible_and_has_every_node(tmp_path):
    model, loss = resnet_loss()
    graph = nnmed.graph(loss, model)
    path = tmp_path / "graph.svg"
    assert graph.to_svg(path) == path.read_text(encoding="utf-8")
    root = ElementTree.parse(path).getroot()
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert [root[0].tag, root[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    groups = root.findall(f"{SVG}g")
    nodes = [g for g in groups if g.get("class").startswith("node")]
    assert len(nodes) == len(graph.nodes)
    assert len(groups) - len(nodes) == len(graph.edges)
    orders = {g.get("data-order") for g in nodes if g.get("data-order")}
    assert orders == {str(op.order) for node in graph.nodes for op in node.ops}
    relu = next(g for g in nodes if g.get("aria-label").startswith("Relu"))
    assert "dL/dx = " in relu.find(f"{SVG}title").text


def test_svg_keeps_text_inside_of_its_box():
    graph = nnmed.graph((leaf(1.0) * leaf(2.0)).sum())
    for g in ElementTree.fromstring(graph.to_svg()).findall(f"{SVG}g"):
        box = g.find(f"{SVG}rect")
        for text in g.findall(f"{SVG}text") if box is not None else []:
            assert 7.2 * len(text.text) <= float(box.get("width"))
            assert 0 < float(text.get("y")) - float(box.get("y")) < float(box.get("height"))


def test_names_are_escaped():
    model = nn.Sequential(nn.Linear(1, 1))
    y = model(nnmed.Tensor([[1.0]]))
    graph = nnmed.graph(y, model)
    graph.nodes[0].name = 'a<b>&"c"\\'
    ElementTree.fromstring(graph.to_svg())
    assert 'a<b>&\\"c\\"\\\\' in graph.to_dot()


def test_an_unwritable_path_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        nnmed.graph(nnmed.exp(leaf(1.0))).to_svg(tmp_path / "missing" / "graph.svg")


def test_dot_has_every_node_and_edge():
    x, y = leaf(2.0), leaf(3.0)
    graph = nnmed.graph(x * y + nnmed.sin(x))
    text = graph.to_dot()
    assert text.count(" -> n") == len(graph.edges) == 5
    assert text.count("shape=ellipse") == 2
    assert text.count("shape=box,") == 3
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text, text=True, check=True, capture_output=True)


def without_places(text):
    return "\n".join(line.partition("  test_")[0].rstrip() for line in text.splitlines())


def test_text_draws_branches_and_joins():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y + nnmed.sin(x)
    assert without_places(str(nnmed.graph(z))) == "\n".join([
        "●  z = Add ()",
        "├─╮",
        "│ ●  Sin ()",
        "● │  Mul ()",
        "╰─┤",
        "  ●  x ()",
    ])  # fmt: skip


def test_text_leads_past_other_lines():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    w = x - z / (y - x)
    assert without_places(str(nnmed.graph(w))) == "\n".join([
        "●  w = Sub ()",
        "├─╮",
        "│ ●  Div ()",
        "│ ├─╮",
        "│ │ ●  Sub ()",
        "├─│─┤",
        "│ ● │  z = Mul ()",
        "├─┴─┤",
        "│   ●  y ()",
        "●  x ()",
    ])  # fmt: skip


def test_text_of_a_chain_is_a_straight_line():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    y = model(nnmed.Tensor([[1.0, 2.0]])).sum()
    lines = str(nnmed.graph(y, model)).splitlines()
    assert [line[:3] for line in lines] == ["●  "] * 4
    assert "<- 2.weight (1, 3), 2.bias (1,)" in lines[1]
