import heapq
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.presets import adastar
from star_engine.config.star import StarConfig
from star_engine.data.adaptive import (
    Outcome,
    Progress,
    Selected,
    begun,
    continued,
    in_turn,
    progress,
    selected_from,
    summary,
    wanted_rows,
)
from star_engine.data.selection import tie
from star_engine.tasks.kind import Kind

WRONG, RESCUED, RIGHT = Outcome(1, 0, 1, 0, 0), Outcome(1, 0, 1, 1, 1), Outcome(1, 1, 0, 0, 1)
EXAMPLES = 25
# What becomes of each example in each of six iterations.
FATES = st.lists(
    st.lists(st.sampled_from([WRONG, RESCUED, RIGHT]), min_size=EXAMPLES, max_size=EXAMPLES),
    min_size=1,
    max_size=6,
)


def config(**selection: object) -> StarConfig:
    preset = adastar(Kind.NUMERIC).model_dump(mode="json")
    preset["selection"] |= {"max_unsolved": None, **selection}
    return StarConfig.model_validate(preset)


def sampled(
    settings: StarConfig, number: int, history: Mapping[int, Selected], fate: list[Outcome], waves: int = 0
) -> Selected:
    """An iteration's selection, closed. `waves`: of how many examples; 0: as many as the engine asks for."""
    turn = in_turn(settings, number, range(len(fate)), progress(history))
    selected = begun(settings, number, turn, history.get(number - 1))
    if waves:
        selected = Selected(tuple(turn[:waves]), selected.wanted)
    while selected.used is None:
        selected = selected.found({at: fate[at] for at in selected.positions})
        after = continued(settings, turn, selected)
        if waves and after.used is None:
            after = Selected(tuple(turn[: len(selected.positions) + waves]), after.wanted, after.outcomes)
        selected = after
    return selected


def by_the_paper(settings: StarConfig, fates: list[list[Outcome]], rows: int) -> list[tuple[list[int], int]]:
    """Algorithm 1 with a heap: what each iteration takes from its front, and how many it pops."""
    heap = [(0, 0.0, tie(settings.seed, at), at) for at in range(EXAMPLES)]
    heapq.heapify(heap)
    taken = []
    for number, fate in enumerate(fates, 1):
        got, seen, rates = 0, [], []
        for *_, at in heapq.nsmallest(EXAMPLES, heap):
            if got >= rows:
                break
            seen.append(at)
            rates.append(float(fate[at] is not WRONG))
            got += fate[at].rows
        popped = math.floor(len(seen) * (sum(rates) / len(seen)) ** 2)
        for at in [heapq.heappop(heap)[-1] for _ in range(popped)]:
            made = fate[at].tries + fate[at].hinted
            won = fate[at].right + fate[at].hinted_right
            heapq.heappush(heap, (number, won / made, tie(settings.seed, at), at))
        taken.append((seen, popped))
    return taken


@given(fates=FATES, rows=st.integers(1, 60))
def test_iterations_take_and_finish_what_the_papers_heap_does(fates: list[list[Outcome]], rows: int) -> None:
    settings = config(rows=rows)
    history: dict[int, Selected] = {}
    for number, fate in enumerate(fates, 1):
        history[number] = sampled(settings, number, history, fate)
    found = [(list(one.used_positions), one.done_with) for one in history.values()]
    assert found == by_the_paper(settings, fates, rows)


@given(fates=FATES, rows=st.integers(1, 60), waves=st.integers(1, 15))
def test_what_is_used_does_not_hang_on_the_size_of_waves(
    fates: list[list[Outcome]], rows: int, waves: int
) -> None:
    settings = config(rows=rows)
    one: dict[int, Selected] = {}
    other: dict[int, Selected] = {}
    for number, fate in enumerate(fates, 1):
        one[number] = sampled(settings, number, one, fate)
        other[number] = sampled(settings, number, other, fate, waves)
        assert one[number].used_positions == other[number].used_positions
        assert one[number].done_with == other[number].done_with
    assert progress(one) == progress(other)


@given(fates=FATES, rows=st.integers(1, 60))
def test_a_selection_is_the_shortest_prefix_with_its_rows_and_survives_its_record(
    fates: list[list[Outcome]], rows: int
) -> None:
    selected = sampled(config(rows=rows), 1, {}, fates[0])
    used = [selected.outcomes[at].rows for at in selected.used_positions]
    if sum(used) < rows:
        assert len(selected.used_positions) == EXAMPLES
    else:
        assert sum(used[:-1]) < rows
    assert sorted({*selected.used_positions, *selected.surplus}) == sorted(selected.positions)
    assert selected_from(selected.as_json()) == selected
    said = summary(selected)
    assert (said["used"] + said["surplus"], said["rows"]) == (said["asked"], sum(used))


def test_the_least_solved_of_the_oldest_come_first() -> None:
    known = {0: Progress(2, 0.0), 1: Progress(1, 1.0), 2: Progress(1, 0.5), 3: Progress(1, 0.0)}
    assert in_turn(config(rows=1), 3, range(5), known) == [4, 3, 2, 1, 0]


def test_examples_that_are_equal_come_in_no_order_of_the_dataset() -> None:
    turn = in_turn(config(rows=1), 1, range(200), {})
    assert sorted(turn) == list(range(200)) != turn
    assert turn != in_turn(config(rows=1).model_copy(update={"seed": 1}), 1, range(200), {})


def test_rows_follow_from_the_optimizer_steps() -> None:
    assert [wanted_rows(config(), n) for n in (1, 2, 3)] == [320, 384, 456]
    assert wanted_rows(config(rows=50), 3) == 50
    assert wanted_rows(config(order="drawn"), 1) is None


def test_an_example_that_was_solved_is_skipped_for_so_many_iterations() -> None:
    settings = config(order="drawn", skip_solved_for=2)
    history: dict[int, Selected] = {}
    asked = []
    for number in range(1, 6):
        history[number] = sampled(settings, number, history, [RIGHT, WRONG, RESCUED])
        asked.append(history[number].positions)
    assert asked == [(0, 1, 2), (1, 2), (1, 2), (0, 1, 2), (1, 2)]


def test_where_everything_is_solved_nothing_is_skipped() -> None:
    settings = config(order="drawn", skip_solved_for=2)
    history = {1: sampled(settings, 1, {}, [RIGHT, RIGHT])}
    assert in_turn(settings, 2, range(2), progress(history)) == [0, 1]


def test_an_example_without_a_right_try_is_given_up_after_so_many_iterations() -> None:
    settings = config(rows=5, max_unsolved=2)
    history: dict[int, Selected] = {}
    for number in (1, 2, 3):
        history[number] = sampled(settings, number, history, [RIGHT, WRONG, RIGHT])
    assert [1 in one.positions for one in history.values()] == [True, True, False]


def test_a_wave_without_its_outcomes_is_not_judged() -> None:
    selected = begun(config(rows=5), 1, range(10), None)
    with pytest.raises(ValueError, match="position 0 has been selected and not been sampled"):
        continued(config(rows=5), range(10), selected)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"training": {"schedule": {"kind": "epochs"}}, "selection": {"order": "adaptive"}},
            "selection.rows",
        ),
        ({"training": {"batch_tokens": 512}, "selection": {"order": "adaptive"}}, "selection.rows"),
        (
            {
                "labels": "majority_vote",
                "selection": {"skip_solved_for": 1},
                "generation": {"samples_per_example": 4, "temperature": 0.7},
                "rationalization": {"enabled": False},
            },
            "majority vote must not see",
        ),
        (
            {
                "training_set": {"source": "answers", "filters": []},
                "selection": {"skip_solved_for": 1},
                "iterations": 1,
                "rationalization": {"enabled": False},
            },
            "samples nothing to select by",
        ),
    ],
)
def test_what_contradicts_a_selection_is_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        StarConfig.model_validate({"kind": "numeric", **settings})


@given(fates=FATES, easy=st.booleans(), per_iteration=st.integers(1, EXAMPLES))
def test_by_difficulty_comes_what_none_has_asked_then_the_last_win_rates(
    fates: list[list[Outcome]], easy: bool, per_iteration: int
) -> None:
    chosen = {"order": "easy_first" if easy else "hard_first"}
    given = {"examples_per_iteration": per_iteration, "selection": chosen}
    settings = StarConfig.model_validate(config().model_dump(mode="json") | given)
    history: dict[int, Selected] = {}
    rates: dict[int, float] = {}  # by position, of the last iteration that asked it
    for number, fate in enumerate(fates, 1):
        selected = sampled(settings, number, history, fate)
        wanted = sorted(
            range(EXAMPLES),
            key=lambda at: (at in rates, (-1 if easy else 1) * rates.get(at, 0), tie(settings.seed, at)),
        )
        assert selected.positions == tuple(wanted[:per_iteration])
        assert (selected.surplus, selected.done_with) == ((), per_iteration)
        rates |= {at: fate[at].win_rate for at in selected.positions}
        history[number] = selected


@given(fates=FATES, rows=st.integers(1, EXAMPLES))
def test_by_difficulty_an_iteration_may_end_with_its_rows_too(fates: list[list[Outcome]], rows: int) -> None:
    settings = config(order="hard_first", rows=rows)
    assert wanted_rows(settings, 1) == rows
    selected = sampled(settings, 1, {}, fates[0])
    got = [fates[0][at].rows for at in selected.used_positions]
    assert sum(got) >= rows or len(got) == EXAMPLES
    assert sum(got[:-1]) < rows


def test_an_order_by_difficulty_needs_fewer_than_all() -> None:
    with pytest.raises(ValueError, match="set examples_per_iteration or"):
        config(order="easy_first", rows=None)


@given(fates=FATES)
def test_failures_are_counted_in_a_row_and_a_hint_solves_nothing(fates: list[list[Outcome]]) -> None:
    history: dict[int, Selected] = {}
    for number, fate in enumerate(fates, 1):
        history[number] = sampled(
            config(order="drawn", skip_solved_for=0, max_unsolved=99), number, history, fate
        )
    for at, known in progress(history).items():
        in_row = 0
        for fate in fates:
            in_row = 0 if fate[at] is RIGHT else in_row + 1
        assert known.unsolved == in_row
