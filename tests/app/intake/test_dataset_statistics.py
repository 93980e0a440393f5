"""What is counted of a dataset, by hand-made files whose counts are known."""

from __future__ import annotations

import json
from sqlite3 import Connection
from typing import Any

from app.intake.batches import Batch, Rules
from app.intake.scratch import Scratch
from app.intake.statistics import statistics as statistics_of
from app.intake.tally import Tally
from app.ledger.data import statistics
from star_engine.tasks.examples import Example, Split
from star_engine.tasks.kind import Kind
from tests.app.api_harness import MODEL, Api, few_shot

LONG = "one two three four five six seven eight nine ten eleven {}"


def upload(api: Api, rows: list[dict[str, Any]], kind: str = "numeric") -> dict[str, Any]:
    return api.dataset(
        "".join(json.dumps(row) + "\n" for row in rows), kind=kind, validation=0, allow_overlap=True
    )


def test_lengths_and_answers_are_counted(api: Api) -> None:
    answers = ["1", "22", "-3", "1.5", "1/2", "10%", "1"]
    rows = [{"question": "q" * (n + 1), "answer": answer} for n, answer in enumerate(answers)]
    counted = upload(api, rows)["statistics"]
    assert counted["characters"]["question"] == {
        "count": 7, "mean": 4.0, "min": 1, "median": 4, "p95": 6, "max": 7
    }  # fmt: skip
    assert counted["characters"]["solution"] is None
    assert counted["answers"]["kinds"] == {"integer": 4, "decimal": 1, "fraction": 1, "percentage": 1}
    assert counted["answers"]["distinct"] == 6
    assert counted["answers"]["most_common"][0] == {"answer": "1", "count": 2, "share": 0.2857}
    assert counted["choices"] is None


def test_conversations_are_counted_with_the_longest_of_them(api: Api) -> None:
    turns = [{"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "Yes?"))]
    asked = {"role": "user", "content": "1 + 1?"}
    rows = [{"messages": [*turns * n, asked], "answer": 2 + n} for n in range(3)]
    dataset = upload(api, rows)
    counted = dataset["statistics"]
    stored = api.client.get(f"/v1/datasets/{dataset['id']}/examples").json()["data"]
    assert [one["context"] for one in stored] == [[], turns, turns * 2]
    assert counted["conversations"] == {"examples": 2, "longest": 2}
    assert counted["longest_bytes"]["context"] == 12
    assert counted["duplicates"]["questions"] == 0


def test_longest_prompts_are_counted_in_bytes(api: Api) -> None:
    rows = [
        {"question": "Wie weit?", "answer": "1"},
        {"question": "Größer?", "answer": "2000", "solution": "Ü 2000"},
    ]
    counted = upload(api, rows)["statistics"]["longest_bytes"]
    block = len("Q: Wie weit?\nA:")
    hinted = len("Q: Größer? (2000)\nA:".encode())
    assert counted == {"block": block, "hinted_block": hinted, "answer": 4, "solution": 7}


def test_choices_are_balanced_or_seen_not_to_be(api: Api) -> None:
    rows = [
        {"question": f"{n}?", "choices": ["x", "y", "z"][: 2 + n % 2], "answer": "ab"[n > 6]}
        for n in range(10)
    ]
    counted = upload(api, rows, "choice")["statistics"]
    assert counted["choices"] == {"2": 5, "3": 5}
    assert [(a["answer"], a["share"]) for a in counted["answers"]["most_common"]] == [("a", 0.7), ("b", 0.3)]
    assert counted["answers"]["kinds"] == {"choice": 10}


def test_duplicates_and_overlap_between_splits_are_named(api: Api) -> None:
    rows = [
        {"id": "a", "question": "How many?", "answer": "1"},
        {"id": "b", "question": "how  MANY?", "answer": "2"},
        {"id": "c", "question": "How many?", "answer": "1", "split": "test"},
        {"id": "d", "question": LONG.format("apples are there?"), "answer": "3"},
        {"id": "e", "question": LONG.format("pears, then?"), "answer": "4", "split": "test"},
        {"id": "f", "question": "Something else that nobody has asked in this small file.", "answer": "5",
         "split": "validation"},
    ]  # fmt: skip
    counted = upload(api, rows)["statistics"]
    assert counted["duplicates"] == {
        "questions": 1,
        "examples": 3,
        "answers_differ": 1,
        "named": [{"id": "a", "same_as": "b", "answers_differ": True}],
    }
    assert counted["overlap"]["exact"] == {
        "examples": 1,
        "named": [{"id": "c", "split": "test", "same_as": "a"}],
    }
    ngrams = counted["overlap"]["ngrams"]
    assert (ngrams["n"], ngrams["checked"], ngrams["examples"]) == (8, 2, 1)
    assert ngrams["named"] == [{"id": "e", "split": "test", "share": round(4 / 6, 3)}]


def test_same_question_with_other_choices_does_not_contradict_itself(api: Api) -> None:
    rows = [
        {"question": "Where?", "choices": ["here", "there"], "answer": "a"},
        {"question": "Where?", "choices": ["there", "here"], "answer": "b"},
        {"question": "When?", "choices": ["now", "soon"], "answer": "a"},
    ]
    assert upload(api, rows, "choice")["statistics"]["duplicates"]["answers_differ"] == 0


def test_tokens_are_counted_by_the_named_model_on_evenly_spread_examples(api: Api, monkeypatch: Any) -> None:
    rows = [{"question": "x" * (n + 1), "answer": "12"} for n in range(10)]
    dataset = upload(api, rows)
    url = f"/v1/datasets/{dataset['id']}/statistics"
    plain = api.client.get(url).json()
    assert (plain["statistics"], plain["tokens"], plain["few_shot"]) == (dataset["statistics"], None, None)
    tokens = api.client.get(url, params={"model": MODEL}).json()["tokens"]
    assert (tokens["model"], tokens["examples"]) == (MODEL, 10)
    assert tokens["question"] == dataset["statistics"]["characters"]["question"]  # its tokens are characters
    monkeypatch.setattr(statistics, "MAX_COUNTED", 5)
    some = api.client.get(url, params={"model": MODEL}).json()["tokens"]
    assert (some["examples"], some["question"]["min"], some["question"]["max"]) == (5, 1, 9)
    assert api.client.get(url, params={"model": "other"}).status_code == 404


def test_examples_that_the_prompt_set_shows_are_named(api: Api) -> None:
    shown = few_shot()[0]["question"]
    rows = [{"id": "same", "question": f" {shown} ", "answer": "7"}, {"question": "3 + 3", "answer": "6"}]
    dataset = upload(api, rows, "scratchpad")
    url = f"/v1/datasets/{dataset['id']}/statistics"
    found = api.client.get(url, params={"prompt_set": api.prompt_set()["id"]}).json()["few_shot"]
    assert found["exact"] == {
        "examples": 1,
        "named": [{"id": "same", "split": "train", "few_shot_example": 1, "share": 0.0}],
    }
    assert found["ngrams"]["examples"] == 0
    assert api.client.get(url, headers=api.other).status_code == 404


def held_out_copies(count: int) -> tuple[Connection, Tally]:
    """A carved file of rows that all ask the same question, half of them held out."""
    rows = [f"{n}" for n in range(count)]
    scratch = Scratch()
    batch = Batch()
    for line, answer in enumerate(rows, start=1):
        split: Split = "train" if line % 2 else "validation"
        batch.add(line, Example(f"row-{line}", "Which?", answer, split=split), Rules(Kind.EXACT, 0))
    scratch.__enter__()
    scratch.add(batch)
    scratch.finish()
    scratch.carve(0)
    return scratch.db, scratch.tally


def test_the_work_of_the_statistics_grows_with_the_rows_and_not_with_their_square() -> None:
    work: list[int] = []
    for count in (1000, 4000):
        (db, tally), steps = held_out_copies(count), [0]

        def one_more(steps: list[int] = steps) -> None:
            steps[0] += 1

        db.set_progress_handler(one_more, 1000)  # every so many instructions of SQLite's machine
        counted = statistics_of(db, tally)
        assert counted["overlap"]["exact"]["examples"] == count // 2
        work.append(steps[0])
        db.close()
    assert work[1] < 6 * work[0]  # 16 times as much before


def refused(api: Api, rows: list[dict[str, Any]], kind: str) -> Any:
    sent = "".join(json.dumps(row) + "\n" for row in rows)
    return api.client.post("/v1/datasets", params={"kind": kind}, content=sent)


def test_a_held_out_question_that_is_trained_on_is_refused_with_its_row(api: Api) -> None:
    rows = [
        {"question": "How many legs has a hen?", "answer": "2"},
        {"question": "how many  LEGS has a hen?", "answer": "2", "split": "test"},
    ]
    answer = refused(api, rows, "numeric")
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["line"], error["field"]) == (2, "question")
    assert "'row-1' trains on the same question" in error["reason"]
    assert "allow_overlap=true" in error["fix"]
    assert api.client.get("/v1/datasets").json()["data"] == []


def test_the_same_words_with_other_choices_are_another_question(api: Api) -> None:
    asked = {"question": "Which of these is an animal?", "answer": "a"}
    one, other = {**asked, "choices": ["cow", "car"]}, {**asked, "choices": ["hen", "bus"], "split": "test"}
    assert refused(api, [one, other], "choice").status_code == 201
    turned = {**one, "choices": ["CAR", "cow"], "answer": "b", "split": "test"}
    assert refused(api, [one, turned], "choice").status_code == 422
