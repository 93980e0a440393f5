"""From a completion to a verdict: cut at the first stop, verify, never raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.data.prompts import stops
from star_engine.protocols import Completion
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.reading.cut import cut_at_first_stop
from star_engine.tasks.verdict import Verdict, VerdictCode
from star_engine.tasks.verify import verify, verify_direct


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion as it is stored and judged."""

    text: str  # cut at the first stop, outer white space removed
    verdict: VerdictCode
    extracted: str | None
    canonical: str | None  # what was extracted in normal form: the same for equal answers
    rule: str
    finish_reason: Literal["stop", "length"]


def judge(config: StarConfig, example: Example, completion: Completion, *, direct: bool = False) -> Answer:
    """Verify one completion. What goes wrong inside a verifier is the verdict "error", never an exception."""
    raw = completion.text.replace("\x00", "\ufffd")  # PostgreSQL stores no NUL
    cut = cut_at_first_stop(raw, stops(config.kind))
    text = cut.strip()
    stopped = bool(raw[len(cut) :].strip())
    return judge_text(config, example, text, "stop" if stopped else completion.finish_reason, direct=direct)


def judge_text(
    config: StarConfig,
    example: Example,
    text: str,
    finish_reason: Literal["stop", "length"],
    *,
    direct: bool = False,
) -> Answer:
    """Verify a text that is cut already, such as a recorded rationale's."""
    kind, options = config.kind, config.verifier.options
    try:
        found = (verify_direct if direct else verify)(kind, text, example.answer, example.choices, **options)
    except Exception as problem:  # noqa: BLE001 - one odd completion must not end a shard of thousands
        return Answer(text, VerdictCode.ERROR, None, None, f"raised_{type(problem).__name__}", finish_reason)
    if finish_reason == "length" and _cut_inside_answer(kind, text, found):
        return Answer(text, VerdictCode.UNPARSED, found.extracted, None, "answer_cut_off", finish_reason)
    return Answer(text, found.verdict, found.extracted, found.canonical, found.rule, finish_reason)


def answer_span(kind: Kind, example: Example, text: str, extracted: str | None) -> tuple[int, int] | None:
    """Where a judged text states its extracted answer: text[start:end] == extracted.

    Found by judging again; None where no answer was extracted, or another one would be today.
    """
    try:
        found = verify(kind, text, example.answer, example.choices)
    except Exception:  # noqa: BLE001 - as in judge(): then the verdict was "error", and nothing was extracted
        return None
    return found.span if extracted is not None and found.extracted == extracted else None


def _cut_inside_answer(kind: Kind, text: str, found: Verdict) -> bool:
    """Whether more of the answer may have followed: "#### 7" at the token limit can be the start of 72."""
    if kind is Kind.CHOICE or found.span is None:
        return False
    return found.span[1] >= len(text)
