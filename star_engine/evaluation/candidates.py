"""Candidates: many answers to one held-out question, their scores, and what k of them come to."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from star_engine.config.evaluation import TestTime
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion
from star_engine.data.selection import sample_seed
from star_engine.evaluation.accuracy import (
    EvaluationMode,
    asked_directly,
    evaluation_params,
    evaluation_prompt,
)
from star_engine.evaluation.answer import Vote
from star_engine.evaluation.intervals import share_interval
from star_engine.evaluation.solution_key import solution_key
from star_engine.evaluation.test_time import best_of, entropy_of, majority, pass_all, pass_at
from star_engine.protocols import (
    Completion,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TextScorer,
    TrainingText,
)
from star_engine.sampling.answers import judge, judge_turns
from star_engine.sampling.rationales import tool_turns
from star_engine.sampling.tool_turns import ToolTurns
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.tasks.verdict import VerdictCode

GENERATOR = "generator"  # the scorer that every best-of-k is compared with: the answering model itself
VERIFIER = "verifier"  # the job's own; another job's is named by its adapter's id
REFERENCE = "reference"  # what the verifier's training began with: the reward is compared with it
IMPOSSIBLE = -1e9  # in place of minus infinity, which JSON cannot hold
TEXTS_PER_CALL = 64  # of a scorer, recorded together

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class CandidateKey:
    """Unique within an iteration."""

    example_id: str
    sample: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What a scorer says of a text: the logarithm of its probability, and of how many tokens."""

    total: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the answers to a held-out question."""

    key: CandidateKey
    text: str  # cut at the first stop
    verdict: str
    extracted: str | None
    canonical: str | None  # in normal form: what a vote counts
    rule: str
    prompt_tokens: int
    tokens: int
    finish_reason: Literal["stop", "length"]
    request_sha256: str | None = None  # as of a rationale
    reused: bool = False
    scores: Mapping[str, Scored] = field(default_factory=dict)  # by scorer; none of a text that does not fit
    tools: ToolUse | None = None  # as of a rationale

    @property
    def is_right(self) -> bool:
        return self.verdict == VerdictCode.CORRECT

    @property
    def vote(self) -> str | None:
        """What it says in a vote; None: nothing."""
        return self.extracted if self.canonical is None and self.is_right else self.canonical


@dataclass(frozen=True, slots=True)
class QuestionCurves:
    """What k answers to one question come to, for each k of `TestTime.all_ks`."""

    example_id: str
    answers: int
    right: int
    unparsed: int  # texts that take part in no vote
    solutions: int  # distinct ones among the right texts, as `solution_key` tells them apart
    entropy: float  # of the stated answers, in bits
    curves: Mapping[str, tuple[float, ...]]  # by method: pass, pass_all, majority, best_of/generator ...


def candidate_mode(iteration: int) -> EvaluationMode:
    """How an iteration's candidates are asked: of the base model (0) with few-shot rationales."""
    return EvaluationMode.ADAPTER if iteration else EvaluationMode.FEW_SHOT_COT


def candidate_params(config: StarConfig, test_time: TestTime, iteration: int) -> SamplingParams:
    """As the greedy answer is decoded, but for temperature and top_p."""
    greedy = evaluation_params(config, candidate_mode(iteration))
    return replace(greedy, temperature=test_time.temperature, top_p=test_time.top_p)


@dataclass(frozen=True, slots=True)
class CandidatePlan:
    """The requests for candidates, and what becomes of each completion."""

    config: StarConfig
    params: SamplingParams
    mode: EvaluationMode
    asked: Mapping[str, tuple[Example, CandidateKey]]  # by the request's key
    queue: deque[SampleRequest]
    opening: str  # see PromptSet
    turns: ToolTurns | None = None  # None: no tool can be called

    def finish(self, completion: Completion) -> Candidate | None:
        """None: the text goes on, with a request that has joined the queue."""
        example, key = self.asked[completion.key]
        direct, use = asked_directly(self.config, self.mode), None
        if self.turns is None:
            answer = judge(self.config, example, completion, direct=direct, opening=self.opening)
        else:
            found = self.turns.go_on(completion)
            if isinstance(found, SampleRequest):
                self.queue.append(found)
                return None
            answer, use = judge_turns(self.config, example, found, direct=direct, opening=self.opening)
            completion = found.completion
        return Candidate(
            key=key,
            text=answer.text,
            verdict=answer.verdict,
            extracted=answer.extracted,
            canonical=answer.canonical,
            rule=answer.rule,
            prompt_tokens=completion.prompt_tokens,
            tokens=completion.tokens,
            finish_reason=answer.finish_reason,
            request_sha256=completion.request_sha256,
            reused=completion.reused,
            tools=use,
        )


def plan_candidates(
    config: StarConfig,
    test_time: TestTime,
    prompt_set: PromptSet,
    examples: Iterable[Example],
    iteration: int,
    recorded: Set[CandidateKey],
) -> CandidatePlan:
    """The plan of every candidate that is not recorded. Seeds follow from example and sample alone."""
    mode, params = candidate_mode(iteration), candidate_params(config, test_time, iteration)
    turns = tool_turns(config, params.max_tokens)
    asked: dict[str, tuple[Example, CandidateKey]] = {}
    queue: deque[SampleRequest] = deque()
    for example in examples:
        prompt = evaluation_prompt(config, prompt_set, example, mode, iteration)
        for sample in range(test_time.samples):
            key = CandidateKey(example.id, sample)
            if key not in recorded:
                seed = sample_seed(config.seed, iteration, example.id, "test_time", sample)
                request = SampleRequest(f"{sample}/{example.id}", prompt, seed)
                asked[request.key] = (example, key)
                queue.append(request if turns is None else turns.begin(request))
    return CandidatePlan(config, params, mode, asked, queue, prompt_set.opening, turns)


def own_text(
    config: StarConfig, prompt_set: PromptSet, example: Example, one: Candidate, iteration: int
) -> tuple[TrainingText, bool]:
    """A candidate as its generator's likelihood is asked for: behind the prompt that it was sampled from.

    The flag says whether its end is part of it: adapters learn to end with EOS; behind few-shot examples the
    base model begins another block instead.
    """
    prompt = evaluation_prompt(config, prompt_set, example, candidate_mode(iteration), iteration)
    ended = iteration > 0 or config.is_chat or not one.text
    return said_text(config, prompt_set, prompt, one.text, one.tools), ended


def said_text(
    config: StarConfig, prompt_set: PromptSet, prompt: str, text: str, tools: ToolUse | None
) -> TrainingText:
    """An answer behind a prompt. What its tool has said is read and not scored: the tool wrote it."""
    completion = render_completion(config.kind, text, prompt_set.chat)
    at = completion.find(text)
    if tools is None or at < 0:
        return TrainingText(prompt, completion)
    masked = tuple((at + start, at + end) for start, end, _ in tools.spans)
    turns = tuple((at + start, ids) for start, ids in tools.turns)
    return TrainingText(prompt, completion, masked, turns=turns)


def score_distinct(
    scorer: TextScorer, texts: Sequence[tuple[K, TrainingText, bool]]
) -> Iterator[dict[K, Scored]]:
    """Score each distinct text once and yield the scores of all keys that have it, in batches.

    A text that the scorer has no room for gets no score. It is found by scoring its batch one by one.
    """
    alike: dict[tuple[TrainingText, bool], list[K]] = {}
    for key, text, ended in texts:
        alike.setdefault((text, ended), []).append(key)
    distinct = list(alike.items())
    for first in range(0, len(distinct), TEXTS_PER_CALL):
        some = distinct[first : first + TEXTS_PER_CALL]
        requests = [ScoreRequest(str(n), text, ended) for n, ((text, ended), _) in enumerate(some)]
        found: dict[K, Scored] = {}
        for score in scores_that_fit(scorer, requests):
            scored = Scored(max(score.total, IMPOSSIBLE), len(score.logprobs))
            found |= dict.fromkeys(some[int(score.key)][1], scored)
        yield found


def scores_that_fit(scorer: TextScorer, requests: Sequence[ScoreRequest]) -> list[Score]:
    """The scores, without those of texts that the scorer has no room for."""
    try:
        return list(scorer.score(requests))
    except ValueError:
        if len(requests) == 1:
            return []
    return [score for request in requests for score in scores_that_fit(scorer, [request])]


def question_curves(
    test_time: TestTime, example_id: str, candidates: Sequence[Candidate], scorers: Sequence[str]
) -> QuestionCurves:
    """What k of a question's candidates come to. `scorers`: whose scores best of k ranks by."""
    ks, n = test_time.all_ks, len(candidates)
    right = [one.is_right for one in candidates]
    votes = [one.vote for one in candidates]
    curves: dict[str, tuple[float, ...]] = {}
    if "pass" in test_time.methods:
        curves["pass"] = tuple(pass_at(n, sum(right), k) for k in ks)
    if "pass_all" in test_time.methods:
        curves["pass_all"] = tuple(pass_all(n, sum(right), k) for k in ks)
    if "majority" in test_time.methods:
        winners = {one.vote for one in candidates if one.is_right and one.vote is not None}
        found = majority(votes, winners, ks)
        curves["majority"] = tuple(found[k].right for k in ks)
        curves["majority_tied"] = tuple(found[k].tied for k in ks)
        curves["majority_unparsed"] = tuple(found[k].unparsed for k in ks)
    if "best_of" in test_time.methods:
        for name, scores in rankings(candidates, scorers).items():
            curves[f"best_of/{name}"] = tuple(best_of(scores, right, k) for k in ks)
    solutions = {solution_key(one.text) for one in candidates if one.is_right}
    return QuestionCurves(
        example_id, n, sum(right), votes.count(None), len(solutions), entropy_of(votes), curves
    )


def vote_of(
    test_time: TestTime | None, questions: Iterable[tuple[int, int, Mapping[str, Sequence[float]]]]
) -> Vote | None:
    """A model's majority vote over all its answers; None where it was not measured.

    questions: row id, answers and curves of each. Of all answers there is one draw, so that each question's
    vote is won or not. Other numbers of answers than the settings' are of a run that was taken over.
    """
    if test_time is None or "majority" not in test_time.methods:
        return None
    if test_time.all_ks[-1] != test_time.samples:
        return None
    voted = {}
    for question, answers, curves in questions:
        if answers != test_time.samples:
            return None
        voted[question] = curves.get("majority", [0.0])[-1] > 0.5
    return Vote(test_time.samples, voted)


CURVES = {
    "pass": "pass@k: any is right",
    "pass_all": "pass^k: all are right",
    "majority": "maj@k: majority vote",
    "best_of/generator": "best of k by its own likelihood",
    "best_of/shortest": "best of k: the shortest",
    "best_of/random": "best of k: at random",
    "best_of/verifier": "best of k by the verifier",
    "best_of/verifier_per_token": "best of k by the verifier, per token",
    "best_of/verifier_reward": "best of k by the verifier's reward",
}


def curve_label(name: str) -> str | None:
    """A curve as people read it; None: a share of votes that is no accuracy (tied, unparsed)."""
    scorer = name.partition("/")[2]
    return CURVES.get(name, f"best of k by {scorer.replace('_', ' ')}" if scorer else None)


def rankings(candidates: Sequence[Candidate], scorers: Sequence[str]) -> dict[str, list[float]]:
    """What best of k ranks by. A candidate that a scorer could not read comes last.

    A verifier that was trained by DPO ranks in three ways: by likelihood, by likelihood per token, and by its
    reward, for which the reference's scores must be there.
    """
    found = {
        "random": [0.0 for _ in candidates],
        "shortest": [-float(one.tokens) for one in candidates],
    }
    for name in scorers:
        if name != REFERENCE:
            found[name] = [_total(one, name) for one in candidates]
    if REFERENCE in scorers:
        found[f"{VERIFIER}_per_token"] = [
            _total(one, VERIFIER) / max(1, one.scores[VERIFIER].tokens if VERIFIER in one.scores else 1)
            for one in candidates
        ]
        found[f"{VERIFIER}_reward"] = [
            _total(one, VERIFIER) - (one.scores[REFERENCE].total if REFERENCE in one.scores else 0.0)
            for one in candidates
        ]
    return found


def _total(one: Candidate, name: str) -> float:
    return one.scores[name].total if name in one.scores else float("-inf")


def summary(test_time: TestTime, questions: Sequence[QuestionCurves]) -> dict[str, Any]:
    """The curves over all questions, each point with its exact interval over questions."""
    n = len(questions)
    names = sorted(questions[0].curves) if questions else []
    answers = sum(one.answers for one in questions)
    solved = [one for one in questions if one.right]
    return {
        "samples": test_time.samples,
        "temperature": test_time.temperature,
        "n": n,
        "ks": list(test_time.all_ks),
        "curves": {
            name: [_point([one.curves[name][at] for one in questions]) for at in range(len(test_time.all_ks))]
            for name in names
        },
        "unparsed": round(sum(one.unparsed for one in questions) / answers, 6) if answers else 0.0,
        "solutions": round(sum(one.solutions for one in solved) / len(solved), 4) if solved else 0.0,
        "entropy": round(sum(one.entropy for one in questions) / n, 4) if n else 0.0,
    }


def _point(values: Sequence[float]) -> dict[str, float]:
    interval = share_interval(values)
    mean = sum(values) / len(values)
    return {"value": round(mean, 6), "low": round(interval.low, 6), "high": round(interval.high, 6)}
