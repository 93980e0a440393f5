"""A change that is meant for one version of an object is refused once it has another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from star_client.client import StarClient
from star_client.errors import Refused
from tests.star_client.conftest import Finished, Run

OTHER = '"another-version"'

# What takes If-Match, on objects that exist.
CHANGES: dict[str, Callable[[StarClient, str], object]] = {
    "jobs.delete": lambda star, job: star.jobs.delete(job, if_match=OTHER),
    "jobs.retention": lambda star, job: star.jobs.retention(job, keep_last=1, if_match=OTHER),
    "adapters.pin": lambda star, job: star.adapters.pin(f"{job}:1", if_match=OTHER),
    "adapters.delete": lambda star, job: star.adapters.delete(f"{job}:1", if_match=OTHER),
    "data_retention.set": lambda star, _: star.data_retention.set(if_match=OTHER),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_another_version_is_refused(finished: Finished, name: str) -> None:
    with pytest.raises(Refused, match="changed") as refused:
        CHANGES[name](finished.star, finished.job_id)
    assert (refused.value.status, refused.value.code) == (412, "changed_since")


def test_of_two_people_who_change_one_adapter_the_second_reads_it_again(finished: Finished) -> None:
    adapters = finished.star.adapters
    first, second = (adapters.get(f"{finished.job_id}:1") for _ in range(2))
    pinned = adapters.pin(first.id, if_match=first.etag)
    with pytest.raises(Refused, match="Read it again"):
        adapters.pin(second.id, pinned=False, if_match=second.etag)
    again = adapters.get(second.id)
    assert again.pinned
    assert again.etag == pinned.etag != first.etag
    assert not adapters.pin(again.id, pinned=False, if_match=again.etag).pinned


def test_the_version_that_json_shows_is_what_if_match_takes(run: Run, finished: Finished) -> None:
    adapter = f"{finished.job_id}:2"
    [pinned] = run(finished.server, "adapters", "pin", adapter, "--json").objects
    stale = run(finished.server, "adapters", "unpin", adapter, "--if-match", OTHER)
    assert stale.status == 4
    assert "changed since" in stale.err
    unpinned = run(finished.server, "adapters", "unpin", adapter, "--if-match", pinned["etag"], "--json")
    assert unpinned.objects[0]["pinned"] is False
