"""A row ends where its answer ends: what of a correct rationale is trained on, one rule for all kinds.

The answer is what the verifier has read. It ends with its clause: at the end of the sentence or of the line
that holds it, whichever comes first, closing marks (tag, `\\]`, `$$`, a fence) included. What stands behind
is cut, and the shorter text must be judged correct by itself; else the try is dropped as "run_on". A text
that ran into the token limit is trained on only where its answer was complete before: a mark closes it, or
another sentence has begun; else it is dropped as "truncated". What a dataset gives is trained on as it is.

The whole text is recorded, judged and shown; the cut one is what duplicates, filters and rows are made of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from star_engine.config.star import StarConfig
from star_engine.sampling.answers import read_answer
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.examples import Example
from star_engine.tasks.registry import task_of

RUN_ON, TRUNCATED = "run_on", "truncated"

# "72 sq. ft. in all" goes on: a sentence ends where no small letter follows. A tag ends the clause, too.
_CLAUSE_END = re.compile(r"\n|</\w+>|[.!?]+[\"'”’)\]*_`$]*(?=\s+[^\sa-z]|\s*$)")
_CLOSING = re.compile(r"(?:[ \t]*\n?[ \t]*(?:\\\]|\$\$|```|</\w+>|\*\*(?=\s|$)))+")
_CLOSED = re.compile(r"[ \t]*(?:[})\]]|</|\n)")


@dataclass(frozen=True, slots=True)
class Ending:
    """Where the text of a row ends, or why it is dropped."""

    end: int | None  # text[:end] is trained on; None: the whole text
    dropped: str | None = None  # RUN_ON or TRUNCATED


def ending(config: StarConfig, example: Example, rationale: Rationale) -> Ending:
    """Where the answer of a correct rationale ends.

    A reviewer may call correct what the verifier cannot read: then nothing says where the answer ends, and
    the text stays whole.
    """
    if rationale.key.route in (Route.GIVEN, Route.MIXED):
        return Ending(None)
    text, cut_off = rationale.text, rationale.finish_reason == "length"
    found = read_answer(config, example, text)
    if not found.is_correct or found.span is None:
        return Ending(None, TRUNCATED if cut_off else None)
    end = clause_end(text, found.span[1])
    if cut_off and not _complete(config, text, found.span[1], end):
        return Ending(None, TRUNCATED)
    if end >= len(text.rstrip()):
        return Ending(None)
    return Ending(end, None if read_answer(config, example, text[:end]).is_correct else RUN_ON)


def clause_end(text: str, answered: int) -> int:
    """Where the clause ends whose answer ends at `answered`; white space at the end is left out."""
    stop = _CLAUSE_END.search(text, answered)
    end = len(text) if stop is None else stop.start() if stop[0] == "\n" else stop.end()
    closing = _CLOSING.match(text, end)
    return len(text[: closing.end() if closing else end].rstrip())


def _complete(config: StarConfig, text: str, answered: int, end: int) -> bool:
    """Whether the answer cannot go on: a mark closes it, or another clause has begun."""
    if end < len(text.rstrip()) or _CLOSED.match(text, answered):
        return True
    return task_of(config.kind).closed_answers and bool(re.search(r"[.!?)][\"'*_]*$", text[answered - 1 :]))
