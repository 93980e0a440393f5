"""What the client makes of an error's body."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from star_client.errors import problem_from

ERROR = {"field": "model", "reason": "There is none."}


@pytest.mark.parametrize(
    "error", [{**ERROR, "fix": "Name one.", "mend": "Name one."}, {**ERROR, "mend": "Name one."}]
)
def test_a_fix_is_read_of_this_server_and_of_the_one_before(error: dict[str, Any]) -> None:
    body = {"code": "invalid", "detail": "The request is not valid.", "errors": [error]}
    [found] = problem_from(httpx2.Response(422, json=body)).errors
    assert found.fix == found.mend == "Name one."
    assert str(found) == "model: There is none. Name one."
