"""Majority vote in place of gold answers, which then reach the evaluation only."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.loop import ITERATION_PHASES, IterationHistory, PhaseName, PhaseRef, Stop, next_phase
from star_engine.protocols import Completion, SampleRequest
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.sampling.labels import Elected, elect, labelled
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, without_gold
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.regrade import Regrading
from tests.star_engine.capitals import CAPITALS, PATTERN, config, examples, few_shot, pupil, reasons

VOTE: dict[str, Any] = {
    "labels": "majority_vote",
    "generation": {"samples_per_example": 5, "temperature": 0.7},
    "rationalization": {"enabled": False},
}
# What the tries at each train example answer: sure, wrong together, in a tie, in no agreement.
VOTES = {
    "France": ["Paris", "Paris", "Lyon", "Paris", "Paris"],
    "Norway": ["Bergen", "Oslo", "Bergen", "Bergen", "Oslo"],
    "Japan": ["Kyoto", "Tokyo", "Kyoto", "Tokyo", "Nara"],
    "Kenya": ["Nairobi", "", "", "Nairobi", "Mombasa"],
}
TRAIN = [example for example in examples() if example.id in VOTES]
HELD_OUT = [example for example in examples() if example.id not in VOTES]


def voters(kind: Kind) -> Callable[[SampleRequest, Path | None], str]:
    otherwise = pupil(kind)

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        route, _, rest = request.key.partition(":")[2].partition("/")
        number, _, country = rest.partition("/")
        if route != "generated" or country not in VOTES:
            return otherwise(request, adapter)
        city = VOTES[country][int(number)]
        return f" Try {number}. " + (reasons(country, city, kind) if city else "Who knows?")

    return answer


def run(kind: Kind, train: Sequence[Example], folder: Path) -> dict[str, Any]:
    """Everything that a run asks, decides and trains on."""
    script = voters(kind)
    sampler, trainer = ScriptedSampler(script), RecordingTrainer(script)
    settings = config(kind, **VOTE)
    events = list(run_star(settings, train, HELD_OUT, few_shot(kind), sampler, trainer, folder))
    built = next(e for e in events if e.name == "phase_finished" and e.phase is PhaseName.BUILD)
    return {
        "end": events[-1],
        "prompts": [request.prompt for request in sampler.requests],
        "decisions": (folder / "iteration-1" / "decisions.jsonl").read_text(),
        "sha256": built.facts["training_set_sha256"],
        "funnel": built.facts["funnel"],
        "trained": trainer.runs[0],
    }


@pytest.mark.parametrize("kind", [Kind.EXACT, Kind.PATTERN])
def test_most_tries_decide_and_ties_keep_nothing(kind: Kind, tmp_path: Path) -> None:
    found = run(kind, TRAIN, tmp_path)
    assert found["end"].facts["reason"] == "completed_iterations"
    kept = [row.key for row in RunDirectory(tmp_path).training_set(1)]
    assert [(key.example_id, key.sample) for key in kept] == [
        *(("France", n) for n in (0, 1, 3, 4)),
        *(("Norway", n) for n in (0, 2, 3)),  # all wrong, and no gold answer says so
    ]
    reached = found["funnel"]["generated"]
    assert (reached["sampled"], reached["answered"], reached["correct"]) == (20, 18, 7)
    for reason, count in (("outvoted", 3), ("no_majority", 8), ("unparsed", 2)):
        assert found["decisions"].count(f'"{reason}"') == count


@pytest.mark.parametrize("kind", [Kind.EXACT, Kind.PATTERN])
def test_gold_answers_of_the_train_split_change_nothing_that_is_asked_decided_or_trained_on(
    kind: Kind, tmp_path: Path
) -> None:
    golds = {
        "true": [example.answer for example in TRAIN],
        "permuted": [TRAIN[n - 1].answer for n in range(len(TRAIN))],
        "blank": [""] * len(TRAIN),
        "solutions": [example.answer for example in TRAIN],
    }
    found = {}
    for name, answers in golds.items():
        solution = "Look it up." if name == "solutions" else None
        train = [replace(e, answer=a, solution=solution) for e, a in zip(TRAIN, answers, strict=True)]
        found[name] = run(kind, train, tmp_path / name)
        verdicts = [str(one.verdict) for one in RunDirectory(tmp_path / name).rationales(1)]
        assert (verdicts.count("correct") == 10) is (name in ("true", "solutions"))  # recorded all the same
    assert found["permuted"] == found["blank"] == found["solutions"] == found["true"]


def test_regraded_by_its_own_settings_a_vote_comes_out_the_same(tmp_path: Path) -> None:
    sha256 = run(Kind.EXACT, TRAIN, tmp_path)["sha256"]
    settings = config(Kind.EXACT, **VOTE)
    again = Regrading(settings, settings, few_shot(Kind.EXACT))
    record = RunDirectory(tmp_path)
    lines = (tmp_path / "iteration-1" / "decisions.jsonl").read_text().splitlines()
    reasons_of = {(d["example_id"], d["sample"]): d["reason"] for d in map(json.loads, lines)}
    tries = [(one, reasons_of[one.key.example_id, one.key.sample]) for one in record.rationales(1)]
    assert list(again.add(TRAIN, tries)) == []
    assert again.training_set_sha256 == sha256


def tried(country: str, *answers: str) -> list[Rationale]:
    return [
        Rationale(RationaleKey(country, Route.GENERATED, n), text, "correct", text, "", 1, 1, "stop")
        for n, text in enumerate(answers)
    ]


@pytest.mark.parametrize(
    ("least", "votes", "label"),
    [
        (0.5, "AABBC", None),  # a tie
        (0.5, "AABC-", None),  # the most, and not half of them
        (0.0, "AABC-", "A"),
        (0.0, "AABB-", None),
        (0.5, "AAA--", "A"),
        (0.6, "AAABB", None),  # more than the share, not just as many
        (0.6, "AAAAB", "A"),
        (0.5, "-----", None),
    ],
)
def test_the_label_is_the_answer_of_more_tries_than_the_share_asked_for(
    least: float, votes: str, label: str | None
) -> None:
    settings = config(Kind.PATTERN, **VOTE, min_agreement=least)
    texts = [f"Final answer: {vote}" for vote in votes]
    seen = labelled(settings, [Example("x", "?", "A")], tried("x", *texts))
    assert seen.examples[0].answer == ((label or "").casefold())
    verdicts = "".join("-" if one.verdict == "unparsed" else "+" for one in seen.rationales)
    assert verdicts == "".join("-" if vote == "-" else "+" for vote in votes)
    kept = [vote for vote, one in zip(votes, seen.rationales, strict=True) if one.verdict == "correct"]
    assert kept == [vote for vote in votes if vote == label]


@pytest.mark.parametrize(
    ("kind", "texts", "label", "correct"),
    [
        ("numeric", ["#### 1,080", "#### 1080.0", "#### 7"], "1080", 2),
        ("choice", ["The answer is den (b).", "The answer is (b).", "The answer is (a)."], "b", 2),
        ("scratchpad", ["<scratch>\n</scratch>\n8 8", "<scratch>\n</scratch>\n88", "9"], "88", 2),
        ("math", ["\\boxed{12}", "\\boxed{12.0}", "\\boxed{3}. But it may be \\boxed{4}."], "12", 1),
    ],
)
def test_votes_are_counted_on_answers_in_normal_form(
    kind: str, texts: list[str], label: str, correct: int
) -> None:
    settings = StarConfig.model_validate(
        {"kind": kind, **VOTE, "generation": {"samples_per_example": 3, "temperature": 1}, "min_agreement": 0}
    )
    example = Example("x", "?", "b", ("desk", "den") if kind == "choice" else None)
    seen = labelled(settings, [example], tried("x", *texts))
    if kind == "math":  # written in two ways: a tie
        assert [one.verdict for one in seen.rationales] == ["no_majority", "no_majority", "ambiguous"]
        return
    assert seen.examples[0].answer == label
    assert sum(one.verdict == "correct" for one in seen.rationales) == correct


def test_with_gold_labels_nothing_is_touched() -> None:
    tries = tried("France", "Paris")
    seen = labelled(config(Kind.EXACT), TRAIN, tries)
    assert (seen.examples, seen.rationales) == (tuple(TRAIN), tuple(tries))


def test_an_example_without_its_gold_keeps_neither_answer_nor_solution() -> None:
    blind = without_gold(replace(TRAIN[0], solution="Look it up."))
    assert blind == Example("France", TRAIN[0].question, "")
    assert CAPITALS["France"] not in repr(blind)


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"generation": {"temperature": 0.7}}, "set generation.samples_per_example to 2 or more"),
        ({"generation": {"samples_per_example": 4}}, "set generation.temperature to 0.7"),
        ({"rationalization": {}}, "set rationalization.enabled to false"),
        ({"training_set": {"checks": ["hint_free"]}}, "leave training_set.checks empty"),
    ],
)
def test_settings_under_which_no_vote_is_possible_are_refused_with_the_mend(
    change: dict[str, Any], fix: str
) -> None:
    with pytest.raises(ValidationError, match=fix):
        config(Kind.PATTERN, **{**VOTE, **change}, verifier={"pattern": PATTERN})


def test_the_stop_rule_does_not_ask_gold_answers_whether_everything_is_solved() -> None:
    done = frozenset({*ITERATION_PHASES, PhaseName.BASELINES})
    solved = [
        IterationHistory(0, done, accuracy=0.1),
        IterationHistory(1, done, kept=4, accuracy=0.5, solve_rate=1.0),
    ]
    stop = {"stop": {"patience": 3}, "iterations": 9}
    assert isinstance(next_phase(config(Kind.EXACT, **stop), solved), Stop)
    assert next_phase(config(Kind.EXACT, **VOTE, **stop), solved) == PhaseRef(2, PhaseName.SAMPLE)


def said(*texts: str) -> list[Completion]:
    return [Completion(str(n), text, 5, 9, "stop") for n, text in enumerate(texts)]


def test_the_first_text_of_the_answer_that_most_give_is_elected() -> None:
    numbers = StarConfig(kind=Kind.NUMERIC)
    texts = said("So it is 7. #### 7", "Twelve. #### 12", "#### 12.0", "I do not know.", "#### 1,2 or #### 7")
    assert elect(numbers, texts) == Elected(1, "12", 2)
    assert elect(numbers, said("#### 3", "#### 4")) == Elected(0, "3", 1), "the first of equals"
    assert elect(numbers, said("no", "idea")) == Elected(0, None, 0)
    assert elect(numbers, said("#### 5\n\nQ: next\nA: #### 6", "#### 5", "#### 6")).answer == "5", (
        "cut at a stop"
    )
    with pytest.raises(ValueError, match="choice"):
        elect(StarConfig(kind=Kind.CHOICE), said("(a)"))
