"""An agent's own client speaks to `star mcp`, which asks a real platform."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from star_client.client import StarClient
from star_client.interop.agents import MAX_CHARACTERS, MAX_PAGES, make_server
from star_client.quality.search import SearchPage
from tests.star_client.conftest import Finished
from tests.star_client.recorded_platform import Platform


def call(star: StarClient, name: str, **arguments: Any) -> Any:
    """Call a tool by its name: what it answers, as JSON. Raises ValueError with the text of an error."""

    async def ask() -> Any:
        async with Client(make_server(star)) as client:
            return await client.call_tool(name, arguments)

    answer = asyncio.run(ask())
    if answer.is_error:
        raise ValueError("".join(one.text for one in answer.content))
    return answer.structured_content.get("result", answer.structured_content)


def test_an_agent_finds_what_a_job_needs(finished: Finished) -> None:
    job = call(finished.star, "get_job", job=finished.job_id)
    assert job["model"] in [one["id"] for one in call(finished.star, "list_models")]
    assert job["dataset"] in [one["id"] for one in call(finished.star, "list_datasets")]
    assert job["prompt_set"] in [one["id"] for one in call(finished.star, "list_prompt_sets")]
    assert "quick" in [one["name"] for one in call(finished.star, "list_presets", kind="scratchpad")]
    [listed] = [one for one in call(finished.star, "list_jobs") if one["id"] == finished.job_id]
    assert "config" not in listed
    assert "config" in job


def test_a_job_is_described_until_it_is_asked_for_with_a_limit(
    server: Platform, star: StarClient, tmp_path: Path
) -> None:
    made = star.jobs.get(server.submit(tmp_path))
    wanted = {"model": made.model, "dataset": made.dataset, "prompt_set": made.prompt_set}
    before = len(star.jobs.list().data)
    assert "estimate" in call(star, "create_job", **wanted)
    with pytest.raises(ValueError, match="gpu_seconds: Missing"):
        call(star, "create_job", **wanted, dry_run=False)
    assert len(star.jobs.list().data) == before
    job = call(star, "create_job", **wanted, dry_run=False, gpu_seconds=60, config={"iterations": 1})
    assert star.jobs.get(job["id"]).budget.gpu_seconds == 60


def test_texts_are_searched_and_the_report_is_read(finished: Finished) -> None:
    kept = call(finished.star, "search_rationales", job=finished.job_id, decision="kept", limit=3)
    assert len(kept) == 3
    assert {one["verdict"] for one in kept} == {"correct"}
    assert call(finished.star, "search_rationales", job=finished.job_id, text="no text holds this") == []
    assert call(finished.star, "search_answers", job=finished.job_id, iteration=0, limit=2)
    assert call(finished.star, "report", job=finished.job_id).startswith("#")


def test_all_texts_of_a_project_are_searched(finished: Finished) -> None:
    word = call(finished.star, "search_rationales", job=finished.job_id, limit=1)[0]["text"].split()[0]
    everything = call(finished.star, "search_texts", text=word, found_in="rationale", limit=50)
    assert {one["found_in"] for one in everything["hits"]} == {"rationale"}
    assert {one["job"] for one in everything["hits"]} == {finished.job_id}
    first = call(finished.star, "search_texts", text=word, found_in="rationale", limit=2)
    rest = call(
        finished.star, "search_texts", text=word, found_in="rationale", limit=48, after=first["after"]
    )
    assert first["hits"] + rest["hits"] == everything["hits"]
    nothing = call(finished.star, "search_texts", text="no text holds this")
    assert nothing == {"hits": [], "after": None}


def test_a_search_goes_on_over_pages_that_are_empty(
    star: StarClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a page after half a second, whether or not it has found anything."""
    asked: list[str | None] = []

    def look(_: str, *, after: str | None, **__: Any) -> SearchPage:
        asked.append(after)
        return SearchPage(data=(), has_more=True, last_id=f"{len(asked)}", looked_at=1)

    monkeypatch.setattr(star.search, "list", look)
    assert call(star, "search_texts", text="x") == {"hits": [], "after": f"{MAX_PAGES}"}
    assert asked == [None, *map(str, range(1, MAX_PAGES))]


def test_a_refusal_is_told_in_words(star: StarClient) -> None:
    with pytest.raises(ValueError, match="job_0"):
        call(star, "get_job", job="job_0")


def test_a_long_text_is_cut_and_says_so() -> None:
    from star_client.interop.agents import _cut

    found = _cut({"text": "x" * (MAX_CHARACTERS + 1), "n": 1})
    assert found["text"].endswith("[cut: 4,001 characters]")
    assert found["n"] == 1


def test_the_command_speaks_over_standard_input_and_output(server: Platform, star: StarClient) -> None:
    environment = {**os.environ, "STAR_URL": server.url, "STAR_API_KEY": server.key}
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "star_client.cli.main", "mcp"], env=environment
    )

    async def names() -> list[str]:
        async with Client(command) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert {"create_job", "report", "search_rationales", "search_texts"} <= set(asyncio.run(names()))
