"""The objects the platform returns. Frozen. Fields added by newer servers are kept, and words such as a
status stay plain text, so that older clients keep working.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Self, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, PlainSerializer, PrivateAttr

from star_client.interop.frames import to_pandas


def rfc3339(moment: datetime) -> str:
    """2026-01-31T12:00:00.123Z"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
Json = Mapping[str, Any]


class Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    _etag: str | None = PrivateAttr(None)

    @property
    def etag(self) -> str | None:
        """The version that was read, for `if_match` of a change; None where the server names none."""
        return self._etag

    @classmethod
    def read_from(cls, response: httpx2.Response) -> Self:
        """The object in a response, with the version that its ETag names."""
        found = cls.model_validate_json(response.content)
        found._etag = response.headers.get("etag")  # noqa: SLF001 - its own
        return found


class Resource(Fields):
    object: str
    id: str


T = TypeVar("T", bound=Fields)


class Page(Fields, Generic[T]):
    data: tuple[T, ...]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None

    def to_pandas(self) -> Any:
        """A DataFrame, as star_client.to_pandas makes of its objects."""
        return to_pandas(self.data)


class Preset(Resource):
    """Named settings, and what they are for one kind of question."""

    description: str
    kind: str
    config: dict[str, Any]


class BaseModelInfo(Resource):
    """A base model of the platform's allow-list, or an adapter that completions may name."""

    kind: str = "base"
    revision: str | None = None
    repository: str | None = None
    context_length: int
    license: str | None = None
    trained_as: str | None = None  # of a quantized model: the one that adapters are trained on
    base_model: str | None = None
    job_id: str | None = None
    aliases: tuple[str, ...] = ()


class Dataset(Resource):
    name: str
    version: int = 1
    kind: str
    sha256: str
    size_bytes: int
    splits: Mapping[str, int]
    statistics: Json | None = None
    warnings: tuple[str, ...] = ()
    derived_from: Mapping[str, str] | None = None
    archived_at: Timestamp | None = None
    created_by: Json | None = None  # key, name
    created_at: Timestamp


class DatasetPreview(Fields):
    """A file as an upload would read it."""

    format: str
    kind: str | None = None
    map: Mapping[str, tuple[str, ...]]  # field to columns
    columns: tuple[Json, ...]  # name, samples
    first: tuple[Json, ...]  # line, given: the first rows, good or bad
    rows: tuple[Example, ...]  # the first rows as read; none where a row is bad
    bad_rows: int
    bad: tuple[Json, ...]  # line, given, mistakes
    errors: tuple[Json, ...]  # field, reason, fix, rows: equal mistakes together
    splits: Mapping[str, int]
    statistics: Json | None = None
    warnings: tuple[str, ...] = ()
    source: str | None = None  # what the server fetched, of a hub with its commit


class Example(Fields):
    id: str
    question: str
    context: tuple[Json, ...] = ()  # role, content: the turns before the question
    answer: str
    choices: tuple[str, ...] | None = None
    group: str | None = None
    solution: str | None = None
    split: str | None = None

    @property
    def whole_question(self) -> str:
        """The question behind the earlier turns of its conversation, each with who said it."""
        return "\n".join([*(f"{turn['role']}: {turn['content']}" for turn in self.context), self.question])


class PromptDraft(Resource):
    """Examples for a prompt set, as a base model has drafted them; each has `problems`, or none."""

    status: str
    is_terminal: bool
    status_reason: Json | None = None
    dataset: str
    model: str
    kind: str
    examples: tuple[Json, ...]  # question, choices, rationale, answer, route, verdict, problems
    created_at: Timestamp

    def accepted(self) -> list[dict[str, Any]]:
        """Those without a problem, as `prompt_sets.create` takes them. Read them before."""
        fields = ("question", "choices", "rationale", "answer")
        usable = [one for one in self.examples if not one["problems"]]
        return [{name: one[name] for name in fields if one[name] is not None} for one in usable]


class PromptSet(Resource):
    name: str
    version: int = 1
    kind: str
    sha256: str
    examples: tuple[Json, ...] = ()
    warnings: tuple[str, ...] = ()  # of examples that ask the same or contradict one another
    created_by: Json | None = None  # key, name
    created_at: Timestamp


class Progress(Fields):
    """The progress of the current phase."""

    done: int = 0
    total: int = 0
    unit: str = ""
    loading_seconds: int | None = None  # for how long a worker has been loading the model; None: none does


class Reason(Fields):
    """Why a job is paused or has failed."""

    code: str
    message: str
    hint: str | None = None


class Best(Fields):
    iteration: int
    accuracy: float
    adapter_id: str
    few_shot: float | None = None  # accuracy of the better few-shot baseline
    below_few_shot: bool = False
    inherited: bool = False  # a fork took the iteration over from the job that it continues


class Budget(Fields):
    """Limits on what a job may use, and what it has used. None means no limit."""

    gpu_seconds: float | None = None
    gpu_seconds_used: float = 0
    deadline: Timestamp | None = None


class Queue(Fields):
    """A job's place in the queue. `reason` is running, next, workers_busy, no_worker, ..., with
    its `message`.
    """

    reason: str
    message: str
    position: int | None = None
    steps_ahead: int | None = None


class Job(Resource):
    name: str | None = None
    purpose: str = "star"
    status: str
    is_terminal: bool
    phase: str | None = None
    iteration: int = 0
    iterations: int
    stop_reason: str | None = None
    status_reason: Reason | None = None
    progress: Progress | None = None
    model: str
    dataset: str
    prompt_set: str
    config: Json
    priority: int = 0
    metadata: Json = {}
    budget: Budget = Budget()
    queue: Queue | None = None
    estimated_start_at: Timestamp | None = None
    estimated_end_at: Timestamp | None = None
    baselines: tuple[Json, ...] = ()
    baseline_of: str | None = None
    replicates: tuple[Json, ...] = ()  # job, seed, status of each
    replicate_of: str | None = None
    forked_from: Json | None = None
    retention: Json | None = None
    webhook: Json | None = None  # with its secret where the job was just created, and only then
    adapter: str | None = None  # of an evaluation or a trial
    created_by: Json | None = None  # key, name
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    archived_at: Timestamp | None = None
    texts_removed_at: Timestamp | None = None
    accuracies: tuple[Json, ...] = ()  # iteration, accuracy, inherited
    best: Best | None = None


class Event(Resource):
    seq: int
    type: str
    data: Json
    created_at: Timestamp


class LogLine(Resource):
    """How one claim of a step ended."""

    iteration: int
    phase: str
    shard: int
    attempt: int
    level: str
    text: str
    worker: str | None = None
    trace: str | None = None
    created_at: Timestamp


class Metrics(Fields):
    """The metrics of an iteration so far. Rates and shares lie between 0 and 1."""

    solve_rate: float | None = None  # of the train examples, without the hint
    accuracy: float | None = None  # on the held-out split
    accuracy_by_group: Mapping[str, float] = {}
    coverage: Mapping[str, float] = {}  # by route: generated and rationalized or hinted, or given; total
    sampled: Mapping[str, Mapping[str, int]] = {}  # route -> verdict -> count
    kept: Mapping[str, int] = {}  # route -> count
    dropped: Json = {}
    training: Json = {}
    evaluated: Json = {}
    baselines: Mapping[str, Json] = {}  # iteration 0
    seconds: Mapping[str, float] = {}  # phase -> seconds


class Iteration(Resource):
    job: str
    number: int
    phases_done: tuple[str, ...] = ()
    metrics: Metrics = Metrics()
    adapter_id: str | None = None
    training_set_sha256: str | None = None
    created_at: Timestamp
    finished_at: Timestamp | None = None


class ReadPlace(Fields):
    """The logarithm of an answer's probability behind the first `end` characters of its rationale."""

    end: int
    logprob: float


class Rationale(Resource):
    """One try at one example. `prompt`, `hint`, `span` (of the extracted answer in `text`), `reading` (how
    likely the answer is after each sentence, where `audits.sentences` has read it), `trained_in` and
    `training_row` only where one rationale is asked for."""

    job: str
    iteration: int
    example: Example
    route: str
    sample: int
    text: str
    extracted: str | None = None
    verdict: str
    rule: str
    overridden: bool = False  # the verdict is a reviewer's
    decision: str | None = None
    reason: str | None = None
    tokens: int
    prompt_tokens: int
    finish_reason: str
    sampler_adapter_id: str | None = None
    created_at: Timestamp
    prompt: str | None = None
    hint: str | None = None
    span: tuple[int, int] | None = None
    reading: tuple[ReadPlace, ...] | None = None
    trained_in: tuple[int, ...] = ()
    training_row: Json | None = None
    tools: Json | None = None  # calls, and spans of `text` that a tool or a hint has put in


class TrainingRow(Fields):
    """One line of an iteration's training set. Example, route and sample name the rationale that it is."""

    example_id: str
    route: str
    sample: int
    prompt: str
    completion: str
    masked: tuple[tuple[int, int, str], ...] = ()  # of the completion, not learned: hint or output


class AdapterFile(Fields):
    path: str
    size_bytes: int
    sha256: str


class Adapter(Resource):
    job: str
    iteration: int
    role: str = "generator"
    model: str
    files: tuple[AdapterFile, ...]
    training: Json = {}
    verification: Json | None = None
    pinned: bool = False
    deleted_at: Timestamp | None = None
    created_at: Timestamp
