"""The funnel: every reason belongs to one stage, and the counts sum exactly."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_engine.config.star import StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.filters.funnel import KEPT, STAGES, funnel
from star_engine.filters.registry import FILTERS, REASONS
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.verify import verify
from star_engine.training_set.rows import decide

FATES = st.lists(
    st.tuples(
        st.sampled_from(["generated", "rationalized"]),
        st.sampled_from([KEPT, *REASONS]),
        st.integers(0, 1000),
    )
)
TEXTS = st.sampled_from(
    [
        "Half of 144 is 72. #### 72",
        "half of 144  is 72. #### 72",
        "#### 72",
        "144 / 2 = 71, so 72. #### 72",
        "As given, it is 72 or so in all. #### 72",
        "Six dozens are 72. #### 72",
        "Seven dozens are 84. #### 84",
        "It is one of many. #### 72 #### 7",
        "Nobody knows.",
    ]
)
TRIES = st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(Route), TEXTS, st.booleans()))


def test_every_reason_belongs_to_exactly_one_stage() -> None:
    placed = Counter(reason for reasons in STAGES.values() for reason in reasons)
    assert placed == Counter(REASONS.keys())


@given(FATES)
def test_what_a_stage_loses_is_the_sum_of_its_reasons(fates: list[tuple[str, str, int]]) -> None:
    for route, reached in funnel(fates).items():
        counts: Counter[str] = Counter()
        for other, reason, count in fates:
            counts[reason] += count if other == route else 0
        assert list(reached) == list(STAGES)
        assert reached["sampled"] == counts.total()
        assert reached["trained"] == counts[KEPT]
        before = reached["sampled"]
        for stage, reasons in STAGES.items():
            assert before - reached[stage] == sum(counts[reason] for reason in reasons)
            before = reached[stage]


def test_a_reason_that_no_stage_knows_is_refused_instead_of_falling_out_of_the_sum() -> None:
    with pytest.raises(ValueError, match="'mood'"):
        funnel([("generated", "mood", 1)])


@settings(deadline=None)  # on a busy machine the first examples take longer than its 200 ms
@given(TRIES)
def test_the_funnel_of_real_decisions_sums_and_tells_unparsed_from_wrong(
    tries: list[tuple[str, Route, str, bool]],
) -> None:
    rationales = [
        Rationale(
            RationaleKey(example, route, sample),
            text,
            verify("numeric", text, "72").verdict,
            None,
            "",
            1,
            1,
            "length" if cut else "stop",
        )
        for sample, (example, route, text, cut) in enumerate(tries)
    ]
    examples = [Example(name, "How many are half of 144?", "72") for name in "xy"]
    options = TrainingSetOptions(filters=tuple(FILTERS), max_per_example=2)
    config = StarConfig(kind=Kind.NUMERIC, training_set=options)
    decisions = decide(config, PromptSet(Kind.NUMERIC, ()), examples, rationales)
    found = funnel((str(d.key.route), d.reason, 1) for d in decisions)
    assert sum(reached["sampled"] for reached in found.values()) == len(rationales)
    assert sum(reached["trained"] for reached in found.values()) == sum(d.kept for d in decisions)
    wrong = sum(reached["answered"] - reached["correct"] for reached in found.values())
    assert wrong == sum(r.verdict == "wrong" for r in rationales)
