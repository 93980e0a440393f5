"""Tries: the sampled text, its verdict, and the loop that samples them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Literal

from star_engine.config.star import FewShot, Labels, StarConfig
from star_engine.config.training_set import Source
from star_engine.data.prompts import check_layout, direct_answer, render_prompt
from star_engine.data.selection import chance, sample_seed
from star_engine.protocols import Completion, Sampler, SampleRequest, SamplingParams
from star_engine.sampling.answers import end_for_hint, judge, judge_turns
from star_engine.sampling.hint_library import draw
from star_engine.sampling.tool_turns import Inserted, ToolTurns
from star_engine.tasks.examples import Example, PromptSet, without_gold
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode


class Route(StrEnum):
    GENERATED = "generated"  # without the hint
    RATIONALIZED = "rationalized"  # with the gold answer as a hint
    HINTED = "hinted"  # with a procedural hint in the text: see Hints
    GIVEN = "given"  # by the dataset, not sampled: see Source
    PROBE = "probe"  # without the hint, to find a temperature: see Controller
    MIXED = "mixed"  # by another dataset: see Mix; `sample` of the key is its place in training_set.mix


WITH_HINT = (Route.RATIONALIZED, Route.HINTED)


@dataclass(frozen=True, slots=True)
class RationaleKey:
    """Unique within an iteration."""

    example_id: str
    route: Route
    sample: int


@dataclass(frozen=True, slots=True)
class Rationale:
    key: RationaleKey
    text: str  # cut at the first stop; what is trained on
    verdict: str  # a VerdictCode; after a vote also one of star_engine.sampling.labels
    extracted: str | None
    rule: str
    prompt_tokens: int
    tokens: int
    finish_reason: Literal["stop", "length"]
    request_sha256: str | None = None  # the key under which the answer can be found again; None: it cannot
    reused: bool = False  # found so, instead of sampled
    checks: Mapping[str, bool] | None = None  # passed or not, by name; None: not checked
    tools: ToolUse | None = None  # None: it had none
    reward: float | None = None  # -1 to 1, by the scorer of a controller; None: there is none


def sampling_params(config: StarConfig) -> SamplingParams:
    """Return the sampling parameters of both routes. Greedy decoding resets top_p and top_k,
    which it ignores.
    """
    generation = config.generation
    greedy = generation.temperature == 0
    return SamplingParams(
        temperature=generation.temperature,
        top_p=1.0 if greedy else generation.top_p,
        top_k=0 if greedy else generation.top_k,
        max_tokens=generation.max_tokens,
        stop=config.stops,
        special=config.is_chat,
    )


def few_shot_in(setting: FewShot, iteration: int) -> bool:
    """Whether prompts of this iteration show the few-shot examples."""
    if isinstance(setting, int):
        return iteration <= setting
    return setting == "always" or iteration == 1


def rationale_prompt(
    config: StarConfig, prompt_set: PromptSet, example: Example, route: Route, iteration: int
) -> str:
    """The prompt that a try of this route and iteration is sampled from."""
    check_layout(config, prompt_set)
    if config.labels is Labels.MAJORITY_VOTE:
        example = without_gold(example)
    if route in (Route.GIVEN, Route.MIXED):  # sampled from none; it answers the bare question
        return render_prompt(config.kind, prompt_set, example, few_shot=False)
    hint = route is Route.RATIONALIZED
    setting = config.rationalization.few_shot if hint else config.generation.few_shot
    shown = few_shot_in(setting, iteration)
    template = config.rationalization.template
    return render_prompt(config.kind, prompt_set, example, hint=hint, few_shot=shown, hint_template=template)


def try_request(
    config: StarConfig, prompt_set: PromptSet, example: Example, key: RationaleKey, iteration: int
) -> SampleRequest:
    """What the sampler is asked for this try: the same for the same arguments, seed included."""
    prompt = rationale_prompt(config, prompt_set, example, key.route, iteration)
    seed = None
    if config.generation.temperature > 0:
        seed = sample_seed(config.seed, iteration, key.example_id, key.route, key.sample)
    return SampleRequest(f"{key.route}/{key.sample}/{key.example_id}", prompt, seed)


def sample_rationales(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    iteration: int,
    recorded: Mapping[RationaleKey, str],
) -> Iterator[Rationale]:
    """Sample and verify every try at these examples that is not in `recorded` (key to verdict).

    Which tries these are: see `SamplingPlan`. Yields in the order of finishing. Where the job's
    `training_set.source` is the dataset, nothing is sampled: see `given_rationales`.
    """
    if config.training_set.source is not Source.RATIONALES:
        yield from given_rationales(config, examples, recorded)
        return
    plan = plan_tries(config, prompt_set, examples, iteration, recorded)
    for completion in sampler.stream(plan.queue, plan.params):
        if (made := plan.finish(completion)) is not None:
            yield made


def plan_tries(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Iterable[Example],
    iteration: int,
    recorded: Mapping[RationaleKey, str],
    unhinted: Set[str] = frozenset(),
) -> SamplingPlan:
    """The plan of every try at these examples that is not in `recorded` (key to verdict).

    unhinted: ids of examples that are not rationalized, though they may fail.
    """
    plan = SamplingPlan(config, prompt_set, iteration, dict(recorded), unhinted)
    for example in examples:
        plan.begin(example)
    return plan


def given_rationales(
    config: StarConfig, examples: Iterable[Example], recorded: Mapping[RationaleKey, str]
) -> Iterator[Rationale]:
    """What the dataset itself gives to train on, verified like what a model writes. No token is generated."""
    direct = config.training_set.source is Source.ANSWERS
    for example in examples:
        key = RationaleKey(example.id, Route.GIVEN, 0)
        if key in recorded:
            continue
        yield given_rationale(config, example, key, direct=direct)


def given_rationale(config: StarConfig, example: Example, key: RationaleKey, *, direct: bool) -> Rationale:
    """The example's answer (direct) or its worked solution as a rationale, verified."""
    text = direct_answer(config.kind, example) if direct else example.solution or ""
    answer = judge(config, example, Completion(example.id, text, 0, 0, "stop"), direct=direct)
    return Rationale(key, answer.text, answer.verdict, answer.extracted, answer.rule, 0, 0, "stop")


def solved_examples(rationales: Iterable[Rationale]) -> set[str]:
    """Ids of the examples with a correct generated rationale: solved without the hint."""
    return {
        one.key.example_id
        for one in rationales
        if one.key.route is Route.GENERATED and one.verdict == VerdictCode.CORRECT
    }


@dataclass(slots=True)
class SamplingPlan:
    """The requests for the tries at some examples, and what becomes of each completion.

    Algorithm 1, lines 3 to 6: `samples_per_example` generated tries; where none of them is correct, one
    rationalized try, or the hinted ones. They join the queue as soon as the example's last generated try has
    failed, so no example waits for another. Which tries are made, their prompts and their seeds depend on
    what the plan was made of alone, never on the order in which completions finish.
    """

    config: StarConfig
    prompt_set: PromptSet
    iteration: int
    verdicts: dict[RationaleKey, str]
    unhinted: Set[str] = frozenset()  # examples that are not rationalized, by id
    queue: deque[SampleRequest] = field(default_factory=deque)
    asked: dict[str, tuple[Example, RationaleKey]] = field(default_factory=dict)
    turns: ToolTurns | None = field(init=False)  # None: no tool can be called

    def __post_init__(self) -> None:
        self.turns = tool_turns(self.config, self.params.max_tokens)

    @property
    def params(self) -> SamplingParams:
        return sampling_params(self.config)

    def begin(self, example: Example) -> None:
        missing = [key for key in self._generated(example) if key not in self.verdicts]
        for key in missing:
            self._ask(example, key)
        if not missing:
            self._rationalize(example)

    def finish(self, completion: Completion) -> Rationale | None:
        """None: the text goes on, with a request that has joined the queue."""
        example, key = self.asked[completion.key]
        opening, use = self.prompt_set.opening, None
        if self.turns is None:
            answer = judge(self.config, example, completion, opening=opening)
        else:
            found = self.turns.go_on(completion, partial(end_for_hint, self.config, example))
            if isinstance(found, SampleRequest):
                self.queue.append(found)
                return None
            answer, use = judge_turns(self.config, example, found, opening=opening)
            completion = found.completion
        del self.asked[completion.key]
        self.verdicts[key] = answer.verdict
        if key.route is Route.GENERATED:
            self._rationalize(example)
        return Rationale(
            key=key,
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
        )

    def _generated(self, example: Example) -> list[RationaleKey]:
        count = self.config.generation.samples_per_example
        return [RationaleKey(example.id, Route.GENERATED, sample) for sample in range(count)]

    def _rationalize(self, example: Example) -> None:
        """Ask for the tries with a hint, if all generated ones are in, none is right and the dice agree."""
        verdicts = [self.verdicts.get(key) for key in self._generated(example)]
        if None in verdicts or VerdictCode.CORRECT in verdicts:
            return
        if self.config.hints is not None and self.config.hinted_in(self.iteration):
            for sample in range(self.config.hints.tries):
                hinted = RationaleKey(example.id, Route.HINTED, sample)
                if hinted not in self.verdicts:
                    self._ask(example, hinted)
        key = RationaleKey(example.id, Route.RATIONALIZED, 0)
        if key in self.verdicts or example.id in self.unhinted:
            return
        rationalization = self.config.rationalization
        dice = chance(self.config.seed, self.iteration, "rationalize", example.id)
        if rationalization.enabled and dice < rationalization.probability:
            self._ask(example, key)

    def _ask(self, example: Example, key: RationaleKey) -> None:
        request = try_request(self.config, self.prompt_set, example, key, self.iteration)
        self.asked[request.key] = (example, key)
        if self.turns is not None:
            hint = inserted_hint(self.config, key, self.iteration)
            request = self.turns.begin(request, hint, lead=lead_of(self.config))
        self.queue.append(request)


def tool_turns(config: StarConfig, max_tokens: int) -> ToolTurns | None:
    """What takes the texts of a plan through their turns; None where no tool can be called."""
    tool = config.tools.python
    return None if tool is None else ToolTurns(config, tool, max_tokens)


def lead_of(config: StarConfig) -> str:
    """What stands between a prompt and what is put at a text's start."""
    return "" if config.is_chat else task_of(config.kind).layout.separator


def inserted_hint(config: StarConfig, key: RationaleKey, iteration: int) -> Inserted | None:
    """The hint of a hinted try, drawn by the job's seed; None for a try of another route."""
    hints = config.hints
    if hints is None or key.route is not Route.HINTED:
        return None
    name = f"{key.example_id}/{key.sample}"
    hint = draw(hints, config.tool_fence, chance(config.seed, iteration, "hint", name))
    word = None
    if hints.insert == "after_words":
        word = hints.words[int(chance(config.seed, iteration, "hint_word", name) * len(hints.words))]
    return Inserted(hint, at_start=hints.insert == "start", word=word)
