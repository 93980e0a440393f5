"""Counts properties of a dataset's rows as they are read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

MAX_CACHED = 64  # characters of an answer whose kind is remembered
_KINDS = (
    ("integer", re.compile(r"[-+]?\$?[\d,]+\.?")),
    ("decimal", re.compile(r"[-+]?\$?[\d,]*\.\d+")),
    ("percentage", re.compile(r"[-+]?[\d,.]+ ?%")),
    ("fraction", re.compile(r"[-+]?[\d ]+/\d+")),
    (
        "date",
        re.compile(
            r"\d{4}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{4}|(?:\d\d? )?[A-Z][a-z]{2,8}\.?(?: \d\d?,)? \d{4}"
        ),
    ),
    ("expression", re.compile(r"\$?.*\\(?:d?frac|sqrt|pi|boxed|text)\b.*\$?")),
    ("digits", re.compile(r"\d( \d)+")),
    ("one_word", re.compile(r"\S+")),
)


def summary(lengths: Counter[int]) -> dict[str, float] | None:
    """Summarize lengths: count, minimum, median, 95th percentile, maximum, mean. None where there
    are none.
    """
    count = sum(lengths.values())
    if not count:
        return None
    total = sum(length * times for length, times in lengths.items())
    ranks = {"min": 0, "median": (count - 1) // 2, "p95": int(0.95 * (count - 1)), "max": count - 1}
    values: dict[str, float] = {"count": count, "mean": round(total / count, 1)}
    passed = 0
    for length, times in sorted(lengths.items()):
        passed += times
        values |= {name: length for name, rank in ranks.items() if rank < passed and name not in values}
    return values


@dataclass(slots=True)
class Tally:
    """Counters updated row by row; memory grows with the number of distinct lengths only."""

    question: Counter[int] = field(default_factory=Counter)
    answer: Counter[int] = field(default_factory=Counter)
    solution: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    choices: Counter[int] = field(default_factory=Counter)
    exchanges: Counter[int] = field(default_factory=Counter)  # before the question, where there are any
    longest: Counter[str] = field(default_factory=Counter)  # in bytes, of what a prompt shows of a row

    def add(self, example: Example, kind: Kind) -> None:
        self._measure(example, kind)
        self.question[len(example.question)] += 1
        self.answer[len(example.answer)] += 1
        if example.solution is not None:
            self.solution[len(example.solution)] += 1
        if example.context:
            self.exchanges[len(example.context)] += 1
        if example.choices is not None:
            self.choices[len(example.choices)] += 1
            self.kinds["choice"] += 1
        else:
            self.kinds[shape_of(example.answer)] += 1

    def _measure(self, example: Example, kind: Kind) -> None:
        """Take note of what bounds the length of its prompt, however a job shows it."""
        task = task_of(kind)
        texts = {
            "block": task.ask(example, hinted=False),
            "hinted_block": task.ask(example, hinted=True),
            "answer": example.answer,
            "solution": example.solution or "",
            "context": "".join(text for exchange in example.context for text in exchange),
        }
        if example.context:
            self.longest["exchanges"] = max(self.longest["exchanges"], len(example.context))
        for name, text in texts.items():
            size = len(text.encode())
            if size > self.longest[name]:
                self.longest[name] = size

    def counters(self) -> tuple[Counter[Any], ...]:
        counted = (self.question, self.answer, self.solution, self.kinds, self.choices, self.exchanges)
        return *counted, self.longest

    def join(self, other: Tally) -> None:
        for mine, more in zip(self.counters()[:-1], other.counters()[:-1], strict=True):
            mine.update(more)
        self.longest |= other.longest  # of counters, | is the greater one of each


def shape_of(answer: str) -> str:
    """What an answer looks like: integer, date, one_word... or text. Short answers are remembered."""
    return (_shape if len(answer) <= MAX_CACHED else _shape.__wrapped__)(answer)


@lru_cache(maxsize=1 << 14)
def _shape(answer: str) -> str:
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(answer)), "text")
