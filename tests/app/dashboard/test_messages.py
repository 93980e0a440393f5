"""What stands between backticks in a message is code; what a message quotes stays as it is."""

from __future__ import annotations

import pytest

from app.dashboard.rendering import TEMPLATES


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Send `name`, or `id`.", "Send <code>name</code>, or <code>id</code>."),
        ("`<b>` is no name.", "<code>&lt;b&gt;</code> is no name."),
        ("It's 5` tall.", "It&#39;s 5` tall."),
        ("No answer in ```python", "No answer in ```python"),
        ("", ""),
    ],
)
def test_code_in_a_message_is_marked_and_nothing_is_lost(message: str, shown: str) -> None:
    parts = TEMPLATES.get_template("_parts.html").make_module({"csrf": "", "request": None})
    assert str(parts.ticks(message)) == shown  # type: ignore[attr-defined]
