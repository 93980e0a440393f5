"""A completion made ready for reading: its final part, undressed, with the statements in it that stand."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeVar

from star_engine.tasks.reading.correction import is_superseded, opens_correction
from star_engine.tasks.reading.dressing import Plain, undress
from star_engine.tasks.reading.final_part import final_part
from star_engine.tasks.reading.sentences import Sentences, split_sentences
from star_engine.tasks.reading.standing import stands
from star_engine.tasks.reading.statements import Form, Statement, find_statements

Value = TypeVar("Value")
# What a base model writes behind its answer is a next block, laid out as in its prompt or its training data.
_NEXT_BLOCK = re.compile(
    r"\n[^\S\n]*(?:Q|Question|Problem|Exercise|Example|Input|Human|User|Instruction|Task|Student|Query|Prompt)"
    r"(?:[^\S\n]*#?[0-9]{1,4})?[^\S\n]*(?:[:.)]|\n)"
)
MAX_STATEMENTS = 32  # a text that states its answer more often is stuck in a loop


@dataclass(frozen=True, slots=True)
class FinalText:
    """`end` is where the answer's own block ends; statements behind it are left out."""

    plain: Plain
    sentences: Sentences
    statements: tuple[Statement, ...]
    end: int
    rejected: tuple[Statement, ...]  # statements that do not stand
    stated: int  # how many statements there are, those that do not stand included
    part: tuple[int, int]  # the final part, as offsets into the text as given

    @property
    def text(self) -> str:
        return self.plain.text

    def speaks(self, begin: int, end: int) -> bool:
        """Whether text[begin:end] says "the answer": what it states there was read, or does not stand."""
        spoken = (one for one in self.statements if one.form is Form.ANSWER_IS)
        return self.rejects(begin, end) or any(begin <= one.start < end for one in spoken)

    def rejects(self, begin: int, end: int) -> bool:
        """Whether text[begin:end] holds a statement that does not stand: then it concludes with nothing."""
        return any(begin <= one.start < end for one in self.rejected)


@dataclass(frozen=True, slots=True)
class Stated(Generic[Value]):
    """A statement with the value that its kind reads in it."""

    statement: Statement
    value: Value
    start: int  # of the value in the plain text
    end: int


@lru_cache(maxsize=8)
def read_final_text(text: str) -> FinalText | None:
    """None where the text has no final part: a thinking that was never closed."""
    part = final_part(text)
    if part is None:
        return None
    plain = undress(text, *part)
    sentences = split_sentences(plain.text)
    found = find_statements(plain, sentences)
    judged = [(one, stands(plain.text, sentences, one)) for one in found[: MAX_STATEMENTS + 1]]
    standing = [one for one, it_stands in judged if it_stands]
    rejected = tuple(one for one, it_stands in judged if not it_stands)
    end = len(plain.text)
    explicit = [one for one in standing if one.form is not Form.VALUE_FIRST and one.begin < one.end]
    if explicit and (block := _NEXT_BLOCK.search(plain.text, explicit[0].begin)):
        end = block.start()
        standing = [one for one in standing if one.begin < end]
    return FinalText(plain, sentences, tuple(standing), end, rejected, len(found), part)


def values_that_stand(
    final: FinalText, read: Callable[[Statement], Stated[Value] | None]
) -> list[Stated[Value]]:
    """What the last statement with a value states, behind those earlier ones that it must agree with.

    It need not agree with one that the text between takes back, nor with one that does not call itself final
    where it does. Of several `####` the first counts, unless the text right behind takes it back: the others
    are run-on text.
    """
    found: list[Stated[Value]] = []
    for statement in final.statements:
        one = read(statement)
        if one is None:
            continue
        if found and found[-1].statement.form is Form.HASHES and not _goes_on(final, found[-1]):
            break
        found.append(one)
    if not found:
        return []
    last = found[-1]
    return [one for one in found[:-1] if not _is_replaced(final.text, one, last)] + [last]


def _is_replaced(text: str, earlier: Stated[Value], last: Stated[Value]) -> bool:
    finally_said = last.statement.is_final and not earlier.statement.is_final
    if finally_said and last.statement.form is not Form.HASHES:
        return True
    return is_superseded(text, earlier.end, last.statement.start)


def _goes_on(final: FinalText, stated: Stated[Value]) -> bool:
    behind = final.sentences.behind(stated.end)
    return bool(behind) and opens_correction(final.text[slice(*behind[0])])


def within(statement: Statement, end: int) -> Statement:
    """The statement cut off at `end`."""
    return replace(statement, end=min(statement.end, end))
