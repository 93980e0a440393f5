"""A prompt set is tried out on an example before any GPU is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.api_harness import CONTEXT, MODEL, Api, few_shot

EXAMPLE = {"question": "1 + 1", "answer": "2", "group": "1"}
GOOD = "<scratch>\n1 + 1 , C: 0\n, 2 C: 0\n0 2\n</scratch>\n2"


def preview(api: Api, **changes: Any) -> Any:
    body = {"example": EXAMPLE, **changes}
    return api.client.post(f"/v1/prompt-sets/{api.prompt_set()['id']}/preview", json=body)


def test_preview_shows_both_prompts_and_the_training_row_byte_for_byte(api: Api) -> None:
    shown = preview(api, rationale=GOOD).json()
    [first, _] = few_shot()
    block = f"Input:\n{first['question']}\nTarget:"
    assert shown["prompt"] == f"{block}\n{first['rationale']}\n\nInput:\n1 + 1\nTarget:"
    assert shown["hinted_prompt"] == f"{block} 7\n{first['rationale']}\n\nInput:\n1 + 1\nTarget: 2"
    row = shown["training_row"]
    assert (row["completion"], row["verdict"], row["extracted"]) == (f"\n{GOOD}", "correct", "2")
    assert row["stands_in"] is False
    text, [before, trained] = row["prompt"] + row["completion"], row["spans"]
    assert (before["trained"], trained["trained"]) == (False, True)
    assert text[trained["start"] : trained["end"]] == row["completion"]
    assert "2" not in row["prompt"].partition("Target:")[2]  # the hint is stripped
    assert shown["tokens"] is None


def test_tokens_are_those_of_the_named_model(api: Api) -> None:
    shown = preview(api, rationale=GOOD, model=MODEL, config={"generation": {"max_tokens": 100}}).json()
    tokens, row = shown["tokens"], shown["training_row"]  # a token of this model is a character
    assert tokens["prompt"] == len(shown["prompt"])
    assert tokens["hinted_prompt"] == len(shown["hinted_prompt"])
    assert tokens["training_row"] == len(row["prompt"] + row["completion"]) + 1
    assert tokens["trained"] == len(row["completion"]) + 1
    assert (tokens["context_length"], tokens["fits"]) == (CONTEXT, True)
    small = preview(api, model=MODEL, config={"generation": {"max_tokens": CONTEXT}}).json()
    assert small["tokens"]["fits"] is False


def test_settings_of_the_job_are_seen_in_the_preview(api: Api) -> None:
    config = {"rationalization": {"enabled": False}, "training": {"loss": "all"}}
    shown = preview(api, config=config).json()
    assert shown["hinted_prompt"] is None
    assert [span["trained"] for span in shown["training_row"]["spans"]] == [True, True]


def test_without_a_rationale_the_row_is_a_few_shot_example_with_its_own_question(api: Api) -> None:
    row = preview(api).json()["training_row"]
    assert (row["stands_in"], row["verdict"]) == (True, "correct")


def test_example_of_a_dataset_is_previewed_by_its_id(api: Api) -> None:
    dataset = api.dataset()
    shown = preview(api, example=None, dataset=dataset["id"], example_id="row-1").json()
    asked = api.client.get(f"/v1/datasets/{dataset['id']}/examples").json()["data"][0]["question"]
    assert shown["prompt"].endswith(f"Input:\n{asked}\nTarget:")
    missing = preview(api, example=None, dataset=dataset["id"], example_id="row-99")
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"example": None}, "body"),
        ({"dataset": "ds_1"}, "body"),
        ({"example": {"question": "1 + 1", "answer": "two"}}, "example.answer"),
        ({"config": {"rationalization": {"hint_template": "It is {answer}."}}},
         "config.rationalization.hint_template"),
        ({"preset": "poem"}, "preset"),
    ],
)  # fmt: skip
def test_bad_preview_names_the_field_and_the_mend(api: Api, body: dict[str, Any], field: str) -> None:
    answer = preview(api, **body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert error["fix"]


def test_few_shot_example_that_speaks_of_a_given_answer_is_refused(api: Api) -> None:
    told = {
        "question": "How many legs have two cats?",
        "rationale": "We are told that it is 8, so four each. #### 8",
        "answer": "8",
    }
    answer = api.client.post("/v1/prompt-sets", json={"kind": "numeric", "examples": [told]})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["line"], error["field"]) == (1, "rationale")
    assert "hint_markers" in error["fix"]


def test_preview_of_another_projects_prompt_set_is_404(api: Api) -> None:
    url = f"/v1/prompt-sets/{api.prompt_set()['id']}/preview"
    assert api.client.post(url, json={"example": EXAMPLE}, headers=api.other).status_code == 404


def test_a_kind_that_needs_an_option_of_the_job_is_refused_without_it(sqlite_api: Api) -> None:
    shown = [{"question": "q", "rationale": "The answer is 7.", "answer": "7"}]
    made = sqlite_api.prompt_set(kind="pattern", examples=shown)
    body = {"example": {"question": "q?", "answer": "42"}}
    answer = sqlite_api.client.post(f"/v1/prompt-sets/{made['id']}/preview", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "settings_unfit")
    config = {"verifier": {"pattern": r"answer is (\w+)"}}
    answer = sqlite_api.client.post(f"/v1/prompt-sets/{made['id']}/preview", json={**body, "config": config})
    assert answer.status_code == 200, answer.text
