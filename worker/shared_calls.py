"""Runs several steps that ask the same model in one sampler call, filling its free rows. Each keeps its own
claim, lease, fence and records.

Another step joins once the running ones leave rows free, and only if it is the next in turn for this worker
(app/ledger/queue/dispatch.py): sharing a call changes nobody's share of the workers. What stops one step ends
the call: the others are released, with what they have recorded. A step that has failed before works alone,
so that a failure is laid at the right door.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.failpoints import failpoint
from app.ledger.queue.steps import Claim
from app.tables.base import JsonObject
from app.tables.jobs import Step
from app.tracing.spans import Span, current, span
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from star_engine.phases.phase import Alone, Ask, Asked, Progress, Work, slice_from
from star_engine.phases.table import phase_of
from star_engine.protocols import Completion, SampleRequest
from star_engine.sampling.completion_cache import ReusingPlan
from star_engine.sampling.finishing import finished
from star_engine.sampling.shared_calls import sent_by, sent_from
from worker.context import ClaimedGpu, WorkerContext
from worker.gpu.process import GpuProcess
from worker.lease import Lease, Released
from worker.sandbox.recorded import recording
from worker.settle import stop
from worker.steps import begin, drive, report, reusing, work_alone
from worker.tracing.claims import begin_step, claim_next, end_step

log = structlog.get_logger()

FLUSH_SECONDS = 5.0  # recorded at least this often, however slow the sampler
MAX_TOGETHER = 8  # steps in a call: each renews a lease


@dataclass(slots=True)
class Track:
    """One step of a shared call."""

    claim: Claim
    lease: Lease
    span: Span
    work: Work = field(default_factory=lambda: iter(()))
    ask: Ask[Any] | None = None  # what it asks now
    plan: ReusingPlan[Any] | None = None  # the same, with what is on record looked up first
    waiting: int = 0  # requests that were sent and are not answered
    items: list[Any] = field(default_factory=list)  # not recorded yet
    began: float = field(default_factory=time.monotonic)
    flushed: float = field(default_factory=time.monotonic)
    parked: bool = False  # it has recorded what it asked, and needs the GPU for itself
    ended: bool = False


def work_on(worker: WorkerContext, claim: Claim) -> None:
    """Do one claimed step to its end, whatever that is, and those that share a call of the sampler with it.

    This and `work_alone` are the only places that catch everything.
    """
    with recording(worker.engine, worker.settings, claim):
        _work_on(worker, claim)


def _work_on(worker: WorkerContext, claim: Claim) -> None:
    worker.halvings = claim.work.get("halvings", 0)
    asked = _asked_by(claim.config, claim.phase, claim.iteration, claim.work)
    if asked is None:
        work_alone(worker, claim)
        return
    together = _Together(worker, claim, asked)
    try:
        together.work()
    except Exception as problem:
        if not together.stop(problem):
            raise  # no step's, but the claim's of the next one
    finally:
        together.leave()


def _asked_by(config: StarConfig, phase: PhaseName, iteration: int, work: JsonObject) -> Asked | None:
    """What a step asks first; None where its phase shares no call."""
    asks = phase_of(config, phase).asks
    return None if asks is None else asks(config, iteration, slice_from(work))


class _Together:
    def __init__(self, worker: WorkerContext, first: Claim, asked: Asked) -> None:
        self._worker = worker
        self._first = first
        self._asked = asked
        self._tracks: list[Track] = []
        self._at: Track | None = None  # whose work is being done: what is raised is its problem
        self._gpu: GpuProcess | None = None
        self._closed = first.attempt > 1 or not worker.settings.pipeline  # to others

    def work(self) -> None:
        queue: deque[SampleRequest] = deque()
        self._begin(self._first, queue)
        if queue:
            with current(self._tracks[0].span):  # the call is the first step's, whoever shares it
                self._ask(queue)
        for track in self._tracks:
            if track.parked:
                with current(track.span):
                    self._finish_alone(track)

    def _ask(self, queue: deque[SampleRequest]) -> None:
        found = finished(
            self._open(),
            queue,
            self._asked.params,
            self._finish,
            side_by_side=self._first.config.executes,
            idle=self._check,
        )
        with closing(found):
            for completion, result in found:
                self._take(completion, result, queue)
                self._blame_oldest()
                self._let_join(queue)
                self._blame_oldest()

    def stop(self, problem: Exception) -> bool:
        """End every step that is still open: the one at fault with its problem, the others released.

        Returns whether there was one.
        """
        open_tracks = list(self._open_tracks())
        lost = any(track.lease.lost for track in open_tracks)
        for track in open_tracks:
            at_fault = track is self._at and not (lost and not track.lease.lost)
            said = problem if at_fault else Released()
            self._end(track, stop(self._worker, track.claim, track.lease, said), type(said).__name__)
        return bool(open_tracks)

    def leave(self) -> None:
        """Give up what a KeyboardInterrupt or the like has left open."""
        for track in self._open_tracks():
            track.lease.__exit__(None, None, None)
            track.span.end()

    def _begin(self, claim: Claim, queue: deque[SampleRequest]) -> None:
        worker = self._worker
        place = {"job": claim.job_id, "step": claim.step_id}
        log.info("step_started", **place, phase=claim.phase, attempt=claim.attempt, fence=claim.fence)
        failpoint("claim.after_commit")
        lease = Lease(worker.engine, worker.settings, claim, worker.draining, worker.abandon).__enter__()
        track = Track(claim, lease, begin_step(claim))
        self._tracks.append(track)
        self._at = track
        lease.gpu = self._gpu
        with current(track.span):
            track.work = begin(worker, claim, lease)
            self._proceed(track)
        self._send(track, queue)

    def _proceed(self, track: Track) -> None:
        """Let the step run until it asks, needs the GPU for itself, or ends."""
        track.ask = track.plan = None
        for item in track.work:
            if isinstance(item, Progress):
                report(track.lease, item)
            elif isinstance(item, Alone):
                track.parked = True
                return
            else:
                track.ask = item
                track.plan = reusing(self._worker, track.claim, track.lease, item)
                return
        self._end(track, "finished")

    def _open(self) -> GpuProcess:
        """The GPU process with the adapter that all ask. It is opened by the first request."""
        if self._gpu is None:
            track = self._tracks[0]
            gpu = ClaimedGpu(self._worker, track.claim, track.lease)
            self._gpu = gpu.sampler(self._asked.iteration)
            self._gpu.check = self._check
            for other in self._open_tracks():
                other.lease.gpu = self._gpu
        return self._gpu

    def _check(self) -> None:
        before = self._at
        for track in self._open_tracks():
            self._at = track
            track.lease.check()
        self._at = before

    def _finish(self, completion: Completion) -> Any:
        number, own = sent_by(completion)
        plan = self._tracks[number].plan
        return None if plan is None else plan.finish(own)

    def _take(self, completion: Completion, result: Callable[[], Any], queue: deque[SampleRequest]) -> None:
        track = self._at = self._tracks[sent_by(completion)[0]]
        if (item := result()) is not None:
            track.items.append(item)
        track.waiting -= 1
        self._send(track, queue)

    def _send(self, track: Track, queue: deque[SampleRequest]) -> None:
        """Send the step's next requests, record what is due, and proceed if that was all."""
        if track.plan is None:
            return
        number = self._tracks.index(track)
        size = self._worker.settings.record_batch
        for item in track.plan.look_up():
            track.items.append(item)
            if len(track.items) >= size:
                self._record(track)
        while track.plan.queue:
            queue.append(sent_from(number, track.plan.queue.popleft()))
            track.waiting += 1
        late = time.monotonic() - track.flushed > FLUSH_SECONDS
        if track.items and (len(track.items) >= size or late or not track.waiting):
            self._record(track)
        if not track.waiting:
            with current(track.span):
                self._proceed(track)
            self._send(track, queue)

    def _record(self, track: Track) -> None:
        if track.ask is not None:
            with current(track.span), span("record", {"star.items": len(track.items)}):
                recorded = track.ask.record(track.items)
            report(track.lease, recorded)
        track.items, track.flushed = [], time.monotonic()

    def _finish_alone(self, track: Track) -> None:
        self._at = track
        self._open()
        track.parked = False
        for progress in drive(self._worker, track.claim, track.lease, track.work):
            report(track.lease, progress)
        self._end(track, "finished")

    def _end(self, track: Track, outcome: str, error_type: str | None = None) -> None:
        track.ended = True
        track.lease.__exit__(None, None, None)
        claim = track.claim
        if outcome == "finished":
            self._worker.fitness.succeeded()
        place = {"job": claim.job_id, "step": claim.step_id}
        seconds = round(time.monotonic() - track.began, 3)
        log.info("step_ended", **place, fence=claim.fence, outcome=outcome, seconds=seconds)
        end_step(track.span, outcome, error_type)

    def _let_join(self, queue: deque[SampleRequest]) -> None:
        """Claim the next step in turn if it asks the same and there is room for its requests."""
        worker = self._worker
        open_tracks = list(self._open_tracks())
        waiting = sum(track.waiting for track in open_tracks)
        full = len(open_tracks) >= MAX_TOGETHER or waiting > worker.room
        if self._closed or full or worker.draining():
            return
        claim = claim_next(worker, self._fits)
        if claim is None:
            self._closed = True
        else:
            self._begin(claim, queue)

    def _fits(self, step: Step) -> bool:
        if step.job_id != self._first.job_id or step.attempt > 0:
            return False
        phase, work = step.phase, step.work
        return _asked_by(self._first.config, phase, step.iteration_number, work) == self._asked

    def _open_tracks(self) -> Iterator[Track]:
        return (track for track in self._tracks if not track.ended)

    def _blame_oldest(self) -> None:
        """Attribute an error of the sampler, which no step owns, to the oldest step of the call."""
        self._at = next(self._open_tracks(), None)
