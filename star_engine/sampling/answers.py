"""Turns a completion into a verdict: cut at the first stop and verify, without raising."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.protocols import Completion
from star_engine.sampling.tool_turns import Finished
from star_engine.tasks.examples import Example
from star_engine.tasks.grading import grade
from star_engine.tasks.programs.execution import SandboxFailed
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.tasks.reading.cut import answer_has_ended, cut_at_first_stop, own_turn
from star_engine.tasks.registry import task_of
from star_engine.tasks.task import Task
from star_engine.tasks.verdict import Verdict, VerdictCode, no_answer

THINKING_ENDS = "</think>"
_SENTENCE_ENDS = re.compile(r"[.!?]\s+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion as it is stored and judged."""

    # Behind the header of the turn, cut at the first stop, outer white space removed; in the chat layout that
    # at the end.
    text: str
    verdict: VerdictCode
    extracted: str | None
    canonical: str | None  # what was extracted in normal form: the same for equal answers
    rule: str
    finish_reason: Literal["stop", "length"]
    start: int = 0  # of `text` in the completion; below 0 where it begins in what the prompt has opened
    span: tuple[int, int] | None = None  # where in `text` the extracted answer stands


def judge(
    config: StarConfig, example: Example, completion: Completion, *, direct: bool = False, opening: str = ""
) -> Answer:
    """Verify one completion. What goes wrong inside a verifier is the verdict "error", never an exception.

    opening: what the prompt has begun for the model. It is recorded with the text, so that a thinking that
    the template has opened is read as one; an answer on record has it already.
    """
    text, start, reason = judged_part(config, completion, opening)
    return replace(judge_text(config, example, text, reason, direct=direct), start=start)


def judged_part(
    config: StarConfig, completion: Completion, opening: str = ""
) -> tuple[str, int, Literal["stop", "length"]]:
    """What of a completion is judged, where that begins in it, and how it ended. See `Answer` and `judge`."""
    opened = "" if completion.reused else opening
    said = opened + completion.text
    turn = own_turn(said)
    raw = said[turn:].replace("\x00", "\ufffd")  # PostgreSQL stores no NUL
    cut = cut_at_first_stop(raw, config.stops)
    text = cut.rstrip() if config.is_chat else cut.strip()  # a turn is trained on as it was sampled
    stopped = bool(raw[len(cut) :].strip())
    return text, turn + cut.find(text) - len(opened), "stop" if stopped else completion.finish_reason


def judge_text(
    config: StarConfig,
    example: Example,
    text: str,
    finish_reason: Literal["stop", "length"],
    *,
    direct: bool = False,
) -> Answer:
    """Verify a text that is cut already, such as a recorded rationale's."""
    found = read_answer(config, example, text, direct=direct)
    if finish_reason == "length" and _cut_inside_answer(task_of(config.kind), text, found):
        return Answer(text, VerdictCode.UNPARSED, found.extracted, None, "answer_cut_off", finish_reason)
    known = (text, found.verdict, found.extracted, found.canonical, found.rule, finish_reason)
    return Answer(*known, span=found.span)


def judge_turns(
    config: StarConfig, example: Example, found: Finished, *, direct: bool = False, opening: str = ""
) -> tuple[Answer, ToolUse]:
    """Verify a text that called a tool, and say where in it others' words stand.

    An answer that is not the model's own words is none: the tool has said it, and the model has not.
    """
    answer = judge(config, example, found.completion, direct=direct, opening=opening)
    use = found.use.moved(answer.start, answer.start + len(answer.text))
    return said_itself(answer, use), use


def said_itself(answer: Answer, use: ToolUse | None) -> Answer:
    """The answer, unparsed where it stands in words that its model did not write."""
    if use is None or answer.span is None:
        return answer
    if not any(start < answer.span[1] and answer.span[0] < end for start, end, _ in use.spans):
        return answer
    return replace(answer, verdict=VerdictCode.UNPARSED, canonical=None, rule="answer_by_the_tool")


def end_for_hint(config: StarConfig, example: Example, text: str) -> int:
    """Where a text that has ended is taken up again: before its thinking ends, or before the sentence or line
    that states its answer; where it states none, at its end.
    """
    if (thought := text.find(THINKING_ENDS)) >= 0:
        return thought
    if task_of(config.kind).runs_programs:
        return len(text)
    found = read_answer(config, example, text)
    if found.span is None:
        return len(text)
    before = text[: found.span[0]]
    sentences = [0, before.rfind("\n") + 1, *(one.end() for one in _SENTENCE_ENDS.finditer(before))]
    return max(sentences)


def read_answer(config: StarConfig, example: Example, text: str, *, direct: bool = False) -> Verdict:
    """Return the verdict of the job's verifier on a text; "error" if it raises."""
    try:
        return grade(
            task_of(config.kind), example, text, config.verifier.options, direct=direct, stops=config.stops
        )
    except SandboxFailed:
        raise  # ours, and no verdict: the step is tried again
    except Exception as problem:  # noqa: BLE001 - one odd completion must not end a shard of thousands
        return no_answer(VerdictCode.ERROR, f"raised_{type(problem).__name__}")


def answer_span(
    config: StarConfig, example: Example, text: str, extracted: str | None
) -> tuple[int, int] | None:
    """Return where a judged text states its extracted answer: text[start:end] == extracted.

    Found by judging again, as the job judges; None where no answer was extracted, or another one would be
    today. Raises what the verifier raises, which for a text with an extracted answer is nothing.
    """
    if extracted is None:
        return None
    task = task_of(config.kind)
    if task.runs_programs:  # a page that shows a text must not execute it
        start = text.rfind(extracted)
        return None if start < 0 else (start, start + len(extracted))
    found = grade(task, example, text, config.verifier.options, stops=config.stops)
    return found.span if found.extracted == extracted else None


def _cut_inside_answer(task: Task, text: str, found: Verdict) -> bool:
    """Whether more of the answer may have followed: "#### 7" at the token limit can be the start of 72."""
    return found.span is not None and not answer_has_ended(text, found.span, closed=task.closed_answers)
