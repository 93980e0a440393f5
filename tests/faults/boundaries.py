"""The durability boundaries of a worker, and a job that meets them while something breaks at each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from tests.factories import World
from tests.faults.checker import check
from tests.platforms import Platform, platform, wait_until

Action = Literal["kill", "stop", "raise"]
# Failpoints; `@n`: at the nth time that a process comes by.
IN_PHASE = {
    "baselines": ("before_record", "after_record@2", "before_finish", "after_finish"),
    "sample": ("before_record", "after_record@2", "before_finish", "after_finish"),
    "control": ("before_record", "after_record@2", "before_finish", "after_finish"),
    "build": ("before_finish", "after_finish"),
    "train": ("before_training", "step@2", "before_record", "before_finish"),
    "verify_adapter": ("progress", "before_record", "before_finish", "after_finish"),
    "evaluate": ("before_record", "after_record@2", "before_finish", "after_finish"),
    "test_time": ("before_record", "after_record@5", "before_finish", "after_finish"),
}
OF_A_VERIFIER = {  # phases of a job that trains one
    "pairs": ("before_record@2", "after_record", "before_finish", "after_finish"),
    "train_verifier": ("before_training", "step@2", "before_record", "before_finish"),
    "verify_verifier": ("progress", "before_record", "before_finish", "after_finish"),
}
ELSEWHERE = (
    "claim.before_commit@2",
    "claim.after_commit@3",
    "storage.before_rename",
    "storage.after_rename@2",
)
DELETION = (  # of a scheduler that removes what was deleted
    "delete.before_commit@2",
    "delete.before_commit@9",
    "delete.after_bytes",
)
PREPARED = {  # nobody comes by unless this happens first
    "heartbeat.before_commit@2": "train.before_training=delay:4",
    "stop.before_commit": "sample.before_record=raise",
}


SETTINGS = {  # with which a job has all of these phases
    "evaluation": {"test_time": {"samples": 2}},
    "controller": {"temperatures": [0.5, 1.0], "probe_examples": 6},
    "generation": {"max_tokens": 400, "samples_per_example": 2},
}


# Two iterations: the first one's tries are wrong where the second one's are right.
VERIFIER_SETTINGS = {
    "iterations": 2,
    "evaluation": {"test_time": {"samples": 2, "scorer": "verifier"}},
    "trained_verifier": {"batch_size": 2, "schedule": {"kind": "fixed", "steps": 4}},
}

# Sampling goes in waves: the end of one says whether there is another.
WAVES = ("sample.before_record@3", "sample.before_finish@2", "sample.after_finish@3")
WAVES_SETTINGS = {
    "iterations": 2,
    "selection": {"order": "adaptive", "rows": 6},
    "training_set": {"filters": [], "window": "all"},
}


# A verifier rewards the probes of its control phase, and the tries that follow: in the second iteration.
REWARDS = ("control.rewarded", "sample.rewarded")
REWARDS_SETTINGS = {
    "iterations": 2,
    "controller": {
        "temperatures": [0.5, 1.0],
        "thresholds": [0.0, 0.95],
        "probe_examples": 4,
        "rows_wanted": 1,
        "scorer": "verifier",
    },
    "generation": {"max_tokens": 400, "samples_per_example": 2, "temperature": 0.7},
    "rationalization": {"enabled": False},
    "training_set": {"filters": []},
    "audits": {"spark_level": None},
    "trained_verifier": {
        "method": "yes_no",
        "when": "every_iteration",
        "schedule": {"kind": "fixed", "steps": 4},
    },
}


def of_phase(phase: str) -> list[str]:
    return [f"{phase}.{boundary}" for boundary in (IN_PHASE | OF_A_VERIFIER)[phase]]


def armed(action: Action, points: Sequence[str]) -> str:
    """What STAR_FAILPOINTS says."""
    parts = (point.partition("@") for point in points)
    return ",".join(f"{name}={action}@{visit or 1}" for name, _, visit in parts)


def survives(
    world: World,
    broker_url: str,
    action: Action,
    points: Sequence[str],
    settings: Mapping[str, Any] = SETTINGS,
) -> None:
    """Run a job in which a worker breaks at each of these points once, and check everything.

    A worker that is stopped needs another one to take over, and wakes long after its lease has ended.
    """
    broken = ",".join([armed(action, points), *(PREPARED[point] for point in points if point in PREPARED)])
    with platform(world, broker_url) as running:
        running.scheduler()
        names = ("first", "second") if action == "stop" else ("worker",)
        workers = [running.worker(name, STAR_FAILPOINTS=broken) for name in names]
        job_id = world.submit(**{"iterations": 1, **settings})
        sleepers = Sleepers(running)
        running.wait_for(job_id, "succeeded", seconds=280, meanwhile=sleepers.wake)
        wait_until(sleepers.wake, "who was stopped is awake again")
        for name in workers:  # each ends what it is at
            running.stop(name)
        check(world, platform=running)
        wanted = {one.partition("=")[0] for one in broken.split(",")}
        assert {path.name for path in running.fired.iterdir()} == wanted


class Sleepers:
    """The processes that a failpoint has stopped."""

    def __init__(self, running: Platform) -> None:
        self._running = running
        self._awake: set[str] = set()

    def wake(self) -> bool:
        """Go on with those whose lease has ended twice over; whether nobody is stopped any more."""
        fired = list(self._running.fired.iterdir())
        for path in fired:
            stood_still = time.time() - path.stat().st_mtime
            if path.name not in self._awake and stood_still > 2 * self._running.world.settings.lease_seconds:
                with suppress(ProcessLookupError):
                    os.kill(int(path.read_text()), signal.SIGCONT)
                self._awake.add(path.name)
        return len(self._awake) == len(fired)
