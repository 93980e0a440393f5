"""Whether the same request brings the same completion: a few tries are generated twice and graded."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.selection import chance
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.answers import Answer, judge
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, SamplingPlan, try_request
from star_engine.tasks.examples import Example


def drawn_again(config: StarConfig, iteration: int, examples: Sequence[Example]) -> list[Example]:
    """The examples whose first generated try is generated a second time, drawn by the job's seed.

    None where tries may call a tool: they come in turns, and of each turn the same is asked only if the one
    before was the same.
    """
    if config.tools.python is not None:
        return []
    by_lot = sorted(examples, key=lambda one: chance(config.seed, iteration, "determinism", one.id))
    return by_lot[: config.audits.determinism]


@dataclass(slots=True)
class TwicePlan:
    """A plan of tries which also generates the first try of the examples `again` a second time.

    With the same prompt and seed, behind all that the tries ask at first: other requests run beside the
    second one, and nothing waits for it. A batch of their own would keep a small iteration from its training
    for a tenth of the time that sampling takes.
    """

    tries: SamplingPlan
    again: Sequence[Example]
    answers: dict[RationaleKey, Answer] = field(default_factory=dict)  # of the second time
    _asked: dict[str, tuple[Example, RationaleKey]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tries = self.tries
        for example in self.again:
            key = RationaleKey(example.id, Route.GENERATED, 0)
            request = try_request(tries.config, tries.prompt_set, example, key, tries.iteration)
            request = replace(request, key=f"again/{request.key}", regenerate=True)
            self._asked[request.key] = (example, key)
            tries.queue.append(request)

    @property
    def queue(self) -> deque[SampleRequest]:
        return self.tries.queue

    @property
    def params(self) -> SamplingParams:
        return self.tries.params

    def finish(self, completion: Completion) -> Rationale | None:
        """None: it was a second time."""
        if completion.key not in self._asked:
            return self.tries.finish(completion)
        example, key = self._asked.pop(completion.key)
        self.answers[key] = judge(self.tries.config, example, completion)
        return None


def grade_determinism(
    answers: Mapping[RationaleKey, Answer], tries: Mapping[RationaleKey, Rationale]
) -> dict[str, Any]:
    """Hold the answers of the second time against the recorded tries, which hold those of the first.

    grade: exact, where all texts are the same to the byte; answers, where only the verdicts and the extracted
    answers are; differs; unknown, where nothing was asked. On a GPU a batch of another size rounds
    differently, so that "answers" is usual there.
    """
    pairs = [(answer, tries[key]) for key, answer in answers.items()]
    texts = sum(one.text == first.text for one, first in pairs)
    same = sum((one.verdict, one.extracted) == (first.verdict, first.extracted) for one, first in pairs)
    grade = "exact" if texts == len(pairs) else "answers" if same == len(pairs) else "differs"
    return {
        "checked": len(pairs),
        "same_text": texts,
        "same_answer": same,
        "grade": grade if pairs else "unknown",
    }
