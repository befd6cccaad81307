"""Links and the reference: what is linked has a page, and what is public is told."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import nnmed

pytest.importorskip("sphinx")
api = pytest.importorskip("pages.api")
repository = pytest.importorskip("pages.repository")
ROOT = repository.ROOT


def test_a_link_to_a_file_leads_to_its_page():
    text = "[a](nnmed/ops/conv.py) ![b](docs/detection.png) [c](README.zh-CN.md)"
    expected = "[a](/_generated/source/nnmed/ops/conv.py.md) ![b](/detection.png) [c](/zh.md)"
    assert repository.relink(text, ROOT) == expected


def test_a_link_is_relative_to_its_text():
    assert (
        repository.relink("[x](RESULTS.md)", ROOT / "benchmarks") == "[x](/benchmarks/results.md)"
    )


def test_other_links_stay():
    for text in ("[x](https://example.org/a.py)", "f[0](y)", "[x](missing.py)", "[x](/zh.md)"):
        assert repository.relink(text, ROOT) == text


def test_every_text_that_is_a_page_is_included_in_it():
    for name, page in repository.PAGES.items():
        source = (ROOT / "docs" / page.lstrip("/")).read_text(encoding="utf-8")
        assert f"/{name}\n" in source


def test_a_linked_file_gets_a_page(tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(repository, "write_page", written.__setitem__)
    repository.write_sources("[a](nnmed/ops/conv.py) [b](README.md) [c](missing.py)", ROOT)
    assert list(written) == ["source/nnmed/ops/conv.py"]
    assert ":language: python" in written["source/nnmed/ops/conv.py"]


def test_the_reference_has_every_public_name_once():
    pages = api.pages()
    assert "Tensor" in pages["nnmed"]
    assert "Conv2d" in pages["nnmed.nn"]
    assert "conv2d" in pages["nnmed.functional"]
    assert "DataError" in pages["nnmed.errors"]
    assert "kaiming_normal_" in pages["nnmed.nn.init"]
    for room in (nnmed.nn, nnmed.optim, nnmed.metrics, nnmed.data):
        told = set(pages[room.__name__]) | set(pages["nnmed"])
        assert {name for name in room.__all__ if callable(getattr(room, name))} <= told


def test_a_function_named_like_its_module_is_no_module():
    assert "bootstrap" in api.pages()["nnmed.metrics"]
    assert "nnmed.metrics.bootstrap" not in api.pages()
    assert "nnmed.nn" in api.pages()


def test_the_code_of_the_questions_runs(tmp_path):
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    *said, difference = result.stdout.splitlines()
    assert said[0] == "8.0"
    assert "retain_graph=True" in said[1]
    assert said[2:4] == ["True", "[0.5, 0.5, 0.0]"]
    assert said[4:6] == ["(3, 1) [3.0, 3.0, 3.0, 3.0]", "True"]
    comments = re.findall("^# (.* = .*)$", program, re.MULTILINE)
    assert said[6:] == ["passed", *comments]
    assert len(comments) == 2
    assert float(difference) < 1e-14
