"""Turns a completion into a verdict: cut at the first stop and verify, without raising."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from star_engine.config.star import StarConfig
from star_engine.protocols import Completion
from star_engine.tasks.examples import Example
from star_engine.tasks.grading import grade
from star_engine.tasks.programs.execution import SandboxFailed
from star_engine.tasks.reading.cut import answer_has_ended, cut_at_first_stop, own_turn
from star_engine.tasks.registry import task_of
from star_engine.tasks.task import Task
from star_engine.tasks.verdict import Verdict, VerdictCode, no_answer


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


def judge(
    config: StarConfig, example: Example, completion: Completion, *, direct: bool = False, opening: str = ""
) -> Answer:
    """Verify one completion. What goes wrong inside a verifier is the verdict "error", never an exception.

    opening: what the prompt has begun for the model. It is recorded with the text, so that a thinking that
    the template has opened is read as one; an answer on record has it already.
    """
    said = completion.text if completion.reused else opening + completion.text
    raw = said[own_turn(said) :].replace("\x00", "\ufffd")  # PostgreSQL stores no NUL
    cut = cut_at_first_stop(raw, config.stops)
    text = cut.rstrip() if config.is_chat else cut.strip()  # a turn is trained on as it was sampled
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
    found = read_answer(config, example, text, direct=direct)
    if finish_reason == "length" and _cut_inside_answer(task_of(config.kind), text, found):
        return Answer(text, VerdictCode.UNPARSED, found.extracted, None, "answer_cut_off", finish_reason)
    return Answer(text, found.verdict, found.extracted, found.canonical, found.rule, finish_reason)


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
