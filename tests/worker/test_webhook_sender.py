"""Webhooks, sent to a real HTTP server: signed, repeated, given up, never sent to where they must not go."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app.database import clock, new_id, reading, transaction
from app.ledger.events import EVENT_TYPES, list_events
from app.ledger.jobs.jobs import cancel_job
from app.ledger.platform.deliveries import (
    Outcome,
    claim_delivery,
    forget_deliveries,
    pause_seconds,
    record_attempt,
)
from app.ledger.platform.webhooks import create_webhook, redeliver, rotate_secret, send_test
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.webhooks import Webhook, WebhookDelivery
from app.webhooks.secrets import webhook_secret
from tests.app.ledger.ledger_driver import finish_job
from tests.factories import World, make_world
from tests.platforms import wait_until
from tests.receivers import Receiver, receiver
from worker.webhook_sender import THREADS, WebhookSender, attempt

SECRET = "of the tests"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def world(database_url: str, tmp_path: Path, hook: Receiver) -> World:
    return make_world(
        database_url,
        tmp_path / "home",
        webhook_secret=SECRET,
        webhook_allowed_hosts=[hook.host],
        webhook_attempts=3,
        webhook_seconds=5,
    )


def add(world: World, url: str, *events: str, **more: Any) -> str:
    with transaction(world.engine) as session:
        return create_webhook(session, world.project_id, url, list(events) or ["*"], **more).id


def sender(world: World) -> WebhookSender:
    return WebhookSender(world.engine, world.settings, threading.Event())


def send_all(world: World) -> int:
    """Send what is due; returns how many attempts that took."""
    one, sent = sender(world), 0
    while one.send_one():
        sent += 1
    return sent


def make_due(world: World) -> None:
    with transaction(world.engine) as session:
        waiting = WebhookDelivery.next_try_at.is_not(None)
        session.execute(update(WebhookDelivery).where(waiting).values(next_try_at=clock(-1)))


def deliveries(world: World) -> list[WebhookDelivery]:
    with reading(world.engine) as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def test_each_event_of_a_whole_job_arrives_once_signed_and_in_the_logs_own_order(
    world: World, hook: Receiver
) -> None:
    webhook_id = add(world, hook.url)
    job_id = world.submit(iterations=1)
    finish_job(world)
    with reading(world.engine) as session:
        events = list_events(session, job_id, 0, 1000)
    assert send_all(world) == len(events)
    verifier = Verifier(webhook_secret(SECRET.encode(), webhook_id, 1))
    bodies = [verifier.verify(got.body, got.headers) for got in hook.received]
    assert sorted(body["data"]["seq"] for body in bodies) == [event.seq for event in events]
    by_seq = {event.seq: event for event in events}
    for body in bodies:
        event = by_seq[body["data"]["seq"]]
        assert (body["type"], body["data"]["type"], body["data"]["data"]) == (
            event.type,
            event.type,
            event.data,
        )
        assert (body["data"]["job"], body["data"]["id"]) == (job_id, f"evt_{job_id}_{event.seq}")
    assert {body["type"] for body in bodies} <= {*EVENT_TYPES}
    assert len({got.headers["webhook-id"] for got in hook.received}) == len(events)
    assert {row.status for row in deliveries(world)} == {"delivered"}
    assert send_all(world) == 0


def test_only_the_events_that_were_asked_for_are_written(world: World, hook: Receiver) -> None:
    terminal = add(world, hook.url, "job.cancelled")
    phases = add(world, hook.url, "phase.*", "job.created")
    disabled = add(world, hook.url)
    with transaction(world.engine) as session:
        session.get_one(Webhook, disabled).enabled = False
    job_id = world.submit()
    with transaction(world.engine) as session:
        cancel_job(session, session.get_one(Job, job_id))
    written = sorted((row.webhook_id, row.event_type) for row in deliveries(world))
    expected = [(terminal, "job.cancelled"), (phases, "job.created"), (phases, "phase.started")]
    assert written == sorted(expected)


def test_webhook_of_one_job_hears_of_no_other(world: World, hook: Receiver) -> None:
    mine = world.submit()
    add(world, hook.url, job_id=mine)
    other = world.submit()
    for job_id in (mine, other):
        with transaction(world.engine) as session:
            cancel_job(session, session.get_one(Job, job_id))
    assert {row.job_id for row in deliveries(world)} == {mine}


def test_event_and_delivery_share_a_transaction(world: World, hook: Receiver) -> None:
    add(world, hook.url)
    job_id = world.submit()
    before = len(deliveries(world))
    with Session(world.engine) as session:
        cancel_job(session, session.get_one(Job, job_id))
        session.flush()
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == before + 1
        session.rollback()
    assert len(deliveries(world)) == before


def test_refused_message_is_tried_again_under_the_same_id_and_given_up_in_the_end(
    world: World, hook: Receiver
) -> None:
    hook.answers = [500, 503, 404]
    webhook_id = add(world, hook.url)
    with transaction(world.engine) as session:
        send_test(session, session.get_one(Webhook, webhook_id))
    for code, status in ((500, "pending"), (503, "pending"), (404, "failed")):
        assert send_all(world) == 1
        (row,) = deliveries(world)
        assert (row.status, row.response_code, row.error) == (
            status,
            code,
            f"The receiver answered with {code}.",
        )
        assert (row.next_try_at is None) == (status == "failed")
        make_due(world)
    assert send_all(world) == 0
    assert [entry["response_code"] for entry in deliveries(world)[0].log] == [500, 503, 404]
    assert [entry["attempt"] for entry in deliveries(world)[0].log] == [1, 2, 3]
    assert {got.headers["webhook-id"] for got in hook.received} == {deliveries(world)[0].id}
    assert len({got.body for got in hook.received}) == 1


def test_receiver_that_is_gone_is_asked_no_more(world: World, hook: Receiver) -> None:
    hook.answers = [410]
    webhook_id = add(world, hook.url)
    world.submit()
    assert send_all(world) == 1
    with reading(world.engine) as session:
        assert session.get_one(Webhook, webhook_id).enabled is False


def test_rotated_secret_signs_at_once_and_the_old_one_for_the_grace_period(
    world: World, hook: Receiver
) -> None:
    webhook_id = add(world, hook.url)
    old, new = (Verifier(webhook_secret(SECRET.encode(), webhook_id, version)) for version in (1, 2))
    for grace in (3600, 0):
        with transaction(world.engine) as session:
            webhook = session.get_one(Webhook, webhook_id)
            webhook.secret_version = 1
            rotate_secret(session, webhook, grace)
            send_test(session, webhook)
        assert send_all(world) == 1
        got = hook.received.pop()
        new.verify(got.body, got.headers)
        if grace:
            old.verify(got.body, got.headers)
        else:
            with pytest.raises(WebhookVerificationError):
                old.verify(got.body, got.headers)


def test_changed_body_does_not_verify(world: World, hook: Receiver) -> None:
    webhook_id = add(world, hook.url)
    world.submit()
    send_all(world)
    got = hook.received[0]
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook_secret(SECRET.encode(), webhook_id, 1)).verify(got.body + " ", got.headers)


def test_many_senders_send_each_message_once(world: World, hook: Receiver) -> None:
    for _ in range(4):
        add(world, hook.url, "job.created", "job.queued", "phase.started")
    world.submit()
    with ThreadPoolExecutor(6) as pool:
        sent = list(pool.map(lambda _: send_all(world), range(6)))
    assert sum(sent) == len(hook.received) == 12
    assert {row.status for row in deliveries(world)} == {"delivered"}


def test_dead_senders_message_is_taken_over_and_its_late_word_refused(world: World, hook: Receiver) -> None:
    add(world, hook.url, "job.created")
    world.submit()
    dead = claim_delivery(world.engine)
    assert dead is not None
    assert claim_delivery(world.engine) is None
    make_due(world)
    assert send_all(world) == 1
    assert not record_attempt(world.engine, dead, attempt(dead, world.settings), world.settings)
    (row,) = deliveries(world)
    assert (row.status, row.attempts, len(row.log)) == ("delivered", 2, 1)


def test_old_log_is_forgotten_and_what_is_not_settled_is_kept(world: World, hook: Receiver) -> None:
    add(world, hook.url, "job.created", "job.queued")
    hook.answers = [200, 500]
    world.submit()
    assert send_all(world) == 2
    assert forget_deliveries(world.engine) == 0
    assert forget_deliveries(world.engine, kept_seconds=-60) == 1
    assert [row.status for row in deliveries(world)] == ["pending"]


def test_redirect_is_not_followed(world: World, hook: Receiver) -> None:
    with receiver() as inside:
        hook.answers, hook.location = [302], inside.url
        add(world, hook.url, "job.created")
        world.submit()
        send_all(world)
        assert inside.received == []
    (row,) = deliveries(world)
    assert (row.status, row.response_code) == ("pending", 302)


def test_url_that_is_off_the_allow_list_by_now_is_not_sent_to(world: World) -> None:
    with receiver() as inside:
        add(world, inside.url, "job.created")
        world.submit()
        send_all(world)
        assert inside.received == []
    (row,) = deliveries(world)
    assert (row.status, row.response_code) == ("pending", None)
    assert "https://" in (row.error or "")


def test_name_that_turns_private_after_the_webhook_was_made_is_not_connected_to(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        add(world, f"https://example.com:{listening.getsockname()[1]}/", "job.created")
        world.submit()
        message = claim_delivery(world.engine)
        assert message is not None
        outcome = attempt(message, world.settings, lambda host, port: ["127.0.0.1"])
        assert "not on the public internet" in (outcome.error or "")
        with pytest.raises(TimeoutError):
            listening.accept()


def test_receiver_that_answers_byte_by_byte_is_cut_off(world: World, hook: Receiver) -> None:
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                while not ended.wait(0.05):
                    connection.sendall(b"H")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=drip)
        thread.start()
        add(world, f"http://{host}/", "job.created")
        world.submit()
        message = claim_delivery(world.engine)
        assert message is not None
        short = world.settings.model_copy(update={"webhook_seconds": 0.5, "webhook_allowed_hosts": [host]})
        outcome = attempt(message, short)
        ended.set()
        thread.join()
    assert outcome.response_code is None
    assert "did not answer within" in (outcome.error or "")


def other_project(world: World) -> str:
    with transaction(world.engine) as session:
        project = Project(id=(made := new_id("proj")), name=f"other {made}")
        session.add(project)
        return project.id


def test_receivers_of_one_project_that_hang_leave_threads_for_another_project(
    world: World, hook: Receiver
) -> None:
    """Each hanging attempt takes 15 s and begins again; the other project's message passes them all."""
    slow = replace(world, settings=world.settings.model_copy(update={"webhook_seconds": 15.0}))
    hanging = hook.url.replace("/hook", hook.hanging)
    with transaction(world.engine) as session:
        for _ in range(3 * THREADS):
            send_test(session, create_webhook(session, world.project_id, hanging, ["*"]))
    project_id = other_project(world)
    stopping = threading.Event()
    WebhookSender(slow.engine, slow.settings, stopping).start()
    try:
        wait_until(lambda: len(hook.received) == THREADS // 2, "all threads of the one", 14)
        with transaction(world.engine) as session:
            webhook = create_webhook(session, project_id, hook.url, ["*"])
            wanted = send_test(session, webhook).id
        wait_until(
            lambda: wanted in {got.headers["webhook-id"] for got in hook.received}, "the other's message", 14
        )
        tried = [row for row in deliveries(world) if row.webhook_id != webhook.id and row.log]
        assert tried == []  # while the others' first attempts still run
    finally:
        stopping.set()
        hook.stop_hanging.set()


@pytest.mark.parametrize(("projects", "most"), [(1, 8), (2, 4), (3, 2)])
def test_project_has_at_most_as_many_threads_as_are_idle(
    world: World, hook: Receiver, projects: int, most: int
) -> None:
    assert THREADS == 16
    one, mine = sender(world), [world.project_id, *(other_project(world) for _ in range(projects - 1))]
    for project_id in mine:
        with transaction(world.engine) as session:
            for _ in range(THREADS):
                send_test(session, create_webhook(session, project_id, hook.url, ["*"]))
        while one._claim() is not None:
            pass
    with reading(world.engine) as session:
        claimed = select(func.count()).select_from(WebhookDelivery).join(Webhook)
        last = claimed.where(Webhook.project_id == mine[-1], WebhookDelivery.attempts > 0)
        assert session.scalar(last) == most


def test_receiver_that_does_not_answer_is_left_alone_longer_each_time(world: World, hook: Receiver) -> None:
    webhook_id = add(world, "http://127.0.0.1:9/")  # nobody listens on the port "discard"
    listed = replace(
        world, settings=world.settings.model_copy(update={"webhook_allowed_hosts": ["127.0.0.1:9"]})
    )
    with transaction(world.engine) as session:
        for _ in range(3):
            send_test(session, session.get_one(Webhook, webhook_id))
    assert send_all(listed) == 1  # the other two wait as well
    quiet = []
    for _ in range(2):
        with reading(world.engine) as session:
            webhook = session.get_one(Webhook, webhook_id)
            assert webhook.quiet_until is not None
            quiet.append((webhook.quiet_until - session.scalars(select(clock())).one()).total_seconds())
        with transaction(world.engine) as session:
            session.get_one(Webhook, webhook_id).quiet_until = clock(-1)
        assert send_all(listed) == 1
    assert quiet[0] <= 5 * 1.25 < 25 * 0.75 - 1 <= quiet[1]


def test_answer_ends_the_silence_of_a_receiver(world: World, hook: Receiver) -> None:
    webhook_id = add(world, hook.url)
    with transaction(world.engine) as session:
        webhook = session.get_one(Webhook, webhook_id)
        webhook.unanswered = 5
        webhook.quiet_until = clock(3600)
        assert claim_delivery(world.engine) is None
        send_test(session, webhook)  # a person wants to know now
    assert send_all(world) == 1
    with reading(world.engine) as session:
        webhook = session.get_one(Webhook, webhook_id)
        assert (webhook.unanswered, webhook.quiet_until) == (None, None)


def test_slow_answer_is_followed_by_a_pause_as_long(world: World, hook: Receiver) -> None:
    webhook_id = add(world, hook.url)
    with transaction(world.engine) as session:
        for _ in range(2):
            send_test(session, session.get_one(Webhook, webhook_id))
    message = claim_delivery(world.engine)
    assert message is not None
    record_attempt(world.engine, message, Outcome(200, None, seconds=14.0), world.settings)
    assert send_all(world) == 0
    with reading(world.engine) as session:
        until = session.get_one(Webhook, webhook_id).quiet_until
        assert until is not None
        assert 10 < (until - session.scalars(select(clock())).one()).total_seconds() <= 14


@pytest.mark.parametrize("first_answers", [[404, 404, 404], [200]])
def test_delivery_sent_again_by_hand_has_its_id_and_all_attempts_anew(
    world: World, hook: Receiver, first_answers: list[int]
) -> None:
    hook.answers = list(first_answers)
    webhook_id = add(world, hook.url)
    with transaction(world.engine) as session:
        message_id = send_test(session, session.get_one(Webhook, webhook_id)).id
    for _ in first_answers:
        assert send_all(world) == 1
        make_due(world)
    assert send_all(world) == 0
    with transaction(world.engine) as session:
        again = redeliver(session, session.get_one(Webhook, webhook_id), message_id)
        assert (again.status, again.finished_at) == ("pending", None)
    hook.answers = [500, 500, 200]
    for _ in range(3):  # as many as are allowed, though the first round had used them up
        assert send_all(world) == 1
        make_due(world)
    (row,) = deliveries(world)
    assert (row.status, row.attempts) == ("delivered", len(first_answers) + 3)
    assert {got.headers["webhook-id"] for got in hook.received} == {message_id}


def test_payload_is_json_in_ascii(world: World, hook: Receiver) -> None:
    add(world, hook.url, "job.created")
    world.submit()
    send_all(world)
    assert hook.received[0].body.isascii()
    assert json.loads(hook.received[0].body)["data"]["object"] == "event"


def test_pauses_grow_to_a_limit_with_some_chance_in_them() -> None:
    for number, exact in enumerate((5, 25, 125, 625, 3125, 15625, 43200, 43200), start=1):
        found = {pause_seconds(number, 5) for _ in range(20)}
        assert len(found) > 1
        assert all(timedelta(seconds=0.75 * exact) <= timedelta(seconds=one) for one in found)
        assert max(found) <= 1.25 * exact
