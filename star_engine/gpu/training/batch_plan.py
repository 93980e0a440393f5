"""What of a step's batch runs at once: rows that begin alike together, rows of like length together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

from star_engine.gpu.training.tokenized_rows import TokenizedRow

T = TypeVar("T")

# Tokens of a micro-batch from which on a shorter row is better off in the next one than padded: 512 do not
# fill a GPU, and its kernels' launches cost the same whatever a pass holds.
ENOUGH_TOKENS = {"cpu": 512, "cuda": 8192}
SHORTER = {"cpu": 0.75, "cuda": 0.5}  # ... where it is below this share of the longest row
LEAST_PREFIX = 64  # tokens: a shorter one costs more to run by itself than its copies do
# What a row's view of the prefix's keys and values weighs in memory, against the activations of a token.
KEY_VALUE_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with their first `prefix` tokens in common, and the next one; cut into parts that run at once."""

    prefix: int  # 0: nothing in common that would be worth a pass by itself
    parts: list[list[TokenizedRow]]


def plan_batch(
    rows: Sequence[TokenizedRow], token_limit: int, device: str = "cpu", packed: bool = False
) -> list[Group]:
    """Every row once. A part holds at most `token_limit` with prefix and padding, or one row.

    packed: parts have no padding (packed_rows.py).
    """
    cut = packed_parts if packed else partial(micro_batches, device=device)
    alike = common_prefixes(rows)
    alone = [row for length, group in alike if length < LEAST_PREFIX for row in group]
    groups = [
        Group(length, cut(group, token_limit, length)) for length, group in alike if length >= LEAST_PREFIX
    ]
    return [*groups, *([Group(0, cut(alone, token_limit))] if alone else [])]


def plan_apart(
    rows: Sequence[TokenizedRow], token_limit: int, device: str = "cpu", packed: bool = False
) -> list[Group]:
    """Plan a batch for models and adapters that cannot share a prefix."""
    if not rows:
        return []
    cut = packed_parts if packed else partial(micro_batches, device=device)
    return [Group(0, cut(rows, token_limit))]


def packed_parts(rows: Sequence[TokenizedRow], token_limit: int, prefix: int = 0) -> list[list[TokenizedRow]]:
    """Cut a step's batch into parts of at most `token_limit` without padding, at least a row: first fit.

    Long rows go first. `prefix`: tokens that are held once for all rows, and seen by each.
    """
    parts: list[list[TokenizedRow]] = []
    filled: list[float] = []
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        weight = len(row.ids) - prefix + KEY_VALUE_SHARE * prefix
        room = next((n for n, tokens in enumerate(filled) if tokens + weight <= token_limit), None)
        if room is None:
            parts.append([row])
            filled.append(prefix + weight)
        else:
            parts[room].append(row)
            filled[room] += weight
    return parts


def micro_batches(
    rows: Sequence[TokenizedRow], token_limit: int, prefix: int = 0, device: str = "cpu"
) -> list[list[TokenizedRow]]:
    """Cut a step's batch into parts of like length: at most `token_limit` with padding, at least a row.

    The batches themselves stay a plain random draw: sorting the training set by length would sort it by
    difficulty, and a step would see one digit count only. `prefix`: tokens that are held once for all rows.
    """
    enough, shorter = ENOUGH_TOKENS[device], SHORTER[device]
    parts: list[list[TokenizedRow]] = []
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        part = parts[-1] if parts else []
        longest = len(part[0].ids) - prefix if part else 0
        weight = longest + KEY_VALUE_SHARE * prefix
        full = prefix + weight * (len(part) + 1) > token_limit
        wasteful = longest * len(part) >= enough and len(row.ids) - prefix < shorter * longest
        if not part or full or wasteful:
            parts.append([row])
        else:
            part.append(row)
    return parts


def common_prefixes(rows: Sequence[TokenizedRow]) -> list[tuple[int, list[TokenizedRow]]]:
    """Rows by the tokens that they begin with, so that the most tokens are computed once instead of often.

    A group's length is how many they all share, less one: the token behind the prefix is the same for all
    too, so that even the prefix's last token predicts one thing. It leaves every row two tokens of its own.
    """
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: (row.ids, row.start))
    links = [_in_common(one, other) for one, other in pairwise(ordered)]
    found, todo = [], [(0, len(ordered))]
    while todo:
        first, end = todo.pop()
        weakest = min(range(first, end - 1), key=lambda n: links[n], default=None)
        if weakest is not None:
            halves = [(weakest + 1, end), (first, weakest + 1)]
            if sum(_saved(links, *half) for half in halves) > _saved(links, first, end):
                todo += halves
                continue
        found.append((_shared(links, first, end), ordered[first:end]))
    return found


def _in_common(one: TokenizedRow, other: TokenizedRow) -> int:
    shortest = min(len(one.ids), len(other.ids))
    same = next((n for n in range(shortest) if one.ids[n] != other.ids[n]), shortest)
    return max(0, min(same - 1, shortest - 2))


def _shared(links: Sequence[int], first: int, end: int) -> int:
    return min(links[first : end - 1], default=0)


def _saved(links: Sequence[int], first: int, end: int) -> int:
    """Tokens that these rows, in one group, need not compute again."""
    return _shared(links, first, end) * (end - first - 1)


def padded_parts(
    items: Sequence[T], token_limit: int, longest: Callable[[T], int], rows_each: int = 1
) -> Iterator[list[T]]:
    """What runs through the model at once: with padding at most `token_limit` tokens, or one item.

    longest: tokens of an item's longest row. rows_each: rows of it that run at the same time.
    """
    part: list[T] = []
    for item in sorted(items, key=longest):
        if part and rows_each * (len(part) + 1) * longest(item) > token_limit:
            yield part
            part = []
        part.append(item)
    if part:
        yield part
