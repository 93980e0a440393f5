"""Datasets from a hub, adapters and training sets to one: its real client, before a real platform."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from huggingface_hub import constants
from pyarrow import parquet

from app.intake.hub.names import NotRead
from tests.hub_server import Hub, Repository, running_hub
from tests.star_client.conftest import Finished, finished_job
from worker.hub import datasets, push
from worker.hub.datasets import DONE, REFUSED, Named, files_of

__all__ = ["finished_job"]  # a fixture
ARC: dict[str, list[object]] = {
    "id": ["Mercury_1", "Mercury_2"],
    "question": ["Which of these is a gas?", "Which of these is a planet?"],
    "choices": [
        {"text": ["iron", "oxygen"], "label": ["A", "B"]},
        {"text": ["Mars", "the Moon"], "label": ["1", "2"]},
    ],
    "answerKey": ["B", "1"],
}
MMLU: dict[str, list[object]] = {
    "question": ["2 + 2?", "The capital of France?"],
    "subject": ["sums", "towns"],
    "choices": [["3", "4", "5", "6"], ["Rome", "Oslo", "Bern", "Paris"]],
    "answer": [1, 3],
}
SVAMP = [
    {"Body": "Ann has 3 pens.", "Question": "She buys 2 more. How many?", "Answer": 5.0, "Equation": "3+2"}
]


def table(rows: dict[str, list[object]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(rows), out)
    return out.getvalue()


def only(rows: dict[str, list[object]], at: int) -> bytes:
    return table({name: values[at : at + 1] for name, values in rows.items()})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, finished_job: Finished) -> Iterator[Hub]:
    monkeypatch.setenv("STAR_URL", finished_job.server.url)
    monkeypatch.setenv("STAR_API_KEY", finished_job.server.key)
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        hub.repositories["datasets/acme/arc"] = Repository(
            {
                "ARC-Challenge/train-00000-of-00002.parquet": only(ARC, 0),
                "ARC-Challenge/train-00001-of-00002.parquet": only(ARC, 1),
                "ARC-Easy/train-00000-of-00001.parquet": only(ARC, 1),
                "README.md": b"card",
            }
        )
        hub.repositories["datasets/acme/mmlu"] = Repository(
            {
                "all/test-00000-of-00001.parquet": only(MMLU, 0),
                "all/train-00000-of-00001.parquet": only(MMLU, 1),
            }
        )
        svamp = "".join(json.dumps(row) + "\n" for row in SVAMP).encode()
        hub.repositories["datasets/acme/svamp"] = Repository(
            {"train.jsonl": svamp, "loader.py": b"import os"}
        )
        yield hub


def test_shards_of_arc_become_one_dataset_with_its_struct_choices(
    hub: Hub, finished_job: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [
        "hf:acme/arc@main/ARC-Challenge/train",
        "--kind",
        "choice",
        "--map",
        "answer=answerKey",
        "--json",
    ]
    assert datasets.main(named) == DONE
    made = json.loads(capsys.readouterr().out)
    commit = hub.repositories["datasets/acme/arc"].commit
    assert made["name"] == f"acme/arc@{commit[:12]}/train"
    rows = list(finished_job.star.datasets.examples(made["id"]))
    assert [(row.question, row.answer, tuple(row.choices or ())) for row in rows] == [
        ("Which of these is a gas?", "b", ("iron", "oxygen")),
        ("Which of these is a planet?", "a", ("Mars", "the Moon")),
    ]
    assert datasets.main(named) == DONE
    assert json.loads(capsys.readouterr().out)["id"] == made["id"], "the same rows are the same dataset"


def test_splits_of_mmlu_keep_their_names_and_places_become_letters(
    hub: Hub, finished_job: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["hf:acme/mmlu/all/train+test", "--kind", "choice", "--map", "answer_index=answer"]
    assert datasets.main([*named, "--map", "group=subject", "--json"]) == DONE
    made = json.loads(capsys.readouterr().out)
    assert {name: count for name, count in made["splits"].items() if count} == {"train": 1, "test": 1}
    rows = list(finished_job.star.datasets.examples(made["id"]))
    assert [(row.answer, row.group, row.split) for row in rows] == [
        ("d", "towns", "train"),
        ("b", "sums", "test"),
    ]


def test_columns_of_svamp_are_joined_and_no_code_is_downloaded(
    hub: Hub, finished_job: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = ["--map", "question=Body,Question", "--map", "answer=Answer"]
    assert datasets.main(["hf:acme/svamp/train", "--kind", "numeric", *maps, "--json"]) == DONE
    made = json.loads(capsys.readouterr().out)
    row = next(finished_job.star.datasets.examples(made["id"]))
    assert (row.question, row.answer) == ("Ann has 3 pens. She buys 2 more. How many?", "5.0")
    assert not [line for line in hub.asked if line.endswith((".py", "README.md"))]


def test_what_cannot_be_read_is_refused_with_what_there_is(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [
        ("acme/arc/train", "not of the form"),
        ("hf:acme/arc/train", "ARC-Challenge, ARC-Easy. Name one, as in hf:acme/arc/ARC-Challenge/train"),
        ("hf:acme/arc/ARC-Easy/test", "no file of the split test of ARC-Easy. Its files: ARC-Challenge/"),
        ("hf:acme/nothing/train", "The hub has no acme/nothing"),
        ("hf:acme/svamp@v9/train", "no revision 'v9'"),
    ]
    for source, reason in cases:
        assert datasets.main([source, "--kind", "choice"]) == REFUSED
        assert reason in capsys.readouterr().err
    hub.repositories["datasets/acme/svamp"].announced["train.jsonl"] = b"other bytes"
    assert datasets.main(["hf:acme/svamp/train", "--kind", "numeric"]) == REFUSED
    assert "not the file that the hub announced" in capsys.readouterr().err


def test_split_is_a_word_of_a_path_and_tables_come_before_texts() -> None:
    named = Named.read("hf:a/b/train")
    names = ["data/train-0.parquet", "data/train-1.parquet", "train.csv", "untrained.csv", "test.csv"]
    assert files_of(names, named, "train") == ["data/train-0.parquet", "data/train-1.parquet"]
    assert files_of(names, named, "test") == ["test.csv"]
    with pytest.raises(NotRead, match="no file of the split dev"):
        files_of(names, named, "dev")


def test_adapter_is_pushed_whole_and_private_with_its_card(
    hub: Hub, finished_job: Finished, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert push.main(["adapter", finished_job.job_id, "acme/my-adapter"]) == DONE
    pushed = hub.repositories["acme/my-adapter"]
    assert capsys.readouterr().out.strip() == f"{hub.url}/acme/my-adapter/commit/{pushed.commit}"
    finished_job.star.adapters.download(f"{finished_job.job_id}:best", tmp_path)
    assert pushed.files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert pushed.private is True
    assert b"library_name: peft" in pushed.files["README.md"]


def test_training_set_is_pushed_in_both_forms_with_a_card_that_a_hub_reads(
    hub: Hub, finished_job: Finished
) -> None:
    assert push.main(["training-set", finished_job.job_id, "1", "acme/my-rows", "--public"]) == DONE
    pushed = hub.repositories["datasets/acme/my-rows"]
    rows, messages = (pushed.files[f"{name}/train.jsonl"].splitlines() for name in ("rows", "messages"))
    assert len(rows) == len(messages) > 0
    assert json.loads(messages[0])["messages"][-1]["role"] == "assistant"
    card = pushed.files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert [one["data_files"] for one in front["configs"]] == ["messages/train.jsonl", "rows/train.jsonl"]
    sha = finished_job.star.jobs.iteration(finished_job.job_id, 1).training_set_sha256
    assert f"`{sha}`" in card
    assert pushed.private is False


@pytest.mark.parametrize(
    ("token", "reason"), [("", "Set HF_TOKEN"), ("hf_wrong", "does not let this HF_TOKEN")]
)
def test_without_a_token_that_may_write_nothing_is_pushed(
    hub: Hub,
    finished_job: Finished,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
    reason: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert push.main(["adapter", finished_job.job_id, "acme/refused"]) == REFUSED
    assert reason in capsys.readouterr().err
    assert "acme/refused" not in hub.repositories
