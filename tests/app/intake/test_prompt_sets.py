"""Prompt sets over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from app.database import reading
from app.ledger.data.prompt_sets import as_prompt_set
from app.tables.data import PromptSet
from star_engine.data.prompts import render_prompt
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from tests.app.api_harness import Api, few_shot

TEXT = """Q: How many legs have two cats?
A: A cat has 4 legs. 2 * 4 = 8. #### 8

Q: How many legs have three birds?
A: A bird has 2 legs. 3 * 2 = 6. #### 6"""


def test_prompt_set_comes_back_as_it_was_sent(api: Api) -> None:
    answer = api.client.post(
        "/v1/prompt-sets", json={"name": "few-shot", "kind": "scratchpad", "examples": few_shot()}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["id"].startswith("ps_")
    assert made["examples"] == [{**example, "choices": None} for example in few_shot()]
    assert api.client.get(answer.headers["location"]).json() == made
    assert api.client.get("/v1/prompt-sets").json()["data"] == [made]


def test_published_text_format_is_read_and_rendered_back_byte_for_byte(api: Api) -> None:
    made = api.client.post("/v1/prompt-sets", json={"kind": "numeric", "text": TEXT}).json()
    assert [example["answer"] for example in made["examples"]] == ["8", "6"]
    with reading(api.engine) as session:
        prompt_set = as_prompt_set(session.get_one(PromptSet, made["id"]))
    asked = Example(id="1", question="How many?", answer="1")
    assert render_prompt(Kind.NUMERIC, prompt_set, asked) == f"{TEXT}\n\nQ: How many?\nA:"


def test_examples_that_ask_the_same_are_warned_of(sqlite_api: Api) -> None:
    first = TEXT.partition("\n\n")[0]
    made = sqlite_api.client.post(
        "/v1/prompt-sets", json={"kind": "numeric", "text": f"{TEXT}\n\n{first}"}
    ).json()
    assert [one[:28] for one in made["warnings"]] == ["Examples 1, 3 ask the same: "]
    assert sqlite_api.client.get(f"/v1/prompt-sets/{made['id']}").json() == made


def test_same_prompt_set_again_is_the_same(api: Api) -> None:
    first = api.prompt_set()
    again = api.client.post(
        "/v1/prompt-sets", json={"name": "few-shot", "kind": "scratchpad", "examples": few_shot()}
    )
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert api.prompt_set(name="another name")["id"] != first["id"]
    changed = api.prompt_set(examples=few_shot()[:1])
    assert (first["version"], changed["version"]) == (1, 2)
    named = api.client.get("/v1/prompt-sets", params={"name": "few-shot"}).json()["data"]
    assert [one["id"] for one in named] == [changed["id"], first["id"]]


def changed(number: int, **changes: Any) -> list[dict[str, Any]]:
    examples = few_shot()
    examples[number] |= changes
    return examples


@pytest.mark.parametrize(
    ("body", "line", "field", "words"),
    [
        ({"examples": changed(1, answer="8 8")}, 2, "rationale", "own answer"),
        ({"examples": changed(0, rationale="")}, 1, "rationale", "Missing"),
        ({"examples": changed(0, rationale="\x00")}, None, "examples.0", "NUL"),
        ({"examples": changed(0, question=None)}, 1, "question", "Missing"),
        ({"examples": []}, None, "examples", "empty"),
        ({"examples": None}, None, "body", "either"),
        ({"text": "Input:\n1 + 1\nTarget:\n2"}, None, "body", "either"),
        ({"kind": "poem"}, None, "kind", "'scratchpad'"),
        ({"examples": few_shot(), "author": "me"}, None, "author", "no such field"),
        ({"name": ""}, None, "name", "at least 1"),
    ],
)
def test_bad_prompt_set_is_refused_with_the_example_and_the_mend(
    api: Api, body: dict[str, Any], line: int | None, field: str, words: str
) -> None:
    sent = {"name": "few-shot", "kind": "scratchpad", "examples": few_shot(), **body}
    answer = api.client.post("/v1/prompt-sets", json=sent)
    assert answer.status_code == 422, answer.text
    error = next(error for error in answer.json()["errors"] if error["field"] == field)
    assert error.get("line") == line
    assert words in f"{error['reason']} {error['fix']}"
    assert api.client.get("/v1/prompt-sets").json()["data"] == []


def test_half_a_character_and_bottomless_nesting_are_refused(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    surrogate = (
        b'{"kind": "numeric", "examples": [{"question": "\\ud800", "rationale": "#### 1", "answer": "1"}]}'
    )
    deep = b'{"kind": "numeric", "examples": [{"question": ' + b"[" * 500 + b"]" * 500 + b"}]}"
    bottomless = b'{"kind": "numeric", "examples": ' + b"[" * 40_000
    statuses = [
        api.client.post("/v1/prompt-sets", content=content, headers=headers).status_code
        for content in (surrogate, deep, bottomless, b"{", b"\xff", b"")
    ]
    assert statuses == [422, 422, 400, 400, 400, 422]


def test_another_projects_prompt_set_is_404(api: Api) -> None:
    made = api.prompt_set()
    assert api.client.get(f"/v1/prompt-sets/{made['id']}", headers=api.other).status_code == 404
