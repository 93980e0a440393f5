"""Accuracy on held-out examples: of the few-shot base model and of each iteration's adapter."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source
from star_engine.data.prompts import check_layout, render_conversation, render_prompt
from star_engine.data.selection import select_examples
from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams
from star_engine.sampling.answers import Answer, end_for_hint, judge, judge_turns
from star_engine.sampling.rationales import (
    RationaleKey,
    Route,
    few_shot_in,
    inserted_hint,
    lead_of,
    tool_turns,
)
from star_engine.sampling.tool_turns import ToolTurns
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.programs.tool_use import ToolUse

DIRECT_MAX_TOKENS = 64  # an answer alone; 10 digits with spaces are 20 tokens for a character-level model


class EvaluationMode(StrEnum):
    FEW_SHOT_DIRECT = "few_shot_direct"  # base model, few-shot examples without rationale
    FEW_SHOT_COT = "few_shot_cot"  # base model, few-shot examples with rationale
    ADAPTER = "adapter"  # an iteration's model; directly, where it was trained on answers alone
    ADAPTER_WITHOUT_TOOLS = "adapter_without_tools"  # the same with nothing to call
    ADAPTER_HINTED = "adapter_hinted"  # the same with a procedural hint in each answer
    ADAPTER_WITHOUT_THOUGHTS = "adapter_without_thoughts"  # of one that thinks between tokens


WITH_A_TOOL = (EvaluationMode.ADAPTER, EvaluationMode.ADAPTER_WITHOUT_TOOLS, EvaluationMode.ADAPTER_HINTED)
OF_ADAPTER = (*WITH_A_TOOL, EvaluationMode.ADAPTER_WITHOUT_THOUGHTS)
# Measured beside an adapter's own answers; no report, receipt or stop rule reads them.
BESIDE = OF_ADAPTER[1:]
COMPARED = tuple(mode for mode in EvaluationMode if mode not in BESIDE)
WITHOUT_TOOLS = (EvaluationMode.FEW_SHOT_DIRECT, EvaluationMode.ADAPTER_WITHOUT_TOOLS)


def adapter_modes(config: StarConfig) -> tuple[EvaluationMode, ...]:
    """How an iteration's model is asked: one with a tool also without it, and with the job's hints; one that
    thinks between tokens also without its thoughts.
    """
    if config.evaluation.without_thoughts:
        return (EvaluationMode.ADAPTER, EvaluationMode.ADAPTER_WITHOUT_THOUGHTS)
    if config.tools.python is None:
        return (EvaluationMode.ADAPTER,)
    return WITH_A_TOOL if config.hints is not None else WITH_A_TOOL[:2]


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
    tools: ToolUse | None = None  # as of a rationale
    thoughts: tuple[tuple[str, str], ...] = ()  # as of a completion


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
    shown = mode not in OF_ADAPTER or _shown_to_adapter(config, iteration)
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
    return mode is EvaluationMode.FEW_SHOT_DIRECT or (mode in OF_ADAPTER and answers)


def evaluation_params(config: StarConfig, mode: EvaluationMode) -> SamplingParams:
    """Greedy, whatever the job samples with: the paper reports greedy accuracy."""
    limit = config.generation.max_tokens
    if asked_directly(config, mode) and not config.is_chat:  # a chat model may think first, whatever shown
        limit = min(limit, DIRECT_MAX_TOKENS)
    return SamplingParams(
        temperature=0.0,
        max_tokens=limit,
        stop=config.stops,
        special=config.is_chat,
        without_thoughts=mode is EvaluationMode.ADAPTER_WITHOUT_THOUGHTS,
    )


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
        if (answer := plan.finish(completion)) is not None:
            yield answer


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """The requests for held-out examples, and what becomes of each completion."""

    config: StarConfig
    mode: EvaluationMode
    asked: Mapping[str, Example]  # by id
    queue: deque[SampleRequest]
    opening: str = ""  # see PromptSet
    turns: ToolTurns | None = None  # None: no tool can be called

    @property
    def params(self) -> SamplingParams:
        return evaluation_params(self.config, self.mode)

    def finish(self, completion: Completion) -> EvaluatedAnswer | None:
        """None: the text goes on, with a request that has joined the queue."""
        example, direct = self.asked[completion.key], asked_directly(self.config, self.mode)
        if self.turns is None:
            answer = judge(self.config, example, completion, direct=direct, opening=self.opening)
            return _answered(example, completion, answer)
        found = self.turns.go_on(completion, partial(end_for_hint, self.config, example))
        if isinstance(found, SampleRequest):
            self.queue.append(found)
            return None
        answer, use = judge_turns(self.config, example, found, direct=direct, opening=self.opening)
        return _answered(example, found.completion, answer, use)


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
    turns = None
    if mode not in WITHOUT_TOOLS:
        turns = tool_turns(config, evaluation_params(config, mode).max_tokens)
    if turns is not None:
        queue = deque(_first_turn(config, turns, request, mode) for request in queue)
    return EvaluationPlan(config, mode, asked, queue, prompt_set.opening, turns)


def _first_turn(
    config: StarConfig, turns: ToolTurns, request: SampleRequest, mode: EvaluationMode
) -> SampleRequest:
    """The request of a text that may call a tool; hints are drawn as for a try of iteration 0."""
    inserted = None
    if mode is EvaluationMode.ADAPTER_HINTED:
        inserted = inserted_hint(config, RationaleKey(request.key, Route.HINTED, 0), 0)
    return turns.begin(request, inserted, lead=lead_of(config))


def _answered(
    example: Example, completion: Completion, answer: Answer, use: ToolUse | None = None
) -> EvaluatedAnswer:
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
        tools=use,
        thoughts=completion.thoughts,
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
