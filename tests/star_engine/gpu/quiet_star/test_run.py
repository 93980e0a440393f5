"""A whole run from a YAML file: what it writes, that it goes on, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from star_engine.__main__ import main

SETTINGS = {"window": 16, "thought_tokens": 2, "ahead_tokens": 2, "batch_windows": 2, "lora": {"rank": 2}}


def write_job(folder: Path, model: Path, **changes: Any) -> Path:
    documents = [{"text": f"{number} plus {number} makes {2 * number}. " * 3} for number in range(40)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    job = {
        "documents": "documents.jsonl", "base_model": str(model), "output": "out", "steps": 3,
        "held_out": 0.3, "settings": SETTINGS, **changes,
    }  # fmt: skip
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder / "job.yaml"


def test_a_run_writes_its_steps_its_adapter_and_what_thoughts_are_worth(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = write_job(tmp_path, tiny_model)
    assert main(["quiet-star", str(job)]) == 0
    assert "with thoughts" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (tmp_path / "out" / "steps.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["gain"] == result["without"][0] - result["mixed"][0]
    assert {"token", "thought", "before", "gain", "nll", "drawn"} == set(result["thoughts"][0])
    first = (tmp_path / "out" / "result.json").read_bytes()
    assert main(["quiet-star", str(job)]) == 0
    assert (tmp_path / "out" / "result.json").read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": {"window": 4}}, "settings.window: Input should be greater than or equal to 8"),
        ({"documents": "missing.jsonl"}, "missing.jsonl"),
        ({"settings": {**SETTINGS, "window": 900}, "held_out": 0.01}, "fill no window of 900 tokens"),
    ],
)
def test_a_run_that_cannot_be_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quiet-star", str(write_job(tmp_path, tiny_model, **changes))]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
