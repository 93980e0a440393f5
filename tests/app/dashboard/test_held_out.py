"""Gained and lost: every held-out question over baselines and iterations, as the answers of the API say."""

from __future__ import annotations

import re
from html import unescape

from app.results.quality.held_out import MAX_COLUMNS, State, _columns, _states
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.report import Outcomes
from tests.app.dashboard.conftest import Finished, Visitor, sign_in


def marks(page: str) -> list[tuple[str, list[str]]]:
    """State, and what each column says, by row."""
    body = page.split('<table class="held-out">')[1].split("<tbody>")[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        (
            re.findall(r'<span class="badge[^"]*">(\w+)', row)[0],
            re.findall(r'visually-hidden"> (right|wrong)', row),
        )
        for row in rows
    ]


def test_gained_and_lost_are_those_of_the_answers(finished: Finished) -> None:
    page = finished.get("/held-out", one="2", against="few_shot_cot").text
    rows = marks(page)
    assert len(rows) == 8
    for state in ("gained", "lost"):
        found = finished.api("/answers", iteration=2, changed=state, against="few_shot_cot", limit=100)
        assert sum(row[0] == state for row in rows) == len(found["data"])
    assert any(state == "gained" for state, _ in rows)
    order = [list(State).index(State(state)) for state, _ in rows]
    assert order == sorted(order)


def test_a_column_has_the_accuracy_of_its_answers(finished: Finished) -> None:
    page = finished.get("/held-out").text
    rows = marks(page)
    heads = re.findall(r'<th scope="col">([^<]+)<small>([\d.]+ %)', page)
    for place, (_, shown) in enumerate(heads):
        right = sum(row[1][place] == "right" for row in rows)
        assert f"{100 * right / len(rows):.1f} %" == shown
    assert [name for name, _ in heads][-1] == "Iteration 2"


def test_questions_are_narrowed_to_a_state_and_lead_to_their_answers(finished: Finished) -> None:
    page = finished.get("/held-out", one="2", against="few_shot_cot", state="gained").text
    assert {state for state, _ in marks(page)} == {"gained"}
    link = re.findall(r'<th scope="row"><a href="([^"]+)"', page)[0]
    shown = finished.visitor.client.get(unescape(link)).text
    assert '<span class="badge helped">gained</span>' in shown


def test_what_nobody_has_answered_is_said(visitor: Visitor, finished: Finished) -> None:
    job = visitor.api.job()["id"]
    assert "have to answer the held-out questions first" in visitor.get(f"/jobs/{job}/held-out").text
    assert finished.get("/held-out", one="7").status_code == 400
    stranger = sign_in(finished.visitor.api, finished.visitor.api.other)
    assert stranger.get(f"/jobs/{finished.job}/held-out").status_code == 404
    assert stranger.get(f"/jobs/{finished.job}/texts").status_code == 404


def outcomes(number: int, *right: bool) -> Outcomes:
    mode = EvaluationMode.ADAPTER if number else EvaluationMode.FEW_SHOT_COT
    return Outcomes(mode, number, dict(enumerate(right)))


def test_each_question_has_one_state() -> None:
    before = outcomes(0, True, False, True, True, False)
    between = outcomes(1, True, True, False, True, False)
    here = outcomes(2, False, True, True, True, False)
    assert [*_states(here, before, [before, between, here]).values()] == [
        State.LOST, State.GAINED, State.WAVERING, State.RIGHT, State.WRONG
    ]  # fmt: skip


def test_of_many_iterations_the_newest_have_columns_and_those_compared_always() -> None:
    known = {str(n) if n else "few_shot_cot": outcomes(n, True) for n in range(41)}
    columns = _columns(known, known["3"], known["few_shot_cot"])
    assert len(columns) == MAX_COLUMNS
    assert columns[:2] == ["few_shot_cot", "3"]
    assert columns[2:] == [str(n) for n in range(29, 41)]
