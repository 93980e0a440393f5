"""Every recipe of docs/cookbook.md is uploaded as it stands there."""

from __future__ import annotations

import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest

from star_engine.tasks.programs.execution import using_runner
from tests.star_client.conftest import Run
from tests.star_client.recorded_platform import Platform
from worker.sandbox.local import LocalRunner

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"
BLOCK = re.compile(r'^(`{3,})(\w+)(?: title="([\w.-]+)")?\n(.*?)^\1$', re.MULTILINE | re.DOTALL)
RECIPES = {
    title: text
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    if 'title="' in text
}
CODE = "Programs that must pass tests"


def test_the_page_has_recipes() -> None:
    assert len(RECIPES) >= 7


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_is_accepted(
    title: str, server: Platform, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = []
    for _, _, name, text in BLOCK.findall(RECIPES[title]):
        if name:
            Path(name).write_text(text)
        else:
            commands += text.splitlines()
    assert len(commands) == 2
    with closing(LocalRunner(1)) as sandbox, using_runner(sandbox):
        for command in commands:
            result = run(server, *shlex.split(command, comments=True)[1:])
            assert result.status == 0, result.err


def test_a_program_where_nothing_may_execute_it_is_refused_with_the_way_out(
    server: Platform, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [text] = [found[3] for found in BLOCK.findall(RECIPES[CODE]) if found[2] == "code-prompts.yaml"]
    Path("prompts.yaml").write_text(text)
    with using_runner(None):
        refused = run(server, "prompt-sets", "create", "prompts.yaml", "--kind", "code")
    assert refused.status != 0
    assert "STAR_SANDBOX_URL" in refused.err
    assert "Something went wrong" not in refused.err
