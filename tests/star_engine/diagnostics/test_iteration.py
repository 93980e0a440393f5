"""What an iteration's audit tells before its rows are trained."""

from __future__ import annotations

from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.diagnostics.iteration import Before, audit_iteration
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.training_set.rows import Decision

SHOWN = PromptSet(Kind.NUMERIC, (FewShotExample("How many?", "1 + 1 = 2.\n#### 2", "2"),))


def audited(
    generated: int, rationalized: int, *, text: str = "48 + 24 = 72.\n#### 72", **options: Any
) -> dict[str, Any]:
    routes = [Route.GENERATED] * generated + [Route.RATIONALIZED] * rationalized
    examples = [Example(str(n), "How many clips?", "72") for n in range(len(routes))]
    tries = [
        Rationale(RationaleKey(str(n), route, 0), text, "correct", "72", "hashes", 5, 9, "stop")
        for n, route in enumerate(routes)
    ]
    config = StarConfig(kind=Kind.NUMERIC, training_set=TrainingSetOptions(**options))
    decisions = [Decision(one.key, True, "kept", 5 if n == 0 else None) for n, one in enumerate(tries)]
    before = Before(taught=frozenset({"0"}))
    return dict(audit_iteration(config, SHOWN, 2, examples, tries, decisions, before))


@pytest.mark.parametrize(
    ("generated", "rationalized", "words"),
    [
        (60, 0, []),
        (49, 0, ["Only 49 rows"]),
        (30, 30, []),
        (29, 31, ["31 of 60 rows come from hints", "it costs 31 greedy completions"]),
        (0, 60, ["All rows come from hints", "it costs 60 greedy completions"]),
        (0, 10, ["Only 10 rows", "All rows come from hints"]),
    ],
)
def test_few_rows_and_mostly_hinted_ones_are_told(
    generated: int, rationalized: int, words: list[str]
) -> None:
    told = " ".join(audited(generated, rationalized)["before_training"])
    assert bool(told) is bool(words)
    assert all(one in told for one in words)


def test_the_check_hint_free_is_not_offered_where_it_is_made() -> None:
    [told] = audited(0, 60, checks=("hint_free",))["before_training"]
    assert "hint_free" not in told


def test_generated_texts_that_speak_of_a_hint_are_counted_and_cut_ones_too() -> None:
    found = audited(3, 2, text="To arrive at the given answer, add 24: 72.\n#### 72")
    assert found["hint_talk"] == {"generated": 3, "speaking": 3}
    assert audited(3, 2)["hint_talk"] == {"generated": 3, "speaking": 0}
    assert found["answer_end"] == {"kept": 5, "cut": 1}
