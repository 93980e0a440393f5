"""Chooses the labels to train on: gold answers, or the majority vote of the model's own tries.

By majority vote (self-consistency, Wang et al. 2022, arXiv 2203.11171; trained on by Huang et al. 2022, arXiv
2210.11610) gold answers reach the evaluation only. That holds by construction: `_vote` is given examples
without gold answers and rationales without verdicts, and what is trained on follows from what it returns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from star_engine.config.star import Labels, StarConfig
from star_engine.protocols import Completion
from star_engine.sampling.answers import Answer, judge, judge_text, said_itself
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example, without_gold
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode

# In place of a verdict of the verifier: reasons of star_engine.filters.registry.REASONS
OUTVOTED = "outvoted"
NO_MAJORITY = "no_majority"


@dataclass(frozen=True, slots=True)
class Labelled:
    """What `decide` and `build` work on: the label in place of the gold answer, and verdicts by it."""

    examples: tuple[Example, ...]
    rationales: tuple[Rationale, ...]
    answers: tuple[str | None, ...] = ()  # of each, in normal form: what a majority vote counts


def labelled(config: StarConfig, examples: Sequence[Example], rationales: Sequence[Rationale]) -> Labelled:
    """Label the tries. Gold: unchanged. Majority vote: gold-derived fields are removed and
    replaced by the vote.
    """
    if config.labels is Labels.GOLD:
        return Labelled(tuple(examples), tuple(rationales))
    blind = [without_gold(example) for example in examples]
    unjudged = [replace(one, verdict="", extracted=None, rule="") for one in rationales]
    return _vote(config, blind, unjudged)


def guesses_held_out(config: StarConfig) -> bool:
    """Whether the chance of a guess is counted on the held-out examples instead of on the train split."""
    return task_of(config.kind).takes_choices or config.labels is Labels.MAJORITY_VOTE


def _vote(config: StarConfig, examples: Sequence[Example], rationales: Sequence[Rationale]) -> Labelled:
    by_id = {example.id: example for example in examples}
    read = [_read(config, by_id[one.key.example_id], one) for one in rationales]
    votes: dict[str, Counter[str]] = {}
    for one, answer in zip(rationales, read, strict=True):
        if answer.verdict == VerdictCode.CORRECT and answer.canonical is not None:
            votes.setdefault(one.key.example_id, Counter())[answer.canonical] += 1
    won = {name: _winner(config, count) for name, count in votes.items()}
    winners = {name: winner for name, winner in won.items() if winner is not None}
    named = tuple(replace(example, answer=winners.get(example.id, "")) for example in examples)
    pairs = zip(rationales, read, strict=True)
    judged = tuple(_judged(config, by_id, winners, one, answer) for one, answer in pairs)
    return Labelled(named, judged, tuple(answer.canonical for answer in read))


def _read(config: StarConfig, example: Example, rationale: Rationale) -> Answer:
    return said_itself(_answer(config, example, rationale.text, rationale.finish_reason), rationale.tools)


def _answer(
    config: StarConfig, example: Example, text: str, finish_reason: Literal["stop", "length"]
) -> Answer:
    """What a text answers, whatever is right: read once for its answer, and again against that answer.

    The second reading must call it correct; else it states several answers, and has no vote.
    """
    first = judge_text(config, task_of(config.kind).any_gold(example), text, finish_reason)
    if first.verdict not in (VerdictCode.CORRECT, VerdictCode.WRONG) or first.canonical is None:
        return first
    return judge_text(config, replace(example, answer=first.canonical), text, finish_reason)


@dataclass(frozen=True, slots=True)
class Elected:
    """The text that a vote has chosen, by its place among all, its answer in normal form, and its votes."""

    index: int
    answer: str | None  # None: no text states one, and the first is taken
    votes: int


def elect(config: StarConfig, completions: Sequence[Completion], opening: str = "") -> Elected:
    """The first text of the answer that most of them give; of answers with as many votes the one given first.

    Raises ValueError for a kind whose answers cannot be read without their question.
    """
    task = task_of(config.kind)
    if task.takes_choices or task.runs_programs:
        raise ValueError(f"Answers of kind {config.kind} cannot be read from the text alone.")
    blank = Example("", "", "")
    read = []
    for completion in completions:
        seen = judge(config, task.any_gold(blank), completion, opening=opening)
        answer = _answer(config, blank, seen.text, seen.finish_reason)
        read.append(answer.canonical if answer.verdict == VerdictCode.CORRECT else None)
    votes = Counter(answer for answer in read if answer is not None)
    if not votes:
        return Elected(0, None, 0)
    winner, most = votes.most_common(1)[0]  # of equals the first met
    return Elected(read.index(winner), winner, most)


def _winner(config: StarConfig, votes: Counter[str]) -> str | None:
    """The answer that more of the tries gave than any other, and more than `min_agreement` of them all."""
    (answer, most), *others = votes.most_common(2)
    tied = bool(others) and others[0][1] == most
    enough = most > config.min_agreement * config.generation.samples_per_example
    return answer if enough and not tied else None


def _judged(
    config: StarConfig,
    examples: Mapping[str, Example],
    winners: Mapping[str, str],
    rationale: Rationale,
    read: Answer,
) -> Rationale:
    """Return the rationale with its verdict against the winner; one without an answer keeps its verdict."""
    winner = winners.get(rationale.key.example_id)
    answer, verdict = read, str(read.verdict)
    if read.verdict == VerdictCode.CORRECT:
        verdict = NO_MAJORITY
        if winner is not None:
            example = replace(examples[rationale.key.example_id], answer=winner)
            answer = judge_text(config, example, rationale.text, rationale.finish_reason)
            verdict = OUTVOTED if answer.verdict == VerdictCode.WRONG else str(answer.verdict)
    return replace(rationale, verdict=verdict, extracted=answer.extracted, rule=answer.rule)
