"""The client's own wheel, beside nothing but what it says that it needs."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.databases import PROJECT

UV = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")


def needed(names: list[str]) -> dict[str, Distribution]:
    """These distributions and all that they need, by name."""
    found: dict[str, Distribution] = {}
    while names:
        one = distribution(names.pop())
        if one.name in found:
            continue
        found[one.name] = one
        wanted = [Requirement(text) for text in one.requires or []]
        names += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the client's wheel and what it needs, linked from this environment."""
    folder = tmp_path_factory.mktemp("client")
    project = PROJECT / "packages" / "star-client"
    command = [UV, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(project)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", symlinks=True)
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    [wheel] = folder.glob("*.whl")
    with ZipFile(wheel) as packed:
        packed.extractall(site)
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    for one in needed([Requirement(text).name for text in settings["project"]["dependencies"]]).values():
        for file in one.files or []:
            top = site / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(str(one.locate_file(file.parts[0])))
    return folder / "venv" / "bin" / "python"


def star(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-P", "-m", "star_client.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin", "HOME": "/"})


@pytest.mark.long
def test_the_client_needs_nothing_but_what_it_says(python: Path) -> None:
    said = (
        "import star_client, sys; print(sorted({'app', 'fastapi', 'sqlalchemy', 'pyarrow'} & {*sys.modules}))"
    )
    found = subprocess.run([python, "-P", "-c", said], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("[]\n", "")
    missing = subprocess.run([python, "-P", "-c", "import fastapi"], capture_output=True, text=True)
    assert "No module named 'fastapi'" in missing.stderr
    assert star(python, "--help").returncode == 0
    assert star(python, "--version").stdout == "star 0.1.0 (client alone)\n"


@pytest.mark.long
def test_a_command_of_the_platform_says_what_to_install(python: Path) -> None:
    found = star(python, "serve")
    assert found.returncode == 2
    assert "pip install star-service" in found.stderr


def test_both_wheels_have_one_version() -> None:
    both = [PROJECT / "pyproject.toml", PROJECT / "packages" / "star-client" / "pyproject.toml"]
    assert len({tomllib.loads(path.read_text())["project"]["version"] for path in both}) == 1
