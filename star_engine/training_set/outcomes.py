"""What an iteration's tries at each example came to: what the selection of later examples goes by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from star_engine.config.star import StarConfig
from star_engine.data.adaptive import Outcome
from star_engine.sampling.rationales import WITH_HINT, Rationale, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import decide


def outcomes_of(
    config: StarConfig,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
    *,
    hinted: bool = False,
) -> dict[str, Outcome]:
    """The outcome of each example by its id, from all tries at it.

    `rows` are those that `decide` keeps: an example's decisions hang on its own tries alone, and on whether
    the iteration has hinted ones.
    """
    decisions = decide(config, prompt_set, examples, tries, hinted=hinted)
    kept = Counter(one.key.example_id for one in decisions if one.kept)
    counts: dict[str, Counter[tuple[Route, bool]]] = defaultdict(Counter)
    for one in tries:
        counts[one.key.example_id][one.key.route, one.verdict == VerdictCode.CORRECT] += 1
    return {example.id: _outcome(counts[example.id], kept[example.id]) for example in examples}


def _outcome(counts: Counter[tuple[Route, bool]], rows: int) -> Outcome:
    right = counts[Route.GENERATED, True]
    hinted_right = sum(counts[route, True] for route in WITH_HINT)
    return Outcome(
        tries=right + counts[Route.GENERATED, False],
        right=right,
        hinted=hinted_right + sum(counts[route, False] for route in WITH_HINT),
        hinted_right=hinted_right,
        rows=rows,
    )
