"""A platform with one of everything that the dashboard shows, and the addresses of all of its pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import update

from app.database import transaction
from app.ledger.queue.capacity import Capacity, saw_worker
from app.tables.jobs import Job
from app.tables.statuses import JobStatus
from star_engine.loop import PhaseName
from tests.star_client.recorded_platform import Platform

HOOKS = "127.0.0.1:9"  # nobody listens there: a delivery to it fails
LONG_NAME = "commonsense-qa, llama-3.1-8b-instruct, 8 tries at 0.7, without rationalization, seed 42"

# name of the picture: the page of it
PAGES = {
    "sign-in": "sign-in",
    "jobs": "jobs",
    "jobs-none-found": "jobs?name=nothing+like+this",
    "new-job": "jobs/new",
    "new-job-like": "jobs/new?like={job}",
    "job": "jobs/{job}",
    "fork": "jobs/{job}/fork",
    "rationales": "jobs/{job}/rationales",
    "rationale": "jobs/{job}/rationales?rationale={rationale}",
    "rationale-alone": "jobs/{job}/rationales/{rationale}",
    "answers": "jobs/{job}/answers",
    "answers-gained": "jobs/{job}/answers?iteration=1&changed=gained",
    "held-out": "jobs/{job}/held-out",
    "test-time": "jobs/{job}/test-time",
    "curve": "jobs/{job}/iterations/1/curve",
    "examples": "jobs/{job}/examples",
    "example": "jobs/{job}/examples/{example}",
    "review": "jobs/{job}/review",
    "studies": "jobs/{job}/studies",
    "study": "studies/{study}",
    "job-adapters": "jobs/{job}/adapters",
    "share": "jobs/{job}/share",
    "thoughts-none": "jobs/{job}/thoughts",
    "adapters": "adapters",
    "adapter": "adapters/{adapter}",
    "adapter-asked": "adapters/{adapter}?trial={trial}",
    "playground": "adapters/{adapter}/playground",
    "compare-choice": "compare",
    "compare": "compare?job={job}&job={other}",
    "datasets": "datasets",
    "dataset-new": "datasets/new",
    "dataset": "datasets/{dataset}",
    "prompt-sets": "prompt-sets",
    "prompt-set-new": "prompt-sets/new",
    "prompt-draft-new": "prompt-sets/drafts/new",
    "prompt-draft": "prompt-sets/drafts/{draft}",
    "prompt-set": "prompt-sets/{prompt_set}",
    "search": "search",
    "search-found": "search?text=c%3A",
    "verifiers": "verifiers",
    "platform": "platform",
    "usage": "platform/usage",
    "keys": "platform/keys",
    "audit": "platform/audit",
    "base-models": "platform/base-models",
    "projects": "platform/projects",
    "webhooks": "platform/webhooks",
    "webhook": "platform/webhooks/{webhook}",
    "not-found": "jobs/job_0",
}

# Jobs that have run, as they would be in another state.
STATES: dict[str, dict[str, Any]] = {
    "running": {"status": JobStatus.RUNNING, "phase": PhaseName.TRAIN, "iteration": 2},
    "paused": {
        "status": JobStatus.PAUSED,
        "status_reason": {
            "code": "insufficient_kept",
            "message": "3 of 46 rationales were kept.",
            "iteration": 1,
        },
        "iteration": 1,
    },
    "failed": {
        "status": JobStatus.FAILED,
        "status_reason": {
            "code": "gpu_out_of_memory",
            "message": "CUDA out of memory: tried to allocate 2.00 GiB, 79.1 GiB of 80 GiB are in use.",
            "phase": "train",
            "iteration": 2,
            "log_tail": "step 39 of 240 loss 0.41\nstep 40 of 240 loss 0.40\ntorch.OutOfMemoryError",
        },
        "phase": PhaseName.TRAIN,
        "iteration": 2,
    },
    "cancelled": {"status": JobStatus.CANCELLED, "iteration": 1},
}


def furnish(server: Platform, home: Path) -> dict[str, str]:
    """Two finished jobs and what belongs to them; returns the ids that PAGES names."""
    job = server.submit(home)
    other = server.submit(home, rationalization={"enabled": False})
    server.work()
    return ids_of(server, job, other)


def ids_of(server: Platform, job: str, other: str) -> dict[str, str]:
    """Of the first of two finished jobs, with all that can be made of it."""
    with server.client() as star:
        made = star.jobs.get(job)
        assert made.status == "succeeded", made
        rationale = next(star.rationales.every(job, route="rationalized", decision="kept"))
        adapter = star.adapters.list(job)[-1].id
        ids = {
            "job": job,
            "other": other,
            "dataset": made.dataset,
            "prompt_set": made.prompt_set,
            "rationale": rationale.id,
            "example": rationale.example.id,
            "adapter": adapter,
            "study": star.studies.create(job, arms=["star", "few_shot"], questions=3, only_right=False).id,
            "webhook": star.webhooks.create(f"http://{HOOKS}/star", description="the team's channel").id,
            "draft": star.prompt_drafts.create(dataset=made.dataset, model=made.model, rows=3).id,
            "trial": star.adapters.generate(adapter, [{"question": "2 7 + 3 5", "answer": "6 2"}]).id,
        }
    server.work()
    with server.client() as star:
        assert star.prompt_drafts.get(ids["draft"]).status == "succeeded"
        assert star.adapters.trial(ids["trial"]).status == "succeeded"
    return ids


def other_states(server: Platform, home: Path) -> dict[str, str]:
    """A job of each of STATES, and one that waits for a worker."""
    jobs = {state: server.submit(home, seed=number + 2) for number, state in enumerate(STATES)}
    server.work()
    with transaction(server.engine) as session:
        for state, job in jobs.items():
            blank = {"status_reason": None, "stop_reason": None, "name": f"addition, {state}"}
            session.execute(update(Job).where(Job.id == job).values({**blank, **STATES[state]}))
        for number in range(2):
            saw_worker(session, f"worker:{number}", Capacity(gpu_memory_gib=80, gpu_class="h100"))
    waiting = server.submit(home, seed=99)
    with transaction(server.engine) as session:
        session.execute(update(Job).where(Job.id == waiting).values(name=LONG_NAME))
    return {**jobs, "waiting": waiting}
