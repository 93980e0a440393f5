"""A platform as tools of an agent, by the Model Context Protocol: what `star mcp` serves.

Agents read everything that the key may read. A job is described unless they say that it is to be made, and is
made with a limit on its GPU time only. Nothing is cancelled or deleted for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from star_client.client import StarClient
from star_client.errors import StarError
from star_client.job_request import JobRequest
from star_client.objects import Fields

MAX_ROWS = 50  # of an answer: it has to fit into an agent's context
MAX_CHARACTERS = 4_000  # of a text
MAX_PAGES = 10  # of a search, which looks for half a second a page
INSTRUCTIONS = """Self-taught reasoning (STaR) jobs on a shared platform. Look at models, datasets, prompt
sets and presets first, describe a job with create_job (a dry run by default), and make it with
dry_run=false and a limit on its GPU seconds. Jobs take minutes to hours: read get_job now and then,
and report at the end."""

Rows = Annotated[int, Field(ge=1, le=MAX_ROWS, description="Rows at most.")]
Json = dict[str, Any]


def make_server(star: StarClient) -> MCPServer:
    """The server, which asks the platform with this client."""
    server = MCPServer("star", instructions=INSTRUCTIONS)
    for tool in (*_lists(star), *_of_jobs(star), *_texts(star), _search(star)):
        server.add_tool(_explained(tool))
    return server


def _explained(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The tool, whose refusals reach the agent in words."""

    @wraps(tool)
    def explained(**arguments: Any) -> Any:
        try:
            return tool(**arguments)
        except StarError as refused:
            raise ToolError(str(refused)) from refused

    return explained


def _json(value: Fields) -> Json:
    found: Json = value.model_dump(mode="json", exclude_none=True)
    return found


def _lists(star: StarClient) -> tuple[Callable[..., Any], ...]:
    def list_models() -> list[Json]:
        """Base models that jobs may train adapters for."""
        return [_json(one) for one in star.models.list().data]

    def list_datasets(name: str | None = None, limit: Rows = 20) -> list[Json]:
        """Datasets of the project, newest first: kind, splits, warnings."""
        return [_json(one) for one in star.datasets.list(name=name, limit=limit).data]

    def list_prompt_sets(name: str | None = None, limit: Rows = 20) -> list[Json]:
        """Few-shot prompt sets of the project, newest first."""
        return [_json(one) for one in star.prompt_sets.list(name=name, limit=limit).data]

    def list_presets(kind: str) -> list[Json]:
        """Presets for a kind of question (numeric, choice, exact, math, code ...), without their settings."""
        return [{"name": one.id, "description": one.description} for one in star.presets.list(kind).data]

    return list_models, list_datasets, list_prompt_sets, list_presets


def _of_jobs(star: StarClient) -> tuple[Callable[..., Any], ...]:
    def list_jobs(name: str | None = None, limit: Rows = 20) -> list[Json]:
        """Jobs of the project, newest first, with status and accuracies and without their settings."""
        return [_without_config(_json(one)) for one in star.jobs.list(name=name, limit=limit).data]

    def get_job(job: str) -> Json:
        """One job: status, progress, accuracies by iteration, why it waits or has stopped, its settings."""
        return _json(star.jobs.get(job))

    def create_job(
        model: str,
        dataset: str,
        prompt_set: str | None = None,
        preset: str = "star",
        config: Json | None = None,
        name: str | None = None,
        gpu_seconds: Annotated[float | None, Field(gt=0, description="Its limit; needed to make it.")] = None,
        dry_run: Annotated[bool, Field(description="Describe the job; false makes it.")] = True,
    ) -> Json:
        """Describe a job with its warnings, steps and cost, or make it. `config`: changes to the preset."""
        wanted: JobRequest = {"model": model, "dataset": dataset, "prompt_set": prompt_set, "preset": preset}
        wanted |= {"config": config, "name": name}
        if gpu_seconds is not None:
            wanted["budget"] = {"gpu_seconds": gpu_seconds}
        if dry_run:
            return _json(star.jobs.dry_run(**wanted))
        if gpu_seconds is None:
            raise ToolError("gpu_seconds: Missing. Say how many seconds of GPU time the job may take.")
        return _json(star.jobs.create(**wanted))

    def report(job: str) -> str:
        """Did it help, and how sure is that? The report of a job as Markdown."""
        return star.jobs.report(job)

    return list_jobs, get_job, create_job, report


def _texts(star: StarClient) -> tuple[Callable[..., Any], ...]:
    def search_rationales(
        job: str,
        text: Annotated[str | None, Field(description="That stands in it.")] = None,
        iteration: int | None = None,
        verdict: Annotated[str | None, Field(description="correct, wrong, unparsed, ambiguous ...")] = None,
        decision: Annotated[str | None, Field(description="kept or dropped")] = None,
        reason: Annotated[str | None, Field(description="Why it was dropped, such as answer_only.")] = None,
        limit: Rows = 10,
    ) -> list[Json]:
        """What the model wrote for train questions, with verdict and decision; long texts are cut."""
        found = star.rationales.list(
            job,
            limit=limit,
            text=text,
            iteration=iteration,
            verdict=verdict,
            decision=decision,
            reason=reason,
        )
        return [_cut(_json(one)) for one in found.data]

    def search_answers(
        job: str,
        iteration: int | None = None,
        verdict: Annotated[str | None, Field(description="correct, wrong, unparsed ...")] = None,
        limit: Rows = 10,
    ) -> list[Json]:
        """What the baselines (iteration 0) or an iteration's adapter answered to held-out questions."""
        found = star.answers.list(job, limit=limit, iteration=iteration, verdict=verdict)
        return [_cut(_json(one)) for one in found.data]

    return search_rationales, search_answers


def _search(star: StarClient) -> Callable[..., Json]:
    def search_texts(
        text: Annotated[str, Field(description='Words that one text must all hold: "carry the" 1.')],
        found_in: Annotated[str | None, Field(description="rationale, answer or question")] = None,
        verdict: Annotated[str | None, Field(description="correct, wrong, unparsed ...")] = None,
        job: str | None = None,
        after: Annotated[str | None, Field(description="`after` of the answer before, to go on.")] = None,
        limit: Rows = 10,
    ) -> Json:
        """Search rationales, answers and questions of all jobs of the project, newest first.

        `after` is null in the answer once everything was looked at; until then `hits` may be few or none.
        """
        wanted: Json = {"found_in": found_in, "verdict": verdict, "job": job}
        hits: list[Json] = []
        for _ in range(MAX_PAGES):
            found = star.search.list(text, **wanted, limit=limit - len(hits), after=after)
            hits += [_json(one) for one in found.data]
            after = found.last_id if found.has_more else None
            if after is None or len(hits) == limit:
                break
        return {"hits": hits, "after": after}

    return search_texts


def _without_config(job: Json) -> Json:
    return {name: value for name, value in job.items() if name != "config"}


def _cut(row: Json) -> Json:
    """The row with its long texts cut, which is said."""
    found = dict(row)
    for name, value in row.items():
        if isinstance(value, str) and len(value) > MAX_CHARACTERS:
            found[name] = f"{value[:MAX_CHARACTERS]} [cut: {len(value):,} characters]"
    return found
