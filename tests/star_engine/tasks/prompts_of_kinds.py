"""Every text that a kind puts before a model or learns from, for two questions of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from star_engine.config.star import Rationalization
from star_engine.data.prompts import direct_answer, hint_text, render_completion, render_prompt, stops
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind


@dataclass(frozen=True)
class Case:
    prompt_set: PromptSet
    example: Example


def _case(kind: Kind, shown: FewShotExample, asked: Example) -> Case:
    return Case(PromptSet(kind, (shown,)), asked)


CASES: dict[str, Case] = {
    "scratchpad": _case(
        Kind.SCRATCHPAD,
        FewShotExample("2 9 + 5 7", "<scratch>\n2 9 + 5 7 , C: 0\n</scratch>\n8 6", "8 6"),
        Example("s", "6 2 4 + 2 5 9", "8 8 3", solution="4 + 9 = 13\n\ncarry 1"),
    ),
    "numeric": _case(
        Kind.NUMERIC,
        FewShotExample("How many clips?", "48+24 = <<48+24=72>>72 clips.\n#### 72", "72"),
        Example("n", "How many {answer} pages\n\nare left?", "1,080", solution="It is 1,080.\n\n#### 1,080"),
    ),
    "choice": _case(
        Kind.CHOICE,
        FewShotExample("Wet?", "So it is water (a).", "a", ("water", "sand")),
        Example("c", "Which is dry?", "b", ("sea", "desert", "lake"), solution="Therefore (b)."),
    ),
    "exact": _case(
        Kind.EXACT,
        FewShotExample("Capital of Chile?", "It is Santiago. #### Santiago", "Santiago"),
        Example("e", "Capital of Peru?", "Lima", solution="Lima it is."),
    ),
    "math": _case(
        Kind.MATH,
        FewShotExample("Half of x?", "It is \\boxed{x/2}", "x/2"),
        Example("m", "A third of y?", "\\frac{y}{3}", solution="So \\boxed{\\frac{y}{3}}"),
    ),
    "pattern": _case(
        Kind.PATTERN,
        FewShotExample("Capital of Chile?", "Final answer: Santiago", "Santiago"),
        Example("p", "Capital of Peru?", "Lima", solution="Final answer: Lima"),
    ),
    "code": _case(
        Kind.CODE,
        FewShotExample("Add one.", "So:\n```python\ndef f(x):\n    return x + 1\n```", "assert f(1) == 2"),
        Example("k", "Double it.", "assert g(2) == 4", solution="def g(x):\n\n    return 2 * x"),
    ),
    "program": _case(
        Kind.PROGRAM,
        FewShotExample("Prove 1 = 1.", "It holds by definition. #### rfl", "1 = 1"),
        Example("r", "Prove 2 = 2.", "2 = 2", solution="#### rfl"),
    ),
    "remote": _case(
        Kind.REMOTE,
        FewShotExample("Prove 1 = 1.", "It holds by definition. #### rfl", "1 = 1"),
        Example("v", "Prove 2 = 2.", "2 = 2", solution="#### rfl"),
    ),
    "date": _case(
        Kind.DATE,
        FewShotExample("The day after 1 May 2024?", "It is the 2nd. #### 2024-05-02", "2024-05-02"),
        Example("d", "The day before 1 March 2024?", "2024-02-29", solution="A leap year. #### 2024-02-29"),
    ),
}
# The paper's form of each kind, the two forms that every kind has, and one of a job's own.
TEMPLATES: dict[str, str | None] = {
    "hinted": None,
    "hinted after the question": Rationalization.model_validate({"hint": "after_question"}).template,
    "hinted with the solution": Rationalization.model_validate({"hint": "full_solution"}).template,
    "hinted with an own template": "{question}\n[It is {answer}.]",
}


def texts_of(kind: str) -> dict[str, Any]:
    """Each text by what it is."""
    return dict(_texts(CASES[kind]))


def _texts(case: Case) -> Iterator[tuple[str, Any]]:
    kind, shown, example = case.prompt_set.kind, case.prompt_set, case.example
    yield "stops", list(stops(kind))
    yield "plain", render_prompt(kind, shown, example)
    yield "without few-shot examples", render_prompt(kind, shown, example, few_shot=False)
    yield "direct", render_prompt(kind, shown, example, direct=True)
    for name, template in TEMPLATES.items():
        yield name, render_prompt(kind, shown, example, hint=True, hint_template=template)
        yield f"{name}: what is added", hint_text(kind, example, template)
    yield "completion", render_completion(kind, shown.examples[0].rationale)
    yield "direct answer", direct_answer(kind, example)
    yield "direct answer of a few-shot example", direct_answer(kind, shown.examples[0])
