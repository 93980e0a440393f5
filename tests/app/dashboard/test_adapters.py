"""Adapters on pages: the API's files to the byte, and questions put to one of them."""

from __future__ import annotations

import html
import io
import json
import tarfile
from hashlib import sha256

from tests.app.api_harness import worker
from tests.app.dashboard.conftest import Finished, sign_in


def test_the_adapters_of_a_job_are_listed_with_what_they_can_do(finished: Finished) -> None:
    page = finished.get("/adapters").text
    for one in finished.api("/adapters")["data"]:
        assert f'href="/dashboard/adapters/{one["id"]}"' in page
        for file in one["files"]:
            assert file["sha256"] in page
    accuracy = finished.api("")["best"]["accuracy"]
    assert f"{100 * accuracy:.1f} %" in page
    assert f"{finished.job}:best" in page
    everywhere = finished.visitor.get("/adapters").text
    assert 'Iteration 1<span class="visually-hidden"> of &lt;i&gt;addition&lt;/i&gt;</span>' in everywhere


def test_an_adapter_is_downloaded_whole_and_by_file(finished: Finished) -> None:
    adapter = finished.api("/adapters")["data"][-1]
    place = f"/adapters/{finished.job}:last"
    archive = finished.visitor.get(f"{place}/archive")
    assert archive.headers["content-length"] == str(len(archive.content))
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        held = {one.name: one.size for one in tar}
    assert held == {file["path"]: file["size_bytes"] for file in adapter["files"]}
    for file in adapter["files"]:
        answer = finished.visitor.get(f"{place}/files/{file['path']}")
        assert sha256(answer.content).hexdigest() == file["sha256"]
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{file["path"]}"'
        assert "content-encoding" not in answer.headers
    part = finished.visitor.client.get(
        f"/dashboard{place}/files/adapter_model.safetensors", headers={"Range": "bytes=0-7"}
    )
    assert (part.status_code, len(part.content)) == (206, 8)


def test_the_card_tells_how_to_serve_it(finished: Finished) -> None:
    adapter = finished.api("/adapters")["data"][-1]
    page = finished.visitor.get(f"/adapters/{adapter['id']}").text
    rank = finished.api("")["config"]["training"]["lora"]["rank"]
    assert f"--max-lora-rank {max(rank, 8)} --lora-modules mine=./my-adapter" in page
    assert f"star adapters download {adapter['id']} my-adapter" in page
    assert f"{finished.job}:{adapter['iteration']}" in page


def test_pinning_keeps_an_adapter_and_needs_a_key_that_may(finished: Finished) -> None:
    first = finished.api("/adapters")["data"][0]["id"]
    reader = sign_in(finished.visitor.api, finished.visitor.api.reader)
    assert reader.post(f"/adapters/{first}/pin?pinned=true").status_code == 403
    assert ">Pin<" not in reader.get(f"/adapters/{first}").text
    for pinned in (True, False):
        answer = finished.visitor.post(f"/adapters/{first}/pin?pinned={str(pinned).lower()}&beside=true")
        assert answer.headers["location"] == f"/dashboard/jobs/{finished.job}/adapters"
        assert finished.api("/adapters")["data"][0]["pinned"] is pinned


def test_an_adapter_answers_a_question_beside_the_base_model(finished: Finished) -> None:
    place = f"/adapters/{finished.job}:last"
    asked = {"question": "1 2 + 3 4", "answer": "4 6", "group": "2", "beside_base": "true"}
    reader = sign_in(finished.visitor.api, finished.visitor.api.reader)
    assert reader.post(f"{place}/ask", **asked).status_code == 403
    sent = finished.visitor.post(f"{place}/ask", **asked)
    waiting = finished.visitor.client.get(sent.headers["location"]).text
    assert 'hx-trigger="load"' in waiting
    with worker(finished.visitor.api) as work_off:
        work_off()
    trial = sent.headers["location"].partition("trial=")[2]
    part = finished.visitor.get(f"{place}/trials/{trial}").text
    assert 'hx-trigger="load"' not in part
    assert part.index("Base model, few-shot") < part.index(">Adapter")
    answers = finished.visitor.api.client.get(f"/v1/trials/{trial}").json()["answers"]
    for one in answers:
        assert f'<span class="mono">{one["extracted"]}</span>' in part
    assert finished.visitor.client.get(sent.headers["location"]).status_code == 200


def test_a_question_that_cannot_be_asked_says_why(finished: Finished) -> None:
    answer = finished.visitor.post(f"/adapters/{finished.job}:last/ask", question="1 + 1", group="9")
    assert answer.status_code == 422
    assert "Give each question a group that the prompt set knows." in answer.text


def test_a_question_with_more_choices_than_letters_is_refused_in_the_form(finished: Finished) -> None:
    many = "\n".join(f"choice {number}" for number in range(27))
    answer = finished.visitor.post(f"/adapters/{finished.job}:last/ask", question="1 + 1", choices=many)
    assert answer.status_code == 422
    assert "questions.0.choices" in answer.text


def test_another_projects_adapter_is_not_found(finished: Finished) -> None:
    stranger = sign_in(finished.visitor.api, finished.visitor.api.other)
    adapter = finished.api("/adapters")["data"][0]["id"]
    for path in ("", "/archive", "/files/README.md"):
        assert stranger.get(f"/adapters/{adapter}{path}").status_code == 404


def test_the_card_shows_the_receipt_of_the_api_and_pass_at_k_in_one_chart(finished: Finished) -> None:
    adapter = finished.api("/adapters")["data"][-1]
    receipt = finished.visitor.api.client.get(f"/v1/adapters/{adapter['id']}/receipt").json()
    page = finished.visitor.get(f"/adapters/{adapter['id']}").text
    section = page.split('id="receipt"')[1].split("</section>")[0]
    assert receipt["sentence"] in html.unescape(section)
    for one in receipt["claims"]:
        assert f'<th scope="row">{one["against"]}</th>' in html.unescape(section)
    for one in receipt["not_run"]:
        assert f"Not run. {one['fix']}" in section
    spec = json.loads(section.split('<script type="application/json">')[1].split("</script>")[0])
    base, own = spec["series"]
    assert (base["label"], base["dashed"], own["dashed"]) == ("Base model", True, False)
    assert own["values"] == [one["value"] for one in receipt["collapse"]["adapter"]["passed"]]
