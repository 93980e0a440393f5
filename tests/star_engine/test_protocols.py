"""What travels to another process comes out as what went in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_engine.config.lora import Lora
from star_engine.config.schedules import FixedSchedule
from star_engine.config.star import Training
from star_engine.protocols import (
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    Segment,
    TrainingJob,
    TrainingText,
)

JOB = TrainingJob(
    data=(TrainingText("Q: 1 + 1\nA:", " 2 – “two”\n"), TrainingText("Q: 2 + 2\nA:", " 4", ((0, 1),))),
    settings=Training(schedule=FixedSchedule(steps=3), lora=Lora(rank=4, target_modules=("q_proj",))),
    steps=3,
    seed=7,
    out=Path("/somewhere/adapter"),
    checkpoints=Path("/somewhere/checkpoints"),
    start=Path("/somewhere/before"),
)
FRESH = TrainingJob((), Training(), 1, 0, Path("adapter"), Path("checkpoints"))


@pytest.mark.parametrize("job", [JOB, FRESH])
def test_a_training_job_is_the_same_after_json(job: TrainingJob) -> None:
    assert TrainingJob.from_json(json.loads(json.dumps(job.to_json()))) == job


@pytest.mark.parametrize(
    "request_",
    [
        SampleRequest("a", "1 + 1"),
        SampleRequest("b", "naïve 東京", seed=0, regenerate=True),
        SampleRequest("c", "1 + 1", max_tokens=7, stop=("\n", "```")),
        SampleRequest("d", "1 + 1", stop=()),
    ],
)
def test_a_request_is_the_same_after_json(request_: SampleRequest) -> None:
    assert SampleRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_


@pytest.mark.parametrize(
    "request_",
    [
        ScoreRequest("a", TrainingText("Q:", " 4")),
        ScoreRequest("b", TrainingText("Q:", " 4, so 5", ((0, 3),)), eos=False),
    ],
)
def test_a_text_to_be_scored_is_the_same_after_json(request_: ScoreRequest) -> None:
    assert ScoreRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_


def test_the_score_of_a_completion_is_the_sum_over_its_tokens() -> None:
    assert Score("a", (-0.5, -1.25)).total == -1.75


def test_a_request_is_decoded_as_the_call_says_but_for_what_it_says_itself() -> None:
    params = SamplingParams(temperature=0.5, max_tokens=10, stop=("a",))
    assert params.of(SampleRequest("k", "p")) == params
    changed = params.of(SampleRequest("k", "p", max_tokens=3, stop=()))
    assert changed == SamplingParams(temperature=0.5, max_tokens=3, stop=())
    with pytest.raises(ValueError, match="Request k asks for at most 0 tokens"):
        params.of(SampleRequest("k", "p", max_tokens=0))


@pytest.mark.parametrize(
    "change", [{"steps": "many"}, {"settings": {"batch_size": 0}}, {"data": [["a", "b"]]}]
)
def test_json_that_is_no_training_job_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingJob.from_json(JOB.to_json() | change)


def test_segments_become_one_completion_with_the_foreign_ones_masked() -> None:
    tool = Segment("12\n", learned=False)
    segments = [
        Segment("print(3 * 4)\n"),
        tool,
        Segment(""),
        Segment("", learned=False),
        Segment("So 12."),
        tool,
    ]
    text = TrainingText.of_segments("Q:", segments)
    assert text == TrainingText("Q:", "print(3 * 4)\n12\nSo 12.12\n", ((13, 16), (22, 25)))
    assert TrainingText.of_segments("Q:", [Segment(" 4")]) == TrainingText("Q:", " 4")


@pytest.mark.parametrize(
    "masked", [((0, 0),), ((2, 1),), ((0, 5),), ((-1, 2),), ((0, 2), (1, 3)), ((2, 3), (0, 1))]
)
def test_spans_that_are_no_spans_of_the_completion_are_refused(masked: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="masked span"):
        TrainingText("Q:", "1234", masked)
