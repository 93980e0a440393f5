"""Whether the same request brings the same completion: a few tries are generated twice and graded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from star_engine.answers import judge
from star_engine.config import StarConfig
from star_engine.examples import Example, PromptSet
from star_engine.protocols import Sampler
from star_engine.rationales import Rationale, RationaleKey, Route, sampling_params, try_request
from star_engine.schedule import chance


def drawn_again(config: StarConfig, iteration: int, examples: Sequence[Example]) -> list[Example]:
    """The examples whose first generated try is generated a second time, drawn by the job's seed."""
    by_lot = sorted(examples, key=lambda one: chance(config.seed, iteration, "determinism", one.id))
    return by_lot[: config.audits.determinism]


def grade_determinism(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Sequence[Example],
    tries: Mapping[RationaleKey, Rationale],
) -> dict[str, Any]:
    """Ask for the first try of these examples again, with the same prompt and seed, in a batch of their own.

    grade: exact, where all texts are the same to the byte; answers, where only the verdicts and the extracted
    answers are; differs; unknown, where nothing was asked. On a GPU a batch of another size rounds
    differently, so that "answers" is usual there.
    """
    keys = {RationaleKey(example.id, Route.GENERATED, 0): example for example in examples}
    again = {key: example for key, example in keys.items() if key in tries}
    requests = {
        request.key: (key, request)
        for key, example in again.items()
        for request in [try_request(config, prompt_set, example, key, iteration)]
    }
    texts = answers = 0
    queue = deque(request for _, request in requests.values())
    for completion in sampler.stream(queue, sampling_params(config)):
        key, _ = requests[completion.key]
        found, first = judge(config, again[key], completion), tries[key]
        texts += found.text == first.text
        answers += (found.verdict, found.extracted) == (first.verdict, first.extracted)
    grade = "exact" if texts == len(again) else "answers" if answers == len(again) else "differs"
    return {
        "checked": len(again),
        "same_text": texts,
        "same_answer": answers,
        "grade": grade if again else "unknown",
    }
