"""The playground's page and what its columns ask; a real browser reads the streams in tests/browser."""

from __future__ import annotations

from html import unescape

from tests.app.dashboard.conftest import Finished


def test_columns_begin_with_the_adapter_its_base_model_and_another_iteration(finished: Finished) -> None:
    first, second = (one["id"] for one in finished.api("/adapters")["data"])
    shown = finished.visitor.get(f"/adapters/{first}/playground").text
    chosen = [part.split('value="')[-1].split('"')[0] for part in shown.split(" selected")[:-1]]
    assert chosen[-3:] == [first, "tiny", second]
    assert f'href="/dashboard/adapters/{first}/playground"' in finished.visitor.get(f"/adapters/{first}").text


def test_a_verdict_is_the_job_verifiers_and_escapes_what_was_written(finished: Finished) -> None:
    place = f"/adapters/{finished.job}:best/playground/verdict"
    text = "<scratch>\r\n4 + 5 <i>\r\n</scratch>\r\n9"
    assert "correct" in finished.visitor.post(place, completion=text, answer="9").text
    wrong = finished.visitor.post(place, completion="<scratch>\n</scratch>\n<b>8", answer="9").text
    assert "<b>8" not in wrong
    assert "correct" not in wrong
    assert "Not judged" in unescape(finished.visitor.post(place, completion=text, answer="<b>").text)


def test_what_cannot_be_written_is_told_in_the_column(finished: Finished) -> None:
    place = f"/adapters/{finished.job}:best/playground/write"
    nobody = finished.visitor.post(place, model="tiny", question="4 + 5")
    assert nobody.status_code == 503, nobody.text
    assert "python -m worker.serving" in nobody.text
    refused = finished.visitor.post(place, model="tiny", question="4 + 5", temperature="9")
    assert (refused.status_code, "temperature" in refused.text) == (422, True)
    assert finished.visitor.post(place, model="another", question="4 + 5").status_code == 404
