"""Which tries are paired: right with wrong ones of one question, evenly, and reproducibly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from star_engine.config.pairs import PairRules
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.training_set.pairs import DrawnPairs, Tried, draw_pairs


def tried(
    name: str,
    sample: int,
    verdict: str,
    text: str | None = None,
    *,
    route: Route = Route.GENERATED,
    cut: bool = False,
) -> Rationale:
    said = text or f"{name} {verdict} {sample}"
    key = RationaleKey(name, route, sample)
    return Rationale(key, said, verdict, None, "last", 3, 4, "length" if cut else "stop")


def drawn(
    tries: Sequence[Rationale], most: int = 8, seed: int = 0, negatives: Literal["wrong", "all"] = "wrong"
) -> DrawnPairs:
    rules = PairRules(per_example=most, negatives=negatives)
    return draw_pairs(["a", "b", "c"], [Tried(1, one) for one in tries], rules, seed)


def samples(found: DrawnPairs) -> list[tuple[int, int]]:
    return [(pair.chosen.key.key.sample, pair.rejected.key.key.sample) for pair in found.pairs]


MIXED = [tried("a", n, "correct" if n < 3 else "wrong") for n in range(9)]


def test_only_right_and_wrong_tries_at_one_question_are_paired() -> None:
    found = drawn([*MIXED, tried("b", 0, "correct"), tried("c", 0, "wrong"), tried("c", 1, "wrong")])
    assert {pair.chosen.key.key.example_id for pair in found.pairs} == {"a"}
    verdicts = {(pair.chosen.rationale.verdict, pair.rejected.rationale.verdict) for pair in found.pairs}
    assert verdicts == {("correct", "wrong")}
    assert (found.all_right, found.all_wrong) == (1, 1)


def test_no_text_is_in_more_pairs_than_an_even_share() -> None:
    found = drawn(MIXED)
    assert len(found.pairs) == len(set(samples(found))) == 8
    chosen = Counter(right for right, _ in samples(found))
    assert max(chosen.values()) == 3
    assert max(Counter(wrong for _, wrong in samples(found)).values()) <= 3


def test_all_pairs_are_taken_where_there_are_few() -> None:
    few = [tried("a", 0, "correct"), tried("a", 1, "correct"), tried("a", 2, "wrong")]
    assert sorted(samples(drawn(few))) == [(0, 2), (1, 2)]
    assert len(drawn(few, most=1).pairs) == 1


def test_pairs_depend_on_tries_and_seed_and_not_on_the_order_of_the_tries() -> None:
    assert drawn(MIXED) == drawn(list(reversed(MIXED)))
    assert drawn(MIXED, seed=1) != drawn(MIXED)


def test_what_says_nothing_was_cut_off_or_saw_the_answer_is_in_no_pair() -> None:
    unfit = [
        tried("a", 1, "unparsed"),
        tried("a", 2, "ambiguous"),
        tried("a", 3, "wrong", cut=True),
        tried("a", 0, "correct", route=Route.RATIONALIZED),
    ]
    assert drawn([tried("a", 0, "correct"), *unfit]).pairs == ()
    assert drawn([*unfit, tried("a", 9, "wrong")]).pairs == ()


def test_texts_that_differ_in_case_and_white_space_alone_are_one() -> None:
    alike = [
        tried("a", n, "wrong", text) for n, text in enumerate(("It is  8.", "it is 8.\n", "It is 8."), 1)
    ]
    assert samples(drawn([tried("a", 0, "correct"), *alike])) == [(0, 1)]


def test_unread_and_cut_texts_are_wrong_ones_only_where_asked_for() -> None:
    unread = [tried("a", 1, "unparsed"), tried("a", 2, "wrong", cut=True)]
    assert sorted(samples(drawn([tried("a", 0, "correct"), *unread], negatives="all"))) == [(0, 1), (0, 2)]


def test_texts_with_the_same_calculations_are_one_solution_and_others_are_not() -> None:
    right = tried("a", 0, "correct")
    texts = (
        "First 3 * 12 = 36. Then 36 + 4 = 40, so 40.",
        "She has 3*12=36 eggs, and 36 + 4 = 40 in all.",
        "First 3 * 12 = 36. Then 36 - 4 = 32, so 32.",
        "It is 3 + 4 = 7.",
        "Clearly 3 + 4 = 7.",
    )
    wrong = [tried("a", n, "wrong", text) for n, text in enumerate(texts, 1)]
    assert sorted(samples(drawn([right, *wrong]))) == [(0, 1), (0, 3), (0, 4), (0, 5)]


def test_of_equal_texts_the_newest_iterations_stays() -> None:
    same = tried("a", 0, "correct", "so it is 4")
    tries = [Tried(1, same), Tried(2, same), Tried(1, tried("a", 1, "wrong"))]
    [pair] = draw_pairs(["a"], tries, PairRules(), 0).pairs
    assert (pair.chosen.iteration, pair.rejected.iteration) == (2, 1)
