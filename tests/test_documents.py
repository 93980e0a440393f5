"""The documents name files, modules and pages that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = [
    "app",
    "benchmarks",
    "deploy",
    "docs",
    "examples",
    "migrations",
    "star_client",
    "star_engine",
    "tests",
    "worker",
]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *(path for tree in TREES for path in sorted((ROOT / tree).rglob("*.md"))),
]
MODULE = re.compile(r"python -m ((?:app|benchmarks|examples|star_client|star_engine|tests|worker)(?:\.\w+)*)")
FILE = re.compile(rf"(?<![\w./-])((?:{'|'.join(TREES)})/[\w./-]+\.(?:py|md|json|ya?ml|html))\b")
FOLDER = re.compile(rf"`((?:{'|'.join(TREES)})/(?:\w+/)*)`")
TEST_FILE = re.compile(r"`(test_\w+\.py)`")
# In back quotes, or on a line of a block of commands; in prose `make` is a verb.
TARGET = re.compile(r"`make ([a-z][a-z-]*)|^make ([a-z][a-z-]*)(?=(?: +(?:#.*|[A-Z]+=.*))?$)", re.MULTILINE)
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
BLOCK = re.compile(r"^```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


def missing(document: Path) -> Iterator[str]:
    """Each name in a document that leads nowhere."""
    text = document.read_text(encoding="utf-8")
    for module in MODULE.findall(text):
        path = ROOT / module.replace(".", "/")
        if not path.with_suffix(".py").exists() and not (path / "__main__.py").exists():
            yield f"python -m {module}"
    for name in [*FILE.findall(text), *FOLDER.findall(text)]:
        if not (ROOT / name).exists() and not (document.parent / name).exists():
            yield name
    yield from (
        f"make {name}" for found in TARGET.findall(text) for name in found if name and name not in TARGETS
    )
    yield from (name for name in TEST_FILE.findall(text) if not any((ROOT / "tests").rglob(name)))
    yield from (name for name in LINK.findall(text) if not (document.parent / name).exists())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_names_only_what_exists(document: Path) -> None:
    assert list(missing(document)) == []


def test_a_document_that_names_what_is_gone_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`python -m star_engine.gone`, docs/gone.md, `test_gone.py`, [gone](gone.md), `app/gone/`, `app/`"
        "\n`make gone` `make test`\n\nmake lost\nmake sure of it\n"
    )
    gone = [
        "python -m star_engine.gone",
        "docs/gone.md",
        "app/gone/",
        "make gone",
        "make lost",
        "test_gone.py",
        "gone.md",
    ]
    assert list(missing(page)) == gone


def test_every_curl_line_asks_for_an_operation_that_exists() -> None:
    paths = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))["paths"]
    known = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))) for path in paths]
    asked = {
        path
        for document in DOCUMENTS
        for block in BLOCK.findall(document.read_text(encoding="utf-8"))
        if "curl" in block
        for path in re.findall(r"\$STAR_URL(/[^\s\"'?]*)", block)
    }
    assert len(asked) >= 8
    assert {path for path in asked if not any(one.fullmatch(path) for one in known)} == set()


def test_where_python_asks_the_platform_curl_stands_beside_it() -> None:
    for document in sorted((ROOT / "docs").glob("*.md")):
        text = document.read_text(encoding="utf-8")
        if any(word in block for block in BLOCK.findall(text) for word in ("StarClient(", "openai.OpenAI(")):
            assert "curl" in text, document.name


def test_decisions_have_numbers_of_their_own() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("0*.md"))]
    assert len(numbers) == len(set(numbers))


def test_the_index_lists_every_decision() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert LINK.findall(index) == sorted(path.name for path in folder.glob("0*.md"))
