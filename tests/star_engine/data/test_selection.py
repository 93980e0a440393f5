import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.schedules import EpochsSchedule, FixedSchedule, GeometricSchedule, LinearSchedule
from star_engine.config.star import StarConfig, Training
from star_engine.data.selection import (
    chance,
    check_curriculum,
    sample_seed,
    select_examples,
    select_train,
    shard_bounds,
    steps_in,
    training_seed,
)
from star_engine.tasks.kind import Kind


def test_geometric_schedule_gives_the_numbers_of_the_paper() -> None:
    steps = [steps_in(GeometricSchedule(), n) for n in range(1, 31)]
    assert steps[:10] == [40, 48, 57, 69, 82, 99, 119, 143, 171, 206]
    assert steps[29] == 7912
    assert sum(steps) == 47_259


def test_linear_schedule_gives_the_numbers_of_the_paper() -> None:
    assert [steps_in(LinearSchedule(), n) for n in (1, 2, 3, 16)] == [300, 320, 340, 600]


def test_a_schedule_is_held_at_its_largest_number_of_steps() -> None:
    held = GeometricSchedule(max_steps=7912)
    assert [steps_in(held, n) for n in (29, 30, 31, 200)] == [6593, 7912, 7912, 7912]
    assert steps_in(LinearSchedule(max_steps=310), 5) == 310


def test_a_fixed_schedule_never_changes() -> None:
    assert [steps_in(FixedSchedule(steps=7), n) for n in (1, 2, 200)] == [7, 7, 7]


def test_epochs_follow_the_size_of_the_training_set() -> None:
    def steps(epochs: float, rows: int, max_steps: int | None = None) -> int:
        schedule = EpochsSchedule(epochs=epochs, max_steps=max_steps)
        return steps_in(schedule, 3, rows=rows, batch_size=8)

    assert [steps(1, rows) for rows in (1, 8, 9, 80)] == [1, 1, 2, 10]
    assert (steps(2.5, 80), steps(0.1, 80), steps(2, 80, max_steps=15)) == (25, 1, 15)
    with pytest.raises(ValueError, match="how many rows"):
        steps_in(EpochsSchedule(), 1)


def test_every_kind_of_schedule_is_named_by_its_kind() -> None:
    for kind, made in (("fixed", FixedSchedule()), ("epochs", EpochsSchedule())):
        assert Training.model_validate({"schedule": {"kind": kind}}).schedule == made


def test_an_endless_factor_does_not_overflow() -> None:
    assert steps_in(GeometricSchedule(factor=1e300, max_steps=100), 200) == 100
    assert steps_in(GeometricSchedule(factor=1e300), 200) == 10**9


def test_iterations_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        steps_in(LinearSchedule(), 0)


@given(st.integers(0, 500), st.integers(1, 600), st.integers(0, 2**31 - 1), st.integers(0, 50))
def test_selection_draws_without_replacement_and_repeats_itself(
    count: int, wanted: int, seed: int, iteration: int
) -> None:
    drawn = select_examples(count, wanted, seed, iteration)
    assert len(drawn) == min(count, wanted)
    assert drawn == sorted(set(drawn))
    assert set(drawn) <= set(range(count))
    assert drawn == select_examples(count, wanted, seed, iteration)


def test_every_iteration_draws_other_examples_and_none_means_all() -> None:
    first, second = (select_examples(1000, 100, seed=1, iteration=n) for n in (1, 2))
    assert first != second
    assert 0 < len(set(first) & set(second)) < 40  # 10 expected by chance
    assert select_examples(5, None, seed=1, iteration=1) == [0, 1, 2, 3, 4]


GROUPS = ["1", "2", "3", None, "1", "2"]
STAGES = [{"from_iteration": 1, "groups": ["1"]}, {"from_iteration": 3, "groups": ["1", "2"]}]


def _staged(*stages: object, **settings: object) -> StarConfig:
    return StarConfig.model_validate({"kind": Kind.SCRATCHPAD, "curriculum": stages, **settings})


def test_a_curriculum_asks_only_the_groups_of_its_stage() -> None:
    asked = [select_train(_staged(*STAGES), 6, n, GROUPS) for n in (1, 2, 3, 9)]
    assert asked == [[0, 4], [0, 4], [0, 1, 4, 5], [0, 1, 4, 5]]
    some = select_train(_staged(*STAGES, examples_per_iteration=3), 6, 3, GROUPS)
    assert len(some) == 3
    assert set(some) < {0, 1, 4, 5}


def test_without_a_curriculum_every_group_is_asked_as_before() -> None:
    config = _staged(examples_per_iteration=40, seed=7)
    assert select_train(config, 100, 2) == select_examples(100, 40, 7, 2)


def test_a_curriculum_that_cannot_be_followed_is_refused() -> None:
    for stages in (STAGES[1:], STAGES[::-1], [STAGES[0], STAGES[0]]):
        with pytest.raises(ValueError, match="begins at from_iteration 1"):
            _staged(*stages)
    check_curriculum(_staged(*STAGES), GROUPS)
    with pytest.raises(ValueError, match=r"names the group '2'.*there are: 1, 3"):
        check_curriculum(_staged(*STAGES), ["1", "3", None])


def test_seeds_differ_in_every_argument_and_fit_31_bits() -> None:
    base = (7, 1, "row-1", "generated", 0)
    others = [(8, *base[1:]), (7, 2, *base[2:]), (7, 1, "row-2", "generated", 0)]
    others += [(7, 1, "row-1", "rationalized", 0), (7, 1, "row-1", "generated", 1)]
    seeds = {sample_seed(*arguments) for arguments in [base, *others]}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert training_seed(7, 1) != training_seed(7, 2)


def test_seeds_are_the_same_in_every_process() -> None:
    # Pinned: a resumed step in another process, or under another PYTHONHASHSEED, must draw the same.
    assert sample_seed(7, 1, "row-1", "generated", 0) == 826528543
    assert training_seed(7, 1) == 666047876
    assert select_examples(20, 5, seed=7, iteration=1) == [3, 8, 13, 15, 19]


def test_chance_is_spread_over_the_unit_interval() -> None:
    drawn = [chance(0, 1, "rationalize", f"row-{n}") for n in range(2000)]
    assert all(0 <= value < 1 for value in drawn)
    assert 0.45 < sum(value < 0.5 for value in drawn) / 2000 < 0.55


@given(st.integers(0, 5000), st.integers(1, 700))
def test_shards_cover_everything_once_and_evenly(count: int, size: int) -> None:
    bounds = shard_bounds(count, size)
    assert [n for start, stop in bounds for n in range(start, stop)] == list(range(count))
    sizes = [stop - start for start, stop in bounds]
    assert all(0 < length <= size for length in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_a_shard_holds_at_least_one_example() -> None:
    with pytest.raises(ValueError, match="at least one"):
        shard_bounds(10, 0)
