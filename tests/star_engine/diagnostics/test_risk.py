"""Risk: of which kept texts a right answer proves least; the figures are worked out by hand."""

from __future__ import annotations

import pytest

from star_engine.diagnostics.risk import Tried, disagreement_of, luck_of, risk_of
from star_engine.sampling.rationales import Route


@pytest.mark.parametrize(
    ("made", "right", "chance", "luck"),
    [
        (8, 8, 0.2, 0.1 * 0.2 / 0.8 / 0.9),  # w = .9, k = .875: .125 * .2 / .9
        (8, 1, 0.2, 1.0),  # w = .2 is what guessing gets
        (1, 1, 0.5, 0.5),  # w = 2/3, k = 1/3: 2/3 * 1/2 / (2/3)
        (3, 2, 0.0, 0.0),  # nobody guesses a program
        (2, 2, 1.0, 1.0),  # every answer is right
    ],
)
def test_luck_of_a_generated_text_follows_from_win_rate_and_chance(
    made: int, right: int, chance: float, luck: float
) -> None:
    assert luck_of(Route.GENERATED, Tried(made, right), chance) == pytest.approx(luck)


def test_luck_of_a_rationalized_text_is_that_the_model_would_have_failed_without_its_hint() -> None:
    assert luck_of(Route.RATIONALIZED, Tried(8, 0), 0.0) == pytest.approx(0.9)
    assert luck_of(Route.RATIONALIZED, Tried(0, 0), 0.0) == pytest.approx(0.5)
    assert luck_of(Route.RATIONALIZED, Tried(8, 0), 0.2) == 1.0


def test_disagreement_leaves_the_text_itself_out() -> None:
    assert disagreement_of(Route.GENERATED, Tried(8, 1)) == pytest.approx(8 / 9)  # 7 others, all wrong
    assert disagreement_of(Route.GENERATED, Tried(1, 1)) == pytest.approx(1 / 2)  # none: nothing is known
    assert disagreement_of(Route.RATIONALIZED, Tried(2, 0)) == pytest.approx(3 / 4)


def test_a_second_opinion_against_the_text_is_full_disagreement() -> None:
    tries = Tried(8, 8)
    for opinion, disagreement in ((None, 1 / 9), (True, 1 / 9), (False, 1.0)):
        found = risk_of(Route.GENERATED, tries, 0.2, opinion)
        assert found.disagreement == pytest.approx(disagreement)
        assert found.value == found.luck * found.disagreement
