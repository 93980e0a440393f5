import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from star_engine import __main__ as command
from star_engine.config_schedules import GeometricSchedule, LinearSchedule
from star_engine.job_file import BadJob, read_job
from star_engine.testing import RecordingTrainer, ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions


def write_job(folder: Path, **changes: Any) -> Path:
    rows = [
        {"id": e.id, "question": e.question, "answer": e.answer, "group": e.group}
        for e in additions(digits=(1, 2), each=15)
    ]
    shown = [
        {"question": e.question, "answer": e.answer, "group": e.group, "rationale": e.rationale}
        for e in ADDITION.examples
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "prompts.json").write_text(json.dumps({"kind": "scratchpad", "examples": shown}))
    training = {"schedule": {"kind": "linear", "start": 3, "add": 0}, "lora": {"rank": 2}}
    job: dict[str, Any] = {
        "dataset": "train.jsonl",
        "prompt_set": "prompts.json",
        "base_model": "tiny",
        "output": "out",
        "held_out": 6,
        "config": {"kind": "scratchpad", "iterations": 1, "training": training},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | changes))
    return path


def test_a_job_file_is_read_with_all_that_it_names(tmp_path: Path) -> None:
    job = read_job(write_job(tmp_path))
    assert len(job.held_out) >= 6
    assert len(job.train) + len(job.held_out) == 30
    assert job.file.output == tmp_path / "out"
    assert len(read_job(write_job(tmp_path, train=10)).train) == 10


def test_settings_are_laid_over_a_preset(tmp_path: Path) -> None:
    settings = {"kind": "scratchpad", "iterations": 3, "training": {"schedule": {"start": 7}}}
    config = read_job(write_job(tmp_path, preset="star-without-rationalization", config=settings)).config
    assert config.iterations == 3
    assert not config.rationalization.enabled
    assert config.training.schedule == LinearSchedule(start=7)
    geometric = {"kind": "scratchpad", "training": {"schedule": {"kind": "geometric"}}}
    replaced = read_job(write_job(tmp_path, preset="star", config=geometric)).config
    assert replaced.training.schedule == GeometricSchedule(start=40)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preset": "star-wars"}, "no preset 'star-wars'; known are star"),
        ({"preset": "star", "config": {}}, "config.kind must be one of"),
        ({"config": {"kind": "scratchpad", "iteration": 3}}, "iteration"),
        ({"config": {"kind": "choice"}}, "of kind scratchpad, not choice"),
        ({"dataset": "missing.jsonl"}, "missing.jsonl"),
        ({"datasets": "train.jsonl"}, "datasets"),
        ({"dataset": "prompts.json"}, "prompts.json has 2 mistakes"),
        ({"config": {"kind": "scratchpad", "evaluation": {"split": "test"}}}, "0 held out"),
    ],
)
def test_a_job_that_cannot_run_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BadJob, match=reason):
        read_job(write_job(tmp_path, **changes))


def test_a_group_without_few_shot_examples_is_refused(tmp_path: Path) -> None:
    path = write_job(tmp_path)
    shown = json.loads((tmp_path / "prompts.json").read_text())
    shown["examples"] = [row for row in shown["examples"] if row["group"] != "2"]
    (tmp_path / "prompts.json").write_text(json.dumps(shown))
    with pytest.raises(BadJob, match="no few-shot example for the groups 2;"):
        read_job(path)


def test_the_command_runs_a_job_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = addition_pupil()
    fakes = (ScriptedSampler(script), RecordingTrainer(script))
    monkeypatch.setattr(command, "load", lambda *_: fakes)
    job = str(write_job(tmp_path))
    assert command.main(["run", job]) == 0
    printed = capsys.readouterr().out
    assert "iteration 1, evaluate: accuracy 1" in printed
    assert printed.endswith("stopped: completed_iterations\n")
    assert fakes[0].closed
    assert (tmp_path / "out" / "iteration-1" / "adapter" / "manifest.json").exists()


def test_the_command_says_why_it_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sampler = ScriptedSampler(lambda *_: "\nNo.")
    monkeypatch.setattr(command, "load", lambda *_: (sampler, RecordingTrainer()))
    assert command.main(["run", str(write_job(tmp_path))]) == 3
    said = capsys.readouterr().out
    assert "no_spark" in said
    assert "a stronger base model" in said  # what to do about it


def test_the_command_checks_a_job_without_loading_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["check", str(write_job(tmp_path))]) == 0
    assert "held out" in capsys.readouterr().out
    assert command.main(["check", str(write_job(tmp_path, preset="x"))]) == 2
    assert "no preset" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
