"""Follows the jobs of a project and hands trackers and receivers what is new. No job waits for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from star_client.client import StarClient
from star_client.errors import StarError
from star_client.mirrors.notices import TOLD, Notices
from star_client.mirrors.points import Point, points_of
from star_client.mirrors.trackers import Tracker
from star_client.objects import Job

PAGE = 100
RUNNING = ("queued", "running", "pausing", "paused", "cancelling")


@dataclass
class Place:
    """How far one job has been copied to one tracker."""

    iteration: int = -1  # the last one
    steps: int = 0  # optimizer steps up to there
    status: str = ""  # that was told last


class State:
    """What has been copied, in a file, so that a mirror that is started again sends nothing twice.

    past: where the file is new, jobs that had ended before are copied too.
    """

    def __init__(self, file: Path, *, past: bool = False) -> None:
        self._file = file
        self._places: dict[str, dict[str, Place]] = {}  # receiver -> job -> place
        self.since = datetime.min.replace(tzinfo=UTC) if past else datetime.now(UTC)
        if file.exists():
            read = json.loads(file.read_text(encoding="utf-8"))
            self.since = datetime.fromisoformat(read["since"])
            for receiver, jobs in read["places"].items():
                self._places[receiver] = {job: Place(**place) for job, place in jobs.items()}
        self.write()

    def of(self, receiver: str, job_id: str) -> Place:
        return self._places.setdefault(receiver, {}).setdefault(job_id, Place())

    def write(self) -> None:
        places = {
            receiver: {job: asdict(place) for job, place in jobs.items()}
            for receiver, jobs in self._places.items()
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"since": self.since.isoformat(), "places": places}), encoding="utf-8")
        new.replace(self._file)


class Mirror:
    """Copies what is new, job by job. A receiver that fails is tried again next time."""

    def __init__(
        self,
        star: StarClient,
        trackers: Sequence[Tracker],
        notices: Sequence[Notices],
        state: State,
    ) -> None:
        self._star, self._trackers, self._notices = star, trackers, notices
        self._state = state
        self._said: set[str] = set()  # receivers that are known to fail

    def turn(self) -> int:
        """Look at every job once. Returns how many receivers did not take what they were sent."""
        failed = 0
        for job in self._jobs():
            for tracker in self._trackers:
                failed += not self._tried(tracker.name, partial(self._copy, tracker, job))
            for notices in self._notices:
                failed += not self._tried(notices.name, partial(self._tell, notices, job))
        return failed

    def _jobs(self) -> Iterator[Job]:
        """Those that run, and of the newest those that ended since the mirror first started."""
        running = self._star.jobs.list(limit=PAGE, status=RUNNING, order="oldest").data
        newest = {job.id: job for job in reversed(self._star.jobs.list(limit=PAGE).data)}
        found = {job.id: job for job in running} | newest
        return (
            job for job in found.values() if job.finished_at is None or job.finished_at >= self._state.since
        )

    def _tried(self, name: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except StarError:
            raise  # the platform's, not the receiver's
        except Exception as failure:  # noqa: BLE001 - whatever a package raises is its receiver's failure
            if name not in self._said:
                sys.stderr.write(f"{name} fails and is tried again: {type(failure).__name__}: {failure}\n")
            self._said.add(name)
            return False
        self._said.discard(name)
        return True

    def _copy(self, tracker: Tracker, job: Job) -> None:
        place = self._state.of(tracker.name, job.id)
        if place.status == job.status and job.is_terminal:
            return
        points: list[Point] = []
        last, steps = place.iteration, place.steps
        for iteration in self._star.jobs.iterations(job.id):
            if iteration.number <= place.iteration or iteration.finished_at is None:
                continue
            found = list(points_of(self._star, job, iteration, steps))
            steps += sum(point.axis == "optimizer_step" for point in found)
            points += found
            last = iteration.number
        if points or job.is_terminal:
            tracker.send(job, points)
            place.iteration, place.steps = last, steps
            place.status = job.status if job.is_terminal else ""
            self._state.write()

    def _tell(self, notices: Notices, job: Job) -> None:
        place = self._state.of(notices.name, job.id)
        if job.status == place.status:
            return
        if job.status in TOLD:
            notices.tell(job, f"{self._star.base_url}/dashboard")
        place.status = job.status
        self._state.write()
