"""What of a batch runs at once."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain

import pytest

from star_engine.gpu.training.batch_plan import LEAST_PREFIX, common_prefixes, micro_batches, plan_batch
from star_engine.gpu.training.tokenized_rows import TokenizedRow


def row_of(length: int) -> TokenizedRow:
    return TokenizedRow(tuple(range(length)), 1)


def behind(prefix: range, *own: int) -> TokenizedRow:
    return TokenizedRow((*prefix, *own), len(prefix) + 1)


def test_micro_batches_hold_every_row_and_stay_below_the_limit_with_padding() -> None:
    lengths = [5, 900, 40, 41, 600, 620, 39, 38, 1500, 10]
    made = micro_batches([row_of(length) for length in lengths], 1300)
    assert sorted(len(row.ids) for part in made for row in part) == sorted(lengths)
    for part in made:
        assert len(part) == 1 or max(len(row.ids) for row in part) * len(part) <= 1300


def test_micro_batches_part_long_rows_from_short_ones() -> None:
    made = micro_batches([row_of(length) for length in [600, 590, 580, 50, 40]], 4096)
    assert [[len(row.ids) for row in part] for part in made] == [[600, 590, 580], [50, 40]]


def test_the_limit_counts_the_prefix_once() -> None:
    rows = [row_of(length) for length in [140, 139, 138, 137]]
    assert [len(part) for part in micro_batches(rows, 240, prefix=100)] == [2, 2]
    assert [len(part) for part in micro_batches(rows, 100)] == [1, 1, 1, 1]


def test_rows_with_one_prefix_are_one_group() -> None:
    rows = [behind(range(100), 500 + n, 7, 8) for n in range(5)]
    [(length, group)] = common_prefixes(rows)
    assert length == 99  # the hundredth token is predicted by the prefix's last
    assert len(group) == 5


def test_rows_with_several_prefixes_are_several_groups() -> None:
    one, two, short = range(100), range(200, 280), range(3)
    rows = [*(behind(one, 500 + n, 7) for n in range(4)), *(behind(two, 600 + n, 7) for n in range(3))]
    mixed = random.Random(0).sample([*rows, behind(short, 900, 7), behind(short, 901, 7)], k=9)
    groups = plan_batch(mixed, 4096)
    assert Counter((group.prefix, len(list(chain.from_iterable(group.parts)))) for group in groups) == {
        (99, 4): 1,
        (79, 3): 1,
        (0, 2): 1,
    }


def test_a_row_that_leaves_an_example_out_does_not_shorten_the_others_prefix() -> None:
    rows = [behind(range(600), 1000 + n, 7) for n in range(7)]
    found = common_prefixes([behind(range(430), 1000, 7), *rows])
    assert sorted((length, len(group)) for length, group in found) == [(0, 1), (599, 7)]


@pytest.mark.parametrize("seed", range(20))
def test_every_row_is_in_one_part_and_keeps_tokens_of_its_own(seed: int) -> None:
    source = random.Random(seed)
    heads = [tuple(source.choices(range(3), k=LEAST_PREFIX + 10)) for _ in range(3)]
    rows = [
        TokenizedRow((*source.choice(heads), *source.choices(range(2), k=source.randint(1, 5))), 2)
        for _ in range(source.randint(1, 30))
    ]
    groups = plan_batch(rows, 512)
    assert Counter(row for group in groups for part in group.parts for row in part) == Counter(rows)
    for group in groups:
        members = [row for part in group.parts for row in part]
        assert len({row.ids[: group.prefix + 1] for row in members}) == 1 or not group.prefix
        assert all(len(row.ids) >= group.prefix + 2 for row in members)


def test_no_rows_are_no_groups() -> None:
    assert plan_batch([], 512) == []
