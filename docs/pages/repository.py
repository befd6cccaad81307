"""Links to files of the repository, which lead to pages of the site.

The README, the notes of the benchmarks, the lessons and the FAQ link to files as they lie in the
repository. Here a text that is a page of its own is linked as that page, and any other file as
a page that shows its source.
"""

from __future__ import annotations

import re
from pathlib import Path

from pages import GENERATED, ROOT, SAFE, write_page

# Texts of the repository that are included in pages.
PAGES = {
    "README.md": "/index.md",
    "README.zh-CN.md": "/zh.md",
    "benchmarks/RESULTS.md": "/benchmarks/results.md",
    "benchmarks/NOTES.md": "/benchmarks/notes.md",
}
LINK = re.compile(r"\]\(([\w./-]+)\)")
LANGUAGES = {".py": "python", ".cu": "cuda", ".cuh": "cuda", ".sh": "sh", ".cfg": "cfg"}

SOURCE = """---
orphan: true
---

# {name}

```{{literalinclude}} /../{name}
:language: {language}
:linenos:
```
"""


def relink(text: str, folder: Path) -> str:
    """Return a Markdown text of `folder` with its links to files leading to pages of the site."""

    def replace(match):
        path = (folder / match[1]).resolve()
        return f"]({page_of(path)})" if path.is_file() and ROOT in path.parents else match[0]

    return LINK.sub(replace, text)


def page_of(path: Path) -> str:
    """Return where in the site a file of the repository is to be found."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs")
    return PAGES.get(name, f"/_generated/source/{name}.md")


def write_sources(text: str, folder: Path) -> None:
    """Write the pages of source that a text of `folder` links to."""
    for target in LINK.findall(relink(text, folder)):
        if target.startswith("/_generated/source/"):
            name = target.removeprefix("/_generated/source/").removesuffix(".md")
            language = LANGUAGES.get(Path(name).suffix, "text")
            write_page(f"source/{name}", SOURCE.format(name=name, language=language))


def generate(app) -> None:
    docs = Path(app.srcdir)
    texts = [*(ROOT / name for name in PAGES), *docs.glob("*.md"), *GENERATED.rglob("*.md")]
    for path in texts:
        write_sources(path.read_text(encoding="utf-8"), path.parent)


def relink_page(app, name: str, content: list[str]) -> None:
    content[0] = relink(content[0], Path(app.env.doc2path(name)).parent)


def relink_included(app, path: Path, parent: str, content: list[str]) -> None:
    content[0] = relink(content[0], (Path(app.srcdir) / path).parent)


def setup(app):
    app.connect("builder-inited", generate)
    app.connect("source-read", relink_page)
    app.connect("include-read", relink_included)
    return SAFE
