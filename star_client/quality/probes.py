"""Probes: how hard a sample of a job's train questions is, before the job costs anything."""

from __future__ import annotations

from collections.abc import Mapping

from star_client.objects import Fields, Json, Resource, Timestamp
from star_client.objects_results import DryRun, Limits
from star_client.quality.receipts import PassPoint


class Part(Fields):
    """Some of the probed questions, with the exact 95 % interval of their share."""

    count: int
    share: float
    interval: Limits


class Rows(Fields):
    """Rows that one iteration is expected to keep."""

    low: int
    expected: int
    high: int


class Advice(Fields):
    code: str
    message: str


class Difficulty(Fields):
    """What a probe found. `solved`: by the tries that the job itself makes in an iteration."""

    questions: int
    tries: int
    temperature: float
    all_wrong: Part
    mixed: Part
    all_right: Part
    passed: tuple[PassPoint, ...]
    solved: Part
    rationalized: Part | None = None
    truncated: float
    unparsed: float
    kept: Mapping[str, int]
    rows: Rows
    advice: tuple[Advice, ...] = ()


class Probe(Resource):
    """`difficulty` and `work` are there once it has succeeded."""

    status: str
    is_terminal: bool
    status_reason: Json | None = None
    name: str
    model: str
    dataset: str
    questions: int
    stands_for: int
    progress: Mapping[str, int]
    recorded: int
    reused: int
    difficulty: Difficulty | None = None
    work: Json | None = None
    gpu_seconds: float
    sampling_gpu_seconds: float | None = None
    created_at: Timestamp


class ProbedDryRun(DryRun):
    """A dry run, and the probe that it has begun."""

    probe: Probe
