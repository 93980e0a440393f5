"""Rows that are looked at in the browser before they are stored: what is said of them, and of others."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from httpx2 import Response

from tests.app.api_harness import serve
from tests.app.dashboard.conftest import Visitor, sign_in
from tests.hub_server import Repository, running_hub

TABLE = "Prompt;Label\nWhat is 1 plus 1?;2\nWhat is 2 plus 2?;4\nWhat is 3 plus 3?;many\n"
LINES = (
    '{"question": "What is 4 plus 4?", "answer": "8"}\n{"question": "What is 5 plus 5?", "answer": "10"}\n'
)


def send(visitor: Visitor, path: str, text: str, **fields: str | list[str]) -> Response:
    data = {"text": text, "name": "sums", **fields}
    empty = {"file": ("", b"")}  # as a browser sends a file that nobody has chosen
    headers = {"x-csrf-token": visitor.token(), "hx-request": "true"}
    return visitor.client.post(f"/dashboard/datasets/new{path}", data=data, files=empty, headers=headers)


def said(look: Response) -> dict[str, str | list[str]]:
    """What the form says after a look: its hidden fields, and what is chosen."""
    assert look.status_code == 200, look.text
    hidden: dict[str, str | list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', look.text):
        hidden.setdefault(name, []).append(unescape(value))  # type: ignore[union-attr]
    roles = re.findall(r'name="role">.*?<option value="([a-z_]*)" selected', look.text, re.DOTALL)
    [kind] = re.findall(r'name="kind">.*?<option selected>([a-z]+)<', look.text, re.DOTALL)
    return {**hidden, "role": roles, "kind": kind}


def test_what_was_guessed_of_one_table_says_nothing_of_another(visitor: Visitor) -> None:
    first = said(send(visitor, "/look", TABLE, kind="numeric"))
    assert (first["column"], first["role"]) == (["Prompt", "Label"], ["question", "answer"])
    dropped = {"drop.4": "true"}  # `row` is a hidden field of the form
    again = send(visitor, "/look", TABLE, **first, **dropped)
    assert "Row 4: left out" in again.text
    other = send(visitor, "/look", LINES, **said(again), **dropped)
    assert "Every row was read and its answer verified." in other.text
    assert "left out" not in other.text.split("Leave out every row")[1]
    assert said(other)["format"] == ["jsonl"]


def test_a_table_that_is_edited_keeps_its_columns_and_loses_what_was_said_of_single_rows(
    visitor: Visitor,
) -> None:
    first = said(send(visitor, "/look", TABLE, kind="numeric"))
    edited = TABLE.replace("Label\n", "Label\nWhat is 0 plus 0?;0\n")
    look = send(visitor, "/look", edited, **first, **{"drop.4": "true"})
    assert said(look)["role"] == ["question", "answer"]
    assert "Row 4: left out" not in look.text
    assert 'id="bad-5"' in look.text


def test_rows_that_were_changed_since_they_were_looked_at_are_not_stored(visitor: Visitor) -> None:
    first = said(send(visitor, "/look", TABLE.replace("many", "6"), kind="numeric"))
    answer = send(visitor, "", TABLE.replace("many", "66"), **first)
    assert "were changed since" in answer.text
    assert visitor.api.client.get("/v1/datasets").json()["data"] == []
    answer = send(visitor, "", TABLE.replace("many", "6"), **first)
    assert answer.status_code == 204, answer.text
    [made] = visitor.api.client.get("/v1/datasets").json()["data"]
    assert (made["name"], made["splits"]) == ("sums", {"train": 3})


@pytest.mark.parametrize("name", ["a\x00b", "x" * 201])
def test_a_name_that_cannot_be_stored_is_refused_in_words(visitor: Visitor, name: str) -> None:
    rows = TABLE.replace("many", "6")
    first = said(send(visitor, "/look", rows, kind="numeric"))
    answer = send(visitor, "", rows, **{**first, "name": name})
    assert answer.status_code == 200
    assert "<code>name</code>" in answer.text


def test_a_dataset_of_a_hub_is_looked_at_and_stored_by_its_name(
    sqlite_database_url: str, tmp_path: Path
) -> None:
    with running_hub() as hub, serve(sqlite_database_url, tmp_path / "home", hub_url=hub.url) as api:
        rows = {"main/train.jsonl": LINES.encode(), "main/test.jsonl": LINES.replace("plus", "and").encode()}
        hub.repositories["datasets/acme/sums"] = Repository(rows)
        visitor = sign_in(api, api.admin)
        typed = {"hub": "acme/sums", "hub_config": "main", "hub_held_out": "test", "kind": "numeric"}
        assert 'placeholder="openai/gsm8k"' in visitor.get("/datasets/new").text
        first = said(send(visitor, "/look", "", **typed))
        asked = len(hub.asked)
        look = send(visitor, "/look", "", **{**typed, **first})
        assert "Every row was read and its answer verified." in look.text
        assert len(hub.asked) == asked, "the commit that was looked at is kept"
        hub.repositories["datasets/acme/sums"].files["main/train.jsonl"] = b""
        made = send(visitor, "", "", **{**typed, **said(look)})
        assert made.headers["hx-redirect"].startswith("/dashboard/datasets/ds_"), made.text
        [dataset] = api.client.get("/v1/datasets").json()["data"]
        assert dataset["splits"] == {"train": 2, "validation": 2}
        refused = send(visitor, "/look", "", hub="acme/none")
        assert "no public dataset acme/none" in refused.text


def test_what_is_wrong_is_said_by_row_with_its_fix_in_the_controls_of_the_form(visitor: Visitor) -> None:
    roles = {"column": ["Prompt", "Label"], "role": ["", ""]}
    unmapped = unescape(send(visitor, "/look", TABLE, kind="numeric", **roles).text)
    assert "question:Prompt" in unmapped
    assert "map=" not in unmapped
    refused = unescape(send(visitor, "/look", TABLE, kind="numeric").text)
    assert 'id="bad-4"' in refused
    same = LINES + LINES.replace("}", ', "split": "validation"}')
    overlap = unescape(send(visitor, "/look", same, kind="numeric").text)
    assert "choose to take held-out questions that are trained on" in overlap
    taken = send(visitor, "/look", same, kind="numeric", allow_overlap="true")
    assert "Every row was read and its answer verified." in taken.text


def test_rows_without_the_token_of_the_form_are_refused(visitor: Visitor) -> None:
    answer = visitor.client.post("/dashboard/datasets/new", data={"text": LINES}, files={"file": ("", b"")})
    assert answer.status_code == 403
    assert visitor.api.client.get("/v1/datasets").json()["data"] == []
