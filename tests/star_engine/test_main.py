import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from star_engine import __main__ as command
from star_engine.config.schedules import GeometricSchedule, LinearSchedule
from star_engine.job_file import BadJob, read_job
from star_engine.phases.build import own_rows
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions

QUIET = {"kind": "documents", "method": "quiet_star", "quiet_star": {}}


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
    schedule = {"kind": "linear", "start": 7}
    settings = {"kind": "scratchpad", "iterations": 3, "training": {"schedule": schedule}}
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
        ({"dataset": "prompts.json"}, "prompts.json has 1 mistake:\\n.*holds the rows"),
        ({"config": {"kind": "scratchpad", "evaluation": {"split": "test"}}}, "0 held out"),
        ({"config": {"kind": "scratchpad", "evaluation": {"without_thoughts": True}}}, "leave it out"),
        ({"preset": None, "config": QUIET}, "python -m star_engine quiet-star"),
    ],
)
def test_a_job_that_cannot_run_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BadJob, match=reason):
        read_job(write_job(tmp_path, **changes))


def test_held_out_questions_that_are_trained_on_are_refused_unless_the_job_file_allows_it(
    tmp_path: Path,
) -> None:
    path = write_job(tmp_path)
    rows = (tmp_path / "train.jsonl").read_text().splitlines()
    again = [
        json.dumps({**json.loads(row), "id": f"again-{n}", "split": "validation"})
        for n, row in enumerate(rows[:2])
    ]
    (tmp_path / "train.jsonl").write_text("\n".join([*rows, *again]))
    with pytest.raises(BadJob, match="2 held-out questions of train"):
        read_job(path)
    path.write_text(path.read_text() + "allow_overlap: true\n")
    assert len(read_job(path).held_out) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_a_dataset_too(tmp_path: Path, encoding: str, indent: int | None) -> None:
    path = write_job(tmp_path, dataset="rows.json")
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=indent), encoding=encoding)
    job = read_job(path)
    assert len(job.train) + len(job.held_out) == 30


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"question;answer\n1 + 1;2\n" * 3, "row 1, 2 and 4 more, row: Not JSON"),
        (b'{"question": "1 + 1"}\n' * 3, "row 1, 2 and 1 more, answer: Missing."),
        (b"%PDF-1.7", "row 1, file: It is a PDF."),
        (b"caf\xe9\n", "Not UTF-8"),
        (b'{"prompt": "1 + 1", "answer": "2"}\n', "If 'prompt' is that, rename it to 'question'."),
        (b"[{}, {", "Not JSON"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_told_without_a_traceback(
    tmp_path: Path, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_job(tmp_path, dataset="rows")
    (tmp_path / "rows").write_bytes(content)
    assert command.main(["check", str(path)]) == 2
    told = capsys.readouterr().err
    assert reason in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"dataset: 2024-01-02\nwhen: .nan\n", "when"),
        (b"a: [", "expected"),
        (b"a: 1\na: 2\n", "stands there twice"),
        (b"caf\xe9: 1", "Not UTF-8"),
        (b"[" * 5000, "nested too deep"),
    ],
)
def test_a_job_file_that_cannot_be_read_is_told_without_a_traceback(
    tmp_path: Path, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    assert command.main(["check", str(path)]) == 2
    assert reason in capsys.readouterr().err


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


def write_job_with_sums(folder: Path, **sections: Any) -> Path:
    """A job that has a second dataset, marked where it is to be held out."""
    rows = [
        {"question": e.question, "answer": e.answer, "group": e.group, "split": split}
        for split, seed in (("train", 5), ("validation", 6))
        for e in additions(digits=(1,), each=4, seed=seed)
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = {"schedule": {"kind": "linear", "start": 3, "add": 0}, "lora": {"rank": 2}}
    config = {"kind": "scratchpad", "iterations": 1, "training": training, **sections}
    return write_job(folder, allow_overlap=True, config=config, other_datasets={"sums": "sums.jsonl"})


def test_a_job_file_names_datasets_to_measure_along_and_to_mix_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = addition_pupil()
    trainer = RecordingTrainer(script)
    monkeypatch.setattr(command, "load", lambda *_: (ScriptedSampler(script), trainer))
    mix = {"mix": [{"dataset": "sums", "share": 0.1}]}
    job = write_job_with_sums(tmp_path, evaluation={"also": ["sums"]}, training_set=mix)
    read = read_job(job)
    assert ([e.split for e in read.also["sums"]], len(read.mixed["sums"])) == (["validation"] * 4, 4)
    assert command.main(["run", str(job)]) == 0
    history = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    built = next(line for line in history if line["phase"] == "build")
    kept = built["kept"]
    assert kept["mixed"] == round(own_rows(kept) / 9) > 0
    assert len(trainer.runs[0].rows) == sum(kept.values())
    along = [line["also"]["sums"] for line in history if "also" in line]
    assert along == [{"accuracy": 1.0, "n": 4}] * 2


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({}, "other_datasets names 'sums'; evaluation.also or training_set.mix must name it too"),
        (
            {"evaluation": {"also": ["products"]}},
            "evaluation.also names 'products'; say under other_datasets",
        ),
        (
            {"training_set": {"mix": [{"dataset": "products", "share": 0.1}]}},
            "training_set.mix names 'products'; say under other_datasets",
        ),
    ],
)
def test_datasets_that_are_named_once_only_are_refused(
    sections: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BadJob, match=reason):
        read_job(write_job_with_sums(tmp_path, **sections))


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


def judged(folder: Path, capsys: pytest.CaptureFixture[str], written: str) -> tuple[int, list[Any], str]:
    """Exit status of `judge`, the lines that it prints, and what it says of errors."""
    path = folder / "rows.jsonl"
    path.write_text(written)
    status = command.main(["judge", str(path)])
    said = capsys.readouterr()
    return status, [json.loads(line) for line in said.out.splitlines()], said.err


RIGHT: dict[str, Any] = {
    "kind": "numeric",
    "completion": "6 bags with 7 rolls are 6 * 7 = 42.\n#### 42",
    "answer": 42,
}


def test_judge_prints_a_line_of_json_for_each_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for written in (f"{json.dumps(RIGHT)}\n{json.dumps(RIGHT)}\n", json.dumps([RIGHT, RIGHT], indent=1)):
        status, rows, errors = judged(tmp_path, capsys, written)
        assert (status, errors, [row["row"] for row in rows]) == (0, "", [1, 2])
        assert rows[0]["verdict"] == "correct"
        start, end = rows[0]["span"]
        assert RIGHT["completion"][start:end] == "42"
        assert rows[0]["trained_on"] == f" {RIGHT['completion']}"


def test_judge_ends_with_2_where_a_row_cannot_be_judged_and_judges_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**RIGHT, "kind": "numbers"}
    status, rows, errors = judged(tmp_path, capsys, f"{json.dumps(bad)}\n{json.dumps(RIGHT)}\n")
    assert status == 2
    assert rows[0]["errors"][0]["field"] == "kind"
    assert rows[1]["verdict"] == "correct"
    assert errors.startswith("row 1, kind: There is no kind 'numbers'.")


@pytest.mark.parametrize("written", ["[1, 2", None])
def test_judge_ends_with_2_and_a_sentence_where_the_file_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str | None
) -> None:
    path = tmp_path / "rows.jsonl"
    if written is not None:
        path.write_text(written)
    assert command.main(["judge", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: ")


def test_mistakes_in_a_job_file_are_lines_without_links(tmp_path: Path) -> None:
    with pytest.raises(BadJob) as refused:
        read_job(write_job(tmp_path, train=0, colour="red"))
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["train", "colour"]
    assert "http" not in str(refused.value)
