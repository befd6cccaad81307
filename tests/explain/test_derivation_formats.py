"""A derivation as a table, Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.explain.latex import escaped


@pytest.fixture(scope="module")
def scalars():
    x, y = nnmed.Tensor(2.0, requires_grad=True), nnmed.Tensor(3.0, requires_grad=True)
    return nnmed.explain(x * y + nnmed.sin(x)).verify()


@pytest.fixture(scope="module")
def network():
    nnmed.seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3))
    image = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32))
    with nnmed.recording(net):
        loss = F.cross_entropy(net(image), nnmed.Tensor([0, 2]))
    return nnmed.explain(loss, net).verify()


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_the_table_fits_the_terminal(network, scalars, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for derivation in (network, scalars):
        table = str(derivation)
        assert max(map(len, table.splitlines())) <= min(max(columns, 80), 120)
    table = str(network)
    for step in network:
        assert re.search(rf"^ *{step.index}  {step.op_name} ", table, re.MULTILINE)
    assert ("x -> 6, weight, bias" in table) == (columns > 80)
    assert table.count("passed") == len(network)
    assert "  dL/dX = dL/dY @ W" in table  # the rules of the ops that occur


def test_small_derivations_are_written_out(scalars):
    text = str(scalars)
    assert "  dL/dx = dL/dy2 * y + dL/dy1 * cos(x) = 1 * 3 + 1 * cos(2) = 2.583853" in text
    assert "x (): |dL/dx| = 2.583853, from step 1, step 2" in text


def test_notes_and_failures_stand_in_the_table(monkeypatch):
    from nnmed.ops.elementwise import Sin

    monkeypatch.setattr(Sin, "backward", lambda self, dy: dy)
    b = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    derivation = nnmed.explain((nnmed.sin(b) + nnmed.Tensor([[1.0], [2.0]])).sum()).verify()
    text = " ".join(str(derivation).split())
    assert "broadcast (2,) to (2, 2); the gradient is summed over dim 0" in text
    assert re.search(r"step 3, Sin at .*: the gradient of x at \(0,\) is .*, central diff", text)


def test_markdown_has_the_formulas_and_tables(network):
    text = network.to_markdown()
    assert text.count("\n## Step ") == len(network)
    assert f"$${network[1].forward_latex}$$" in text
    assert text.count("$$") % 2 == 0
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {8}
    assert "Check: **passed**." in text


def test_markdown_and_latex_have_the_same_numbers(network):
    lines = [line for line in network.to_markdown().splitlines() if line.startswith("|")]
    rows = [line[2:-2].split(" | ") for line in lines if "---" not in line]
    statistics = network[-1].inputs[1].statistics
    norm, zeros = f"{statistics.norm:.4g}", f"{statistics.zeros:.1%}"
    assert rows[-2][:3] + rows[-2][-1:] == ["weight", "(4,1,3,3)", norm, zeros]
    in_latex = [line for line in network.to_latex().splitlines() if line.endswith(r" \\")]
    assert in_latex == [" & ".join(map(escaped, row)) + r" \\" for row in rows]


def test_all_formats_have_the_formulas_of_every_input(network):
    x = nnmed.Tensor([1.0, 2.0])
    (product,) = nnmed.explain((x * x.detach().requires_grad_()).sum()).where("Mul")
    assert len(product.formulas) == 3  # that of the constant as well
    for step in network:
        assert all(f"$${formula}$$" in network.to_markdown() for formula in step.formulas)
        assert all(formula in network.to_latex() for formula in step.formulas)


def test_latex_is_a_whole_document(network, scalars):
    for derivation in (network, scalars):
        text = derivation.to_latex()
        assert text.startswith(r"\documentclass{article}")
        assert text.rstrip().endswith(r"\end{document}")
        for name in ("gather*", "tabular", "document"):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
        assert text.isascii()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_as_it_stands(network, scalars, tmp_path):
    for name, derivation in (("network", network), ("scalars", scalars)):
        (tmp_path / f"{name}.tex").write_text(derivation.to_latex(), encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-2000:]
        assert (tmp_path / f"{name}.pdf").stat().st_size > 10_000


def test_signs_that_latex_reads_are_escaped():
    assert escaped(r"a_b & 50% #1 {x} ~ \n") == (
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{} \textbackslash{}n"
    )
    assert escaped("naïve") == "na?ve"


def test_json_has_all_of_it(network):
    content = json.loads(network.to_json())
    assert [step["op"] for step in content["steps"]] == [step.op_name for step in network]
    conv = content["steps"][-1]
    assert conv["layer"] == "0"
    assert conv["inputs"][1]["leaf"] == "0.weight"
    assert conv["inputs"][1]["gradient"]["norm"] == network[-1].inputs[1].statistics.norm
    assert conv["forward_seconds"] > 0
    assert conv["check"]["verdict"] == "passed"
    assert [leaf["shape"] for leaf in content["leaves"]][:2] == [[4, 1, 3, 3], [4]]


def test_json_has_null_for_what_is_no_number():
    x = nnmed.Tensor([0.0, 1.0], requires_grad=True)
    content = json.loads(nnmed.explain(nnmed.log(x).sum()).to_json())
    gradient = content["leaves"][0]["gradient"]
    assert gradient["values"] == [None, 1.0]
    assert gradient["max"] is None
