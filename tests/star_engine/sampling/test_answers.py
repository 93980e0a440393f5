"""Where a judged text states its answer, found again with the job's own options."""

from __future__ import annotations

from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.protocols import Completion
from star_engine.sampling.answers import answer_span, judge
from star_engine.tasks.examples import Example


def judged_span(kind: str, verifier: dict[str, Any], text: str, answer: str) -> str | None:
    config = StarConfig.model_validate({"kind": kind, "verifier": verifier})
    example = Example("x", "?", answer)
    found = judge(config, example, Completion("x", text, 0, 0, "stop"))
    span = answer_span(config, example, text, found.extracted)
    return None if span is None else text[slice(*span)]


@pytest.mark.parametrize(
    ("kind", "verifier", "text", "marked"),
    [
        ("pattern", {"pattern": r"ANSWER=(\w+)"}, "No 71, but ANSWER=72.", "72"),
        ("numeric", {"fallback": "last_number"}, "It is 71 and one more, 72", "72"),
        ("numeric", {}, "It is #### 72", "72"),
        ("numeric", {}, "It is 71 and one more, 72", None),
    ],
)
def test_the_answer_is_marked_where_the_options_of_the_job_read_it(
    kind: str, verifier: dict[str, Any], text: str, marked: str | None
) -> None:
    assert judged_span(kind, verifier, text, "72") == marked


def test_an_answer_that_is_not_read_today_is_marked_nowhere() -> None:
    config = StarConfig.model_validate({"kind": "numeric"})
    example = Example("x", "?", "72")
    assert answer_span(config, example, "It is #### 72", "71") is None
    assert answer_span(config, example, "It is #### 72", None) is None


def test_what_goes_wrong_while_an_answer_is_looked_for_is_not_hidden() -> None:
    config = StarConfig.model_validate({"kind": "pattern"})
    with pytest.raises(ValueError, match="needs the option pattern"):
        answer_span(config, Example("x", "?", "72"), "72", "72")
