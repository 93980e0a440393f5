"""What a job would do, in steps, passes and tokens: known before any of it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from app.data.tokenizers import count_tokens
from app.http.schemas import JsonObject
from app.ledger.queue.estimates import candidates_in, probed_twice, probes_in
from star_engine.config.star import StarConfig
from star_engine.data.selection import training_steps
from star_engine.evaluation.accuracy import adapter_modes
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import training_prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

COUNTED = 50  # examples whose training prompts are counted
BYTES_PER_TOKEN = 4  # of English text, where no tokenizer is at hand
# Tokens a second of one GPU, from a large model to a small one: where nothing has been measured.
TRAINED_PER_SECOND = (500, 20_000)
SAMPLED_PER_SECOND = (200, 10_000)


class RoughOut(BaseModel):
    low: float
    high: float


class WorkOut(BaseModel):
    """An upper bound where few examples are kept: as if each gave one row, and no iteration was spared."""

    iterations: int
    steps: Annotated[list[int], Field(description="Optimizer steps of each iteration.")]
    step_tokens: Annotated[int, Field(description="Tokens of an optimizer step, about.")]
    row_tokens: Annotated[int, Field(description="Tokens of a training row, about.")]
    passes: Annotated[list[float], Field(description="Passes over the training set in each iteration.")]
    tokens: Annotated[int, Field(description="Tokens trained on in all, about.")]
    tries: Annotated[int, Field(description="Texts sampled in all at most, hinted ones included.")]
    rough_gpu_seconds: Annotated[
        RoughOut, Field(description="On one GPU, by the speed of large and small models: no measurement.")
    ]
    memory_gib: Annotated[
        float | None,
        Field(description="Of a GPU's memory that a step on documents takes at most; null for other jobs."),
    ] = None
    checkpointed_memory_gib: Annotated[
        float | None,
        Field(description="The same with gradient checkpointing, which a worker with less free memory uses."),
    ] = None


def workload(
    config: StarConfig,
    splits: JsonObject,
    prompt_set: PromptSet,
    examples: Iterable[Example],
    tokenizer: Tokenizer | None,
    kept: int | None = None,
    after: int | None = None,
) -> WorkOut:
    """`examples`: of the train split, some of which are rendered to see how long a row is. kept: rows that an
    iteration is expected to keep; None: as if each example gave one. after: the last iteration that a fork
    takes over, which it does not do again; None: it is none.
    """
    train = int(splits.get("train", 0))
    asked = min(train, config.examples_per_iteration or train)
    last = 0 if config.baselines_only else config.iterations
    first = 1 + (after or 0)
    iterations = max(0, last + 1 - first)
    row = _row_tokens(config, prompt_set, list(islice(examples, COUNTED)), tokenizer)
    of_step = config.training.batch_tokens or config.training.batch_size * row
    rows = max(asked if kept is None else kept, 1)
    steps = [training_steps(config.training, n, rows, rows * row) for n in range(first, last + 1)]
    held_out = min(int(splits.get(config.evaluation.split, 0)), config.evaluation.max_examples or 10**9)
    a_turn = asked * (config.generation.samples_per_example + config.rationalization.enabled)
    a_turn += held_out * len(adapter_modes(config)) + probes_in(config, asked)
    a_turn += probed_twice(config, held_out or asked)
    tries = iterations * a_turn + (held_out * len(config.evaluation.baselines) if after is None else 0)
    if config.hints is not None:
        tries += max(0, min(last, config.hints.iterations) + 1 - first) * asked * config.hints.tries
    tries += held_out * candidates_in(config) * (2 if iterations else 1)
    trained, sampled = sum(steps) * of_step, tries * config.generation.max_tokens // 2
    slow, fast = (
        trained / learnt + sampled / made
        for learnt, made in zip(TRAINED_PER_SECOND, SAMPLED_PER_SECOND, strict=True)
    )
    return WorkOut(
        iterations=iterations,
        steps=steps,
        step_tokens=of_step,
        row_tokens=row,
        passes=[round(count * of_step / (rows * row), 2) for count in steps],
        tokens=trained,
        tries=tries,
        rough_gpu_seconds=RoughOut(low=round(fast, 1), high=round(slow, 1)),
    )


def _row_tokens(
    config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example], tokenizer: Tokenizer | None
) -> int:
    """Return the tokens of a mean training prompt plus a mean few-shot rationale."""

    def length(texts: Sequence[str]) -> float:
        if tokenizer is None:
            return sum(len(text.encode()) for text in texts) / BYTES_PER_TOKEN / max(len(texts), 1)
        return sum(count_tokens(tokenizer, text) for text in texts) / max(len(texts), 1)

    prompts = [training_prompt(config, prompt_set, example) for example in examples]
    rationales = [shown.rationale for shown in prompt_set.examples]
    return max(1, round(length(prompts) + length(rationales)) + 1)
