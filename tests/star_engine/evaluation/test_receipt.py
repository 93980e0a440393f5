"""What an adapter's receipt says, against whom, and what it takes to be promoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.presets import PRESETS
from star_engine.evaluation.answer import Verdict, Vote
from star_engine.evaluation.collapse import Measured, QuestionSpread, measure_collapse, pass_lines
from star_engine.evaluation.intervals import (
    difference_interval,
    level_for_best_of,
    mean_difference_interval,
    sign_test,
)
from star_engine.evaluation.receipt import Evidence, RivalKind, make_receipt, refusal
from star_engine.evaluation.report import ON_ANSWERS, Outcomes, method_of
from star_engine.tasks.kind import Kind
from tests.star_engine.evaluation.outcomes import measured, right


def test_every_rival_that_was_run_has_a_paired_test_and_every_other_is_named() -> None:
    evidence = Evidence(
        measured(40, direct=range(4), cot=range(10), m1=range(12), m2=range(2, 30)),
        direct=right(40, range(25)),
    )
    found = make_receipt(evidence, 2)
    assert (found.n, found.correct, found.chosen_from) == (40, 28, 2)
    by_kind = {one.kind: one.comparison for one in found.claims}
    few_shot = by_kind[RivalKind.FEW_SHOT].difference
    assert (few_shot.gained, few_shot.lost) == (20, 2)
    assert few_shot.p_value == min(1.0, 2 * sign_test(20, 2))
    assert few_shot.interval == difference_interval(20, 2, 40, level_for_best_of(2))
    assert by_kind[RivalKind.BASE_MODEL].difference.gained == 26
    assert by_kind[RivalKind.DIRECT_FINE_TUNING].verdict is Verdict.NO_DIFFERENCE
    assert [one.kind for one in found.not_run] == [RivalKind.MAJORITY_VOTE]
    assert "Not run: few-shot prompting with a majority vote." in found.sentence
    assert found.gain is not None
    assert (found.gain.kind, found.verdict) == (RivalKind.FEW_SHOT, Verdict.HELPED)
    assert refusal(found) is None


def test_the_gain_is_over_the_better_baseline_and_an_interval_with_0_is_refused() -> None:
    found = make_receipt(Evidence(measured(40, direct=range(12), cot=range(4), m1=range(2, 16))), 1)
    assert found.gain is not None
    assert found.gain.kind is RivalKind.BASE_MODEL
    assert found.gain.comparison.difference.interval.low <= 0
    said = refusal(found)
    assert said is not None
    assert said.startswith("Its gain over the base model, answering directly is +5.0 points on 40 held-out")
    assert said.endswith("which covers 0.")


def test_an_adapter_that_is_worse_is_refused_in_other_words() -> None:
    found = make_receipt(Evidence(measured(40, cot=range(30), m1=range(5))), 1)
    assert found.verdict is Verdict.WORSE
    assert str(refusal(found)).endswith("which lies below 0.")


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        (measured(40, cot=range(10)), "has not been evaluated"),
        (measured(40, m1=range(30)), "ran no baseline"),
    ],
)
def test_what_is_not_known_is_refused(outcomes: list[Outcomes], why: str) -> None:
    found = make_receipt(Evidence(outcomes), 1)
    assert found.verdict is Verdict.UNKNOWN
    assert why in str(refusal(found))


def test_the_vote_is_named_with_its_answers_and_direct_fine_tuning_is_no_rival_of_itself() -> None:
    vote = Vote(16, right(40, range(20)))
    evidence = Evidence(measured(40, cot=range(10), m1=range(30)), vote=vote)
    found = make_receipt(evidence, 1, ON_ANSWERS)
    assert "a majority vote of 16" in found.claims[-1].comparison.against
    assert [one.kind for one in found.not_run] == [RivalKind.BASE_MODEL]


def test_planned_iterations_widen_the_intervals_of_an_adapter_that_is_the_only_one() -> None:
    outcomes = measured(20, cot=range(4), m1=range(10))
    once, of_three = (make_receipt(Evidence(outcomes, planned=k), 1) for k in (1, 3))
    assert (once.verdict, of_three.verdict) == (Verdict.HELPED, Verdict.NO_DIFFERENCE)


def spread(right_answers: int, solutions: int, *passed: float) -> QuestionSpread:
    return QuestionSpread(right_answers, solutions, float(solutions), passed)


def test_pass_at_k_below_the_base_models_is_called_narrowing() -> None:
    base = Measured(0, (1, 8), {n: spread(2, 4, 0.2, 1.0) for n in range(40)})
    last = Measured(3, (1, 8), {n: spread(8 * (n < 20), 1, float(n < 20), float(n < 20)) for n in range(40)})
    found = measure_collapse([base, last], 3)
    assert found.pass_difference is not None
    assert (found.pass_difference.k, found.pass_difference.points) == (8, -0.5)
    assert found.pass_difference.narrowed
    assert found.adapter is not None
    assert found.base is not None
    assert (found.base.solutions, found.adapter.solutions) == (4, 1)
    assert [point.value for point in pass_lines(found)["adapter"]] == [0.5, 0.5]
    assert "training has narrowed what the model can solve" in " ".join(found.sentences)


def test_what_was_not_measured_is_null_and_says_nothing() -> None:
    found = measure_collapse([], 1)
    assert (found.base, found.adapter, found.pass_difference, found.sentences) == (None, None, None, ())


def test_newly_solved_and_forgotten_are_counted_on_questions_that_both_answered() -> None:
    [cot, own] = measured(10, cot=range(4), m1=range(2, 9))
    found = measure_collapse([], 1, own, cot).held_out
    assert found is not None
    assert (found.newly_solved, found.forgotten, found.retained, found.never) == (5, 2, 2, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_of_yes_and_no_the_interval_of_means_is_that_of_pairs(pairs: list[tuple[bool, bool]]) -> None:
    """But for the agreement with the sign test, which widens the one of pairs only."""
    gained = sum(one and not other for one, other in pairs)
    lost = sum(other and not one for one, other in pairs)
    found = mean_difference_interval([float(one) for one, _ in pairs], [float(other) for _, other in pairs])
    counted = difference_interval(gained, lost, len(pairs))
    assert counted.low <= found.low + 1e-9
    assert counted.high >= found.high - 1e-9
    if sign_test(gained, lost) < 0.05:
        assert (found.low, found.high) == pytest.approx((counted.low, counted.high))


def test_means_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="do not pair"):
        mean_difference_interval([0.5], [])


def test_a_report_names_the_method_that_made_the_adapters() -> None:
    names = {name: method_of(preset(Kind.NUMERIC)) for name, preset in PRESETS.items()}
    others = {name: method for name, method in names.items() if method != "STaR"}
    assert others == {
        "adastar": "AdaSTaR",
        "b-star": "B-STaR",
        "direct-fine-tune": "fine-tuning on the answers",
        "gold-rationale-fine-tune": "fine-tuning on the worked solutions",
        "iterative-rpo": "iterative RPO",
        "opsd": "on-policy self-distillation",
        "opsd-wrong-hint": "on-policy self-distillation with wrong hints",
        "start": "START",
        "v-star": "the generator of V-STaR",
    }
