"""The held-out questions of one iteration and the tries of the next, in one call of the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, plan_answers
from star_engine.loop import Phase, PhaseName
from star_engine.protocols import Sampler
from star_engine.run_directory import JsonLines, RunDirectory, rationale_line
from star_engine.sampling.rationales import Rationale, plan_tries
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example, PromptSet


def ask_and_sample(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    held_out: Sequence[Example],
    examples: Sequence[Example],
    iteration: int,
    record: RunDirectory,
) -> Iterator[tuple[Phase, dict[str, Any]]]:
    """Record what `iteration` has not answered yet and what the one after it has not tried on `examples`.

    Yields the progress of both phases, to neither of which anything is left to ask. Nothing is done where the
    two decode differently. `sampler` holds the adapter of `iteration`.
    """
    mode = EvaluationMode.ADAPTER
    answered = {answer.example_id for answer in record.answers(iteration, mode)}
    recorded = {one.key: one.verdict for one in record.rationales(iteration + 1)}
    answers = plan_answers(config, prompt_set, held_out, mode, iteration, answered)
    tries = plan_tries(config, prompt_set, examples, iteration + 1, recorded)
    if answers.params != tries.params:
        return
    asked, tried = Phase(iteration, PhaseName.EVALUATE), Phase(iteration + 1, PhaseName.SAMPLE)
    counts = {asked: len(answered), tried: len(recorded)}
    with (
        JsonLines(record.answers_path(iteration, mode)) as answer_lines,
        JsonLines(record.rationales_path(iteration + 1)) as try_lines,
    ):
        for _, item in share_call(sampler, (answers, tries)):
            phase = asked if isinstance(item, EvaluatedAnswer) else tried
            counts[phase] += 1
            if isinstance(item, Rationale):
                try_lines.append(rationale_line(item))
                more: dict[str, Any] = {"verdict": str(item.verdict), "route": str(item.key.route)}
            else:
                answer_lines.append(asdict(item))
                more = {"of": len(held_out), "mode": str(mode)}
            yield phase, {"done": counts[phase], **more}
