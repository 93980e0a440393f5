"""Rings go out in their order, from as many relays as there are, none twice and none never."""

from __future__ import annotations

from sqlalchemy import update

from app.database import clock, transaction
from app.ledger.queue.outbox import BATCH, _take, notify, relay
from app.tables.jobs import Outbox
from tests.factories import World


def add_notifications(world: World, count: int) -> list[str]:
    names = [f"step_{number:03d}" for number in range(count)]
    with transaction(world.engine) as session:
        notify(session, names)
    return names


def test_a_relay_goes_on_while_rings_wait(world: World) -> None:
    names = add_notifications(world, 2 * BATCH + 50)
    sent: list[str] = []
    assert relay(world.engine, lambda step_id, _: sent.append(step_id), 60) == len(names)
    assert sent == names  # the oldest first


def test_two_relays_share_the_rings_and_send_none_twice(world: World) -> None:
    names = add_notifications(world, BATCH + 50)
    sent: dict[str, list[str]] = {"first": [], "second": []}

    def first(step_id: str, _: str) -> None:
        if not sent["first"]:  # while it is at work, another one comes by
            relay(world.engine, lambda other, _: sent["second"].append(other))
        sent["first"].append(step_id)

    assert relay(world.engine, first) == BATCH
    assert sent == {"first": names[:BATCH], "second": names[BATCH:]}


def test_rings_of_a_relay_that_died_are_sent_by_another_one_later(world: World) -> None:
    names = add_notifications(world, 3)
    taken, _ = _take(world.engine)
    assert [item.step_id for item in taken] == names
    sent: list[str] = []
    assert relay(world.engine, lambda step_id, _: sent.append(step_id)) == 0
    with transaction(world.engine) as session:
        session.execute(update(Outbox).values(taken_until=clock(-1)))
    assert relay(world.engine, lambda step_id, _: sent.append(step_id)) == 3
    assert sent == names
