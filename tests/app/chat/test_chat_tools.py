"""A tool in the chat layout, end to end: called while the model thinks, masked in what is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.app.api_harness import MODEL, serve, worker
from tests.star_engine.chat.families import FAMILIES, write_model

CONFIG = {
    "iterations": 2,
    "generation": {"max_tokens": 400, "few_shot": "first_iteration"},
    "rationalization": {"enabled": False},
    "tools": {"python": {}},
    "hints": {"groups": ["calculation"]},
    "training": {"schedule": {"kind": "linear", "start": 2, "add": 0}, "max_length": 4000},
    "training_set": {"filters": ["tool_fake", "all_calls_failed"]},
    "audits": {"spark_level": None},
}
ROWS = "".join(
    json.dumps({"question": f"What is {17 + n} times {23 + n}?", "answer": str((17 + n) * (23 + n))}) + "\n"
    for n in range(10)
)
SHOWN = [{"question": "What is 3 times 4?", "answer": "12", "rationale": "It is 12.\n#### 12"}]


def test_a_chat_model_calls_its_tool_while_it_thinks(sqlite_database_url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_model(next(one for one in FAMILIES if one.name == "qwen3"), home / "chat")
    (home / "chat" / "model.safetensors").write_bytes(b"weights")
    models = home / "chat-models.yaml"
    models.write_text(yaml.safe_dump([{"id": MODEL, "location": "chat", "context_length": 4000}]))
    script = "tests.chat_pupil:multiplying_pupil"
    given = {"models_file": models, "sampler": "scripted", "sampler_script": script}
    with serve(sqlite_database_url, home, **given) as api, worker(api) as work_off:
        body = {
            "model": MODEL,
            "dataset": api.dataset(ROWS, kind="numeric")["id"],
            "prompt_set": api.prompt_set(kind="numeric", examples=SHOWN)["id"],
            "config": CONFIG,
        }
        job = api.client.post("/v1/jobs", json=body).json()
        assert job["config"]["layout"] == "chat"
        work_off()
        place = f"/v1/jobs/{job['id']}"
        found = api.client.get(place).json()
        assert (found["status"], found["stop_reason"]) == ("succeeded", "completed_iterations"), found
        coverage = api.client.get(f"{place}/coverage").json()["data"]
        rows = [
            json.loads(line)
            for line in api.client.get(f"{place}/iterations/1/training-set").text.splitlines()
        ]
        report = api.client.get(f"{place}/report", params={"format": "markdown"}).text
    first, second = coverage
    assert (first["kept"], second["kept"]) == (
        {"generated": 0, "hinted": 6},
        {"generated": 6, "hinted": 0},
    )
    assert [second["tool_accuracy"][mode]["accuracy"] for mode in ("adapter", "adapter_without_tools")] == [
        1,
        0,
    ]
    assert "| 2 | 100.0 % | 0.0 % | 100.0 % | 100.0 % | – | 0.0 % |" in report.splitlines()
    for row in rows:
        spans = {who: row["completion"][start:end] for start, end, who in row["masked"]}
        assert spans["hint"].endswith("```python\n")
        assert spans["output"].startswith("```output\n")
        assert row["completion"].index("</think>") > row["masked"][-1][1]
        assert len(row["turns"]) == 5
