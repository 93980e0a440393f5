"""Accuracy on held-out examples: of the few-shot base model and of each iteration's adapter."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.data.prompts import check_layout, render_conversation, render_prompt
from star_engine.data.selection import select_examples
from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams
from star_engine.sampling.answers import judge
from star_engine.sampling.rationales import few_shot_in
from star_engine.tasks.examples import Example, PromptSet

DIRECT_MAX_TOKENS = 64  # an answer alone; 10 digits with spaces are 20 tokens for a character-level model


class EvaluationMode(StrEnum):
    FEW_SHOT_DIRECT = "few_shot_direct"  # base model, few-shot examples without rationale
    FEW_SHOT_COT = "few_shot_cot"  # base model, few-shot examples with rationale
    ADAPTER = "adapter"  # an iteration's model; directly, where it was trained on answers alone


@dataclass(frozen=True, slots=True)
class EvaluatedAnswer:
    example_id: str
    group: str | None
    text: str  # cut at the first stop
    verdict: str
    extracted: str | None
    rule: str
    prompt_tokens: int
    tokens: int
    finish_reason: Literal["stop", "length"]
    request_sha256: str | None = None  # as of a rationale
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """How many answers got which verdict. The six counts sum to n."""

    n: int
    correct: int
    wrong: int
    unparsed: int  # said something to the end, but no answer
    truncated: int  # ran into max_tokens before an answer
    ambiguous: int
    error: int

    @property
    def accuracy(self) -> float:
        """correct / n; 0 where nothing was asked."""
        return self.correct / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Accuracy:
    overall: Tally
    groups: Mapping[str, Tally]  # examples without a group count in `overall` only

    @property
    def accuracy(self) -> float:
        return self.overall.accuracy


def select_held_out(config: StarConfig, count: int) -> list[int]:
    """Positions of the held-out examples that are asked: the same in every iteration of a job."""
    return select_examples(count, config.evaluation.max_examples, config.seed, iteration=0)


def evaluation_prompt(
    config: StarConfig, prompt_set: PromptSet, example: Example, mode: EvaluationMode, iteration: int
) -> str:
    """What the model is asked in this mode.

    The adapter of iteration n is asked the way iteration n+1 will sample from it, so that its accuracy says
    what sampling will meet: with few-shot examples if `generation.few_shot` shows them in iteration n+1.
    The baselines always show them. What was trained on texts of the dataset is asked the way it was trained.
    """
    check_layout(config, prompt_set)
    direct = asked_directly(config, mode)
    shown = mode is not EvaluationMode.ADAPTER or _shown_to_adapter(config, iteration)
    return render_prompt(config.kind, prompt_set, example, direct=direct, few_shot=shown)


def conversation_prompt(
    config: StarConfig, prompt_set: PromptSet, turns: Sequence[tuple[str, str]], iteration: int
) -> str:
    """What the adapter of an iteration is asked in a conversation: as `evaluation_prompt` where its one turn
    is a question. Raises ValueError for a conversation that the job's layout does not know.
    """
    check_layout(config, prompt_set)
    direct = asked_directly(config, EvaluationMode.ADAPTER)
    shown = _shown_to_adapter(config, iteration)
    return render_conversation(config.kind, prompt_set, turns, direct=direct, few_shot=shown)


def _shown_to_adapter(config: StarConfig, iteration: int) -> bool:
    """Whether the few-shot examples are."""
    if config.training_set.source is not Source.RATIONALES:
        return float(config.training_set.few_shot_in_prompt) == 1.0
    return few_shot_in(config.generation.few_shot, iteration + 1)


def asked_directly(config: StarConfig, mode: EvaluationMode) -> bool:
    """Whether only the answer is asked for."""
    answers = config.training_set.source is Source.ANSWERS
    return mode is EvaluationMode.FEW_SHOT_DIRECT or (mode is EvaluationMode.ADAPTER and answers)


def evaluation_params(config: StarConfig, mode: EvaluationMode) -> SamplingParams:
    """Greedy, whatever the job samples with: the paper reports greedy accuracy."""
    limit = config.generation.max_tokens
    if asked_directly(config, mode) and not config.is_chat:  # a chat model may think first, whatever shown
        limit = min(limit, DIRECT_MAX_TOKENS)
    return SamplingParams(temperature=0.0, max_tokens=limit, stop=config.stops, special=config.is_chat)


def evaluate(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    mode: EvaluationMode,
    iteration: int,
    done: Set[str],
) -> Iterator[EvaluatedAnswer]:
    """Ask every example whose id is not in `done`; yields in the order of finishing."""
    plan = plan_answers(config, prompt_set, examples, mode, iteration, done)
    for completion in sampler.stream(plan.queue, plan.params):
        yield plan.finish(completion)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The requests for held-out examples, and what becomes of each completion."""

    config: StarConfig
    mode: EvaluationMode
    asked: Mapping[str, Example]  # by id
    queue: deque[SampleRequest]
    opening: str = ""  # see PromptSet

    @property
    def params(self) -> SamplingParams:
        return evaluation_params(self.config, self.mode)

    def finish(self, completion: Completion) -> EvaluatedAnswer:
        return _answered(self.config, self.asked[completion.key], completion, self.mode, self.opening)


def plan_answers(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    mode: EvaluationMode,
    iteration: int,
    done: Set[str],
) -> EvaluationPlan:
    """The plan of asking every example whose id is not in `done`."""
    asked = {example.id: example for example in examples if example.id not in done}
    queue = deque(
        SampleRequest(example.id, evaluation_prompt(config, prompt_set, example, mode, iteration))
        for example in asked.values()
    )
    return EvaluationPlan(config, mode, asked, queue, prompt_set.opening)


def _answered(
    config: StarConfig, example: Example, completion: Completion, mode: EvaluationMode, opening: str
) -> EvaluatedAnswer:
    answer = judge(config, example, completion, direct=asked_directly(config, mode), opening=opening)
    return EvaluatedAnswer(
        example_id=example.id,
        group=example.group,
        text=answer.text,
        verdict=answer.verdict,
        extracted=answer.extracted,
        rule=answer.rule,
        prompt_tokens=completion.prompt_tokens,
        tokens=completion.tokens,
        finish_reason=answer.finish_reason,
        request_sha256=completion.request_sha256,
        reused=completion.reused,
    )


def outcome(verdict: str, finish_reason: str) -> str:
    """The verdict, with "truncated" for an unparsed text that ran into max_tokens."""
    return "truncated" if verdict == "unparsed" and finish_reason == "length" else verdict


def summarise(answers: Iterable[EvaluatedAnswer]) -> Accuracy:
    """Accuracy overall and per group."""
    groups: dict[str | None, Counter[str]] = {}
    for answer in answers:
        groups.setdefault(answer.group, Counter())[outcome(answer.verdict, answer.finish_reason)] += 1
    return accuracy_of(groups)


def accuracy_of(groups: Mapping[str | None, Mapping[str, int]]) -> Accuracy:
    """Accuracy of answers counted by group and `outcome`; None: those of no group."""
    overall: Counter[str] = Counter()
    for counts in groups.values():
        overall.update(counts)
    named = sorted(name for name in groups if name is not None)
    return Accuracy(tally(overall), {name: tally(groups[name]) for name in named})


def tally(counts: Mapping[str, int]) -> Tally:
    """The tally of answers counted by `outcome`."""
    return Tally(
        n=sum(counts.values()),
        correct=counts.get("correct", 0),
        wrong=counts.get("wrong", 0),
        unparsed=counts.get("unparsed", 0),
        truncated=counts.get("truncated", 0),
        ambiguous=counts.get("ambiguous", 0),
        error=counts.get("error", 0),
    )
