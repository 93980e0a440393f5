"""Jobs, and what happens in them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Unpack
from urllib.parse import quote
from uuid import uuid4

import httpx2

from star_client.candidates import TestTimeCurves
from star_client.downloads import save
from star_client.errors import ServerFailed
from star_client.job_request import JobRequest, body_of
from star_client.objects import Event, Iteration, Job, LogLine, Page, Rationale, TrainingRow, rfc3339
from star_client.objects_results import (
    Advice,
    Answer,
    Coverage,
    DryRun,
    ExampleProgress,
    Regrade,
    TrainingCurve,
)
from star_client.quality.probes import Probe, ProbedDryRun
from star_client.resources import LARGEST_PAGE, every
from star_client.transport import Request, Transport, matching

ReportFormat = Literal["markdown", "html", "json"]
ExportFormat = Literal["jsonl", "parquet"]
TrainingSetFormat = Literal["jsonl", "parquet", "messages"]

LONGEST_WAIT = 30.0  # seconds: what the server lets `wait` be
RECONNECTS = 12  # attempts in a row without an event: about a minute and a half


class Jobs:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, idempotency_key: str | None = None, **wanted: Unpack[JobRequest]) -> Job:
        """Submit a job: ids of a base model, a dataset and a prompt set, and changes to a preset's settings.

        Sent with an Idempotency-Key (a random one if none is given), so that a retry over a bad connection
        makes one job. Raises Refused before any GPU time is spent.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self._job(Request("POST", "/v1/jobs", headers=headers, json=body_of(wanted), again=True))

    def dry_run(self, **wanted: Unpack[JobRequest]) -> DryRun:
        """What `create` would make: its configuration, warnings, prompts and an estimate. Nothing is made."""
        body = body_of(wanted) | {"dry_run": True}
        answer = self._transport.send(Request("POST", "/v1/jobs", json=body, again=True))
        return DryRun.model_validate_json(answer.content)

    def probe(
        self, questions: int = 50, *, idempotency_key: str | None = None, **wanted: Unpack[JobRequest]
    ) -> ProbedDryRun:
        """A dry run that also asks 20 to 200 of the train questions, 8 tries each; returns at once.

        See `probed` and `wait_for_probe`; `cancel` takes its id. `create` with the same settings finds its
        tries on record. Sent with an Idempotency-Key, so that a retry begins one probe.
        """
        body = body_of(wanted) | {"dry_run": True, "probe": questions}
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        answer = self._transport.send(Request("POST", "/v1/jobs", headers=headers, json=body, again=True))
        return ProbedDryRun.model_validate_json(answer.content)

    def probed(self, probe_id: str, *, wait: float = 0) -> Probe:
        """A probe; `wait`: at most so many seconds (30) for its end."""
        request = Request("GET", f"/v1/probes/{probe_id}", {"wait": wait or None})
        return Probe.model_validate_json(self._transport.send(request).content)

    def wait_for_probe(self, probe_id: str, patience: float = 3600.0) -> Probe:
        """The probe once it has ended. Raises TimeoutError after `patience` seconds; it goes on."""
        deadline = time.monotonic() + patience
        while not (found := self.probed(probe_id, wait=LONGEST_WAIT)).is_terminal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found.id} is {found.status} after {patience:g} s; it goes on.")
        return found

    def fork(
        self,
        job_id: str,
        from_iteration: int,
        *,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        priority: int | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Create a new job that continues from an iteration of this job (0: its baselines only) with other
        settings.
        """
        optional = {"config": config, "name": name, "priority": priority, "metadata": metadata}
        body: dict[str, Any] = {"from_iteration": from_iteration}
        body |= {field: value for field, value in optional.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self._job(Request("POST", f"/v1/jobs/{job_id}/fork", headers=headers, json=body, again=True))

    def dry_run_of_fork(
        self,
        job_id: str,
        from_iteration: int,
        *,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        priority: int | None = None,
    ) -> DryRun:
        """What `fork` would make, and what its own iterations would take. Nothing is made."""
        optional = {"config": config, "name": name, "priority": priority}
        body: dict[str, Any] = {"from_iteration": from_iteration, "dry_run": True}
        body |= {field: value for field, value in optional.items() if value is not None}
        answer = self._transport.send(Request("POST", f"/v1/jobs/{job_id}/fork", json=body, again=True))
        return DryRun.model_validate_json(answer.content)

    def regrade(
        self,
        job_id: str,
        *,
        iteration: int | Literal["all"] = "all",
        kind: str | None = None,
        verifier: Mapping[str, Any] | None = None,
        training_set: Mapping[str, Any] | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Regrade:
        """Judge the recorded rationales again with another verifier or other filters. Changes nothing.

        limit, after: the page of `changes`.
        """
        optional = {"kind": kind, "verifier": verifier, "training_set": training_set}
        body: dict[str, Any] = {"iteration": iteration}
        body |= {field: value for field, value in optional.items() if value is not None}
        params = {"limit": limit, "after": after}
        request = Request("POST", f"/v1/jobs/{job_id}/regrade", params, json=body, again=True)
        return Regrade.model_validate_json(self._transport.send(request).content)

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        model: str | None = None,
        dataset: str | None = None,
        name: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        archived: bool = False,
        order: str = "newest",
        limit: int = 20,
        after: str | None = None,
    ) -> Page[Job]:
        """`order`: newest, oldest or name. `archived`: those that are, and no others. `after`: the `last_id`
        of the page before."""
        params = {
            "status": status,
            "model": model,
            "dataset": dataset,
            "name": name,
            "created_after": created_after and rfc3339(created_after),
            "created_before": created_before and rfc3339(created_before),
            "archived": "true" if archived else None,
            "order": order,
            "limit": limit,
            "after": after,
        }
        answer = self._transport.send(Request("GET", "/v1/jobs", params))
        return Page[Job].model_validate_json(answer.content)

    def get(self, job_id: str) -> Job:
        return self._job(Request("GET", f"/v1/jobs/{job_id}"))

    def wait(self, job_id: str, *, patience: float = math.inf) -> Job:
        """Return the job once it has ended, or is paused: then it goes on only when somebody acts.

        Raises TimeoutError after `patience` seconds; the job goes on.
        """
        seen, last = 0, time.monotonic() + patience
        while not (job := self.get(job_id)).is_terminal and job.status != "paused":
            if (left := last - time.monotonic()) <= 0:
                raise TimeoutError(f"{job_id} is still {job.status} after {patience:g} s.")
            page = self.list_events(job_id, after=seen, limit=1000, wait=min(LONGEST_WAIT, left))
            seen = page.data[-1].seq if page.data else seen
        return job

    def cancel(self, job_id: str, *, baselines: bool = False) -> Job:
        """Stop it for good, and `baselines` with it; Refused (409) if it has ended."""
        return self._verb(job_id, "cancel", params={"baselines": "true"} if baselines else {})

    def pause(self, job_id: str) -> Job:
        """Pause the job; everything recorded stays."""
        return self._verb(job_id, "pause")

    def resume(self, job_id: str, accept: str | None = None) -> Job:
        """Resume the job. `accept` names the reason it paused itself for (no_spark), to resume despite it."""
        return self._verb(job_id, "resume", None if accept is None else {"accept": accept})

    def retry(self, job_id: str) -> Job:
        """Go on with a failed job from the step that failed; its attempts start from zero."""
        return self._verb(job_id, "retry")

    def delete(self, job_id: str, *, baselines: bool = False, if_match: str | None = None) -> None:
        """Delete it for good, with all that it recorded, and `baselines` with it.

        Raises Refused (409) while it is active, or while something depends on it: `dependents` names what;
        (412) where `if_match` is given and is no longer its `etag`.
        """
        params = {"baselines": "true"} if baselines else {}
        self._transport.send(Request("DELETE", f"/v1/jobs/{job_id}", params, matching(if_match)))

    def update(
        self,
        job_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        if_match: str | None = None,
    ) -> Job:
        """Rename it, and merge metadata into what there is: None removes an entry.

        Raises Refused (412) where `if_match` is given and is no longer its `etag`.
        """
        body = {"name": name, "metadata": metadata}
        changes = {key: value for key, value in body.items() if value is not None}
        path = f"/v1/jobs/{job_id}"
        return self._job(Request("PATCH", path, headers=matching(if_match), json=changes, again=True))

    def archive(self, job_id: str, *, archived: bool = True) -> Job:
        """Leave a job that has ended out of lists, or list it again. It can be read as before."""
        verb = "archive" if archived else "unarchive"
        return self._job(Request("POST", f"/v1/jobs/{job_id}/{verb}", again=True))

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """What happens, as it happens, until the job is terminal. `after`: the last event already seen.

        A broken connection is made again and goes on after the last event received: none is lost or doubled.
        Raises Unreachable when the server stays away.
        """
        failures = 0
        while failures < RECONNECTS:
            seen = after
            try:
                for event in self._stream(job_id, after):
                    if event is None:
                        return
                    if event.seq > after:
                        after = event.seq
                        yield event
            except (httpx2.TransportError, ServerFailed) as error:
                broken: Exception = error
            else:
                broken = ConnectionError("the stream ended before the job did")
            failures = failures + 1 if after == seen else 1
            self._transport.pause(failures)
        raise self._transport.unreachable(broken)

    def list_events(self, job_id: str, *, after: int = 0, limit: int = 100, wait: float = 0) -> Page[Event]:
        """Events with seq > `after`, oldest first. If there is none, wait for one: at most 30 seconds."""
        params = {"after": after, "limit": limit, "wait": wait or None}
        request = Request("GET", f"/v1/jobs/{job_id}/events", params)
        return Page[Event].model_validate_json(self._transport.send(request).content)

    def logs(
        self,
        job_id: str,
        *,
        level: str | None = None,
        phase: str | None = None,
        iteration: int | None = None,
    ) -> Iterator[LogLine]:
        """How each claim of its steps ended, oldest first. level: info, warning or error, and those above it.
        `trace` is for operators."""
        params = {"level": level, "phase": phase, "iteration": iteration, "limit": LARGEST_PAGE}
        return every(self._transport, f"/v1/jobs/{job_id}/logs", LogLine, params)

    def iterations(self, job_id: str) -> tuple[Iteration, ...]:
        """All so far, in order; number 0 holds the baselines."""
        path = f"/v1/jobs/{job_id}/iterations"
        return tuple(every(self._transport, path, Iteration, cursor=lambda page: page.data[-1].number))

    def iteration(self, job_id: str, number: int) -> Iteration:
        request = Request("GET", f"/v1/jobs/{job_id}/iterations/{number}")
        return Iteration.model_validate_json(self._transport.send(request).content)

    def curve(self, job_id: str, number: int) -> TrainingCurve:
        """Loss, gradient norm, learning rate and tokens of every optimizer step of an iteration."""
        request = Request("GET", f"/v1/jobs/{job_id}/iterations/{number}/curve")
        return TrainingCurve.model_validate_json(self._transport.send(request).content)

    def curve_csv(self, job_id: str, number: int) -> str:
        """The same as the text of a CSV file."""
        params = {"format": "csv"}
        path = f"/v1/jobs/{job_id}/iterations/{number}/curve"
        return self._transport.send(Request("GET", path, params)).text

    def advice(self, job_id: str, iteration: int | None = None) -> tuple[Advice, ...]:
        """What an iteration's records say should be changed; of the newest that says something."""
        request = Request("GET", f"/v1/jobs/{job_id}/advice", {"iteration": iteration})
        return tuple(map(Advice.model_validate, self._transport.send(request).json()["data"]))

    def test_time(self, job_id: str) -> tuple[TestTimeCurves, ...]:
        """Accuracy over k answers to a question: of the base model, and at the end of the last adapter."""
        answer = self._transport.send(Request("GET", f"/v1/jobs/{job_id}/test-time"))
        return tuple(map(TestTimeCurves.model_validate, answer.json()["data"]))

    def examples(self, job_id: str, *, state: str | None = None) -> Iterator[ExampleProgress]:
        """The train examples that were tried: what the model still fails, since when, tried how often.

        `state`: solved, forgotten, unsolved, or suspect (probably a wrong answer key).
        """
        path = f"/v1/jobs/{job_id}/examples"
        return every(self._transport, path, ExampleProgress, {"limit": LARGEST_PAGE, "state": state})

    def coverage(self, job_id: str) -> tuple[Coverage, ...]:
        """Return what each iteration solved, kept and covered, and the churn between iterations."""
        path = f"/v1/jobs/{job_id}/coverage"
        return tuple(every(self._transport, path, Coverage, cursor=lambda page: page.data[-1].iteration))

    def retention(
        self,
        job_id: str,
        *,
        keep_last: int | None = None,
        keep_best: bool = True,
        days: float | None = None,
        if_match: str | None = None,
    ) -> Job:
        """Which adapters to keep once the job has ended: the newest so many (None: all), the best, and until
        so many `days` after its end. Pinned ones stay."""
        body = {"keep_last": keep_last, "keep_best": keep_best, "days": days}
        path, headers = f"/v1/jobs/{job_id}/retention", matching(if_match)
        return self._job(Request("PUT", path, headers=headers, json=body, again=True))

    def report(
        self,
        job_id: str,
        format: ReportFormat = "markdown",  # noqa: A002 - its name over HTTP
        *,
        compare: Sequence[str] = (),
    ) -> str:
        """Did STaR help here, and how sure is that? The text of a Markdown file, an HTML page or JSON.

        compare: ids of other jobs to compare it with, besides its own baselines.
        """
        params = {"format": format, "compare": ",".join(compare) or None}
        return self._transport.send(Request("GET", f"/v1/jobs/{job_id}/report", params)).text

    def answer(self, job_id: str) -> Answer:
        """The report's answer: whether STaR helped, against what, and how sure that is."""
        return Answer.model_validate(json.loads(self.report(job_id, "json"))["answer"])

    def history(self, job_id: str, example_id: str) -> tuple[Rationale, ...]:
        """All tries at one example, over all iterations. `example_id`: the dataset's own id of it."""
        path = f"/v1/jobs/{job_id}/examples/{quote(example_id, safe='')}/history"
        return tuple(every(self._transport, path, Rationale, {"limit": LARGEST_PAGE}))

    def training_set(self, job_id: str, number: int) -> Iterator[TrainingRow]:
        """What the adapter of this iteration was trained on."""
        request = Request("GET", f"/v1/jobs/{job_id}/iterations/{number}/training-set")
        with self._transport.stream(request) as response:
            yield from map(TrainingRow.model_validate_json, _lines(response.iter_bytes()))

    def download_training_set(
        self,
        job_id: str,
        number: int,
        file: Path,
        *,
        format: TrainingSetFormat = "jsonl",  # noqa: A002
    ) -> Path:
        """The same as a file; `messages`: as conversations, a line each."""
        path = f"/v1/jobs/{job_id}/iterations/{number}/training-set"
        return save(self._transport, Request("GET", path, {"format": format}), file)

    def download_pairs(
        self, job_id: str, number: int, file: Path, *, shape: Literal["dpo", "kto"] = "dpo"
    ) -> Path:
        """What was kept beside the wrong tries at the same question, as TRL's trainers read it."""
        path = f"/v1/jobs/{job_id}/iterations/{number}/pairs"
        return save(self._transport, Request("GET", path, {"shape": shape}), file)

    def _verb(
        self,
        job_id: str,
        verb: str,
        body: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Job:
        # Not repeated after an answer was lost: a job that this very cancel ended would answer 409.
        return self._job(Request("POST", f"/v1/jobs/{job_id}/{verb}", params or {}, json=body))

    def _job(self, request: Request) -> Job:
        return Job.read_from(self._transport.send(request))

    def _stream(self, job_id: str, after: int) -> Iterator[Event | None]:
        """The events of one connection; None: the job has ended."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        with self._transport.stream(
            Request("GET", f"/v1/jobs/{job_id}/events/stream", headers=headers)
        ) as response:
            for sent in httpx2.EventSource(response):
                if sent.event == "done":
                    yield None
                elif sent.data:
                    yield Event.model_validate_json(sent.data)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that end with a line feed. httpx2's own iter_lines also splits at U+2028 and other characters
    that a rationale may hold."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
