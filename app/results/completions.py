"""Has a text written by a base model or an adapter: the request goes on to a process that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import httpx2
import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from starlette.responses import Response, StreamingResponse

from app.database import reading
from app.errors import Conflict, Gone, Invalid, NotFound, Problem, RateLimited, Unavailable
from app.ledger.data.base_models import get_model
from app.ledger.platform.keys import Caller
from app.ledger.platform.servers import live_servers
from app.ledger.queue.capacity import SANDBOX_OK
from app.ledger.results.adapters import get_adapter, names_adapter, verifier_to_ask
from app.ledger.results.iterations import config_of, get_iteration
from app.results.completion_requests import Asked, ChatIn, check_known
from app.tables.jobs import Job
from app.tables.platform import Server
from app.turns import give_turn_back
from star_engine.adapters.roles import NOT_ASKED, AdapterRole

log = structlog.get_logger()

SERVER_TIMEOUT = httpx2.Timeout(
    connect=3.0, read=900.0, write=30.0, pool=30.0
)  # a cold model is loaded first
MAX_CONNECTIONS = 1000  # to servers; their queues are shorter


@dataclass(frozen=True, slots=True)
class Writer:
    """Who is to write, and the servers that can have it written."""

    model_id: str
    adapter_id: str | None
    servers: Sequence[Server]
    verifier_id: str | None = None  # who chooses among the texts


def new_client() -> httpx2.AsyncClient:
    """Connections to servers, kept open between requests."""
    limits = httpx2.Limits(max_connections=MAX_CONNECTIONS)
    return httpx2.AsyncClient(timeout=SERVER_TIMEOUT, limits=limits, trust_env=False)


async def complete(
    db: Engine, client: httpx2.AsyncClient, caller: Caller, offered: frozenset[str], sent: Asked
) -> Response:
    """The server's answer, passed on as it comes. Raises NotFound for a model that cannot be asked."""
    check_known(sent)
    writer = await run_in_threadpool(find_writer, db, caller.project_id, offered, sent.model)
    if sent.select == "majority" and writer.adapter_id is None:
        reason = "Only a job says how answers are read."
        raise Invalid.for_field("select", reason, "Name an adapter as the model, or leave select out.")
    if sent.select == "verifier":
        chosen = await run_in_threadpool(_find_verifier, db, caller.project_id, writer, sent.verifier)
        writer = replace(writer, verifier_id=chosen)
    if sent.with_tools:
        writer = await run_in_threadpool(_with_tool, db, caller.project_id, writer)
    give_turn_back()  # the server has a queue of its own, and shares it between projects
    answer = await _ask(client, writer, caller.project_id, sent)
    if answer.status_code != httpx2.codes.OK:
        raise await refusal(answer)
    if sent.stream:
        return StreamingResponse(passed_on(answer), media_type="text/event-stream")
    try:
        body = await answer.aread()  # whole, or it raises: the server says how long it is
        return Response(body, media_type="application/json")
    except httpx2.HTTPError as problem:
        raise lost(problem) from problem
    finally:
        await answer.aclose()


def find_writer(db: Engine, project_id: str, offered: frozenset[str], name: str) -> Writer:
    """Raises NotFound, Invalid or Gone for a name that nobody writes by; Unavailable where no server runs."""
    with reading(db) as session:
        adapter_id = None
        if names_adapter(name) and name not in offered:
            adapter, job = get_adapter(session, project_id, name)
            if adapter.role is not AdapterRole.GENERATOR:
                reason = f"{name} is of the role {adapter.role}: {NOT_ASKED[adapter.role]}."
                raise Invalid.for_field("model", reason, "Name an adapter of the role generator.")
            if adapter.deleted_at is not None:
                raise Gone(f"The weights of {name} have been deleted.", code="adapter_deleted")
            adapter_id, model_id = adapter.id, job.model_id
            if model_id not in offered:
                raise Conflict(f"The base model of {name}, {model_id}, is offered no more.")
        else:
            model_id = get_model(session, name, offered).id
        servers = live_servers(session, model_id)
    if not servers:
        raise Unavailable(
            f"No server of {model_id} is running. The operator starts one with `python -m worker.serving`.",
            code="no_server",
        )
    return Writer(model_id, adapter_id, servers)


def _with_tool(db: Engine, project_id: str, writer: Writer) -> Writer:
    """The writer with the servers that execute what it calls.

    Raises Invalid where its job gave it no tool, Conflict where no server has a sandbox for it, Unavailable
    where one is still probing its own.
    """
    if writer.adapter_id is None:
        reason = f"{writer.model_id} is a base model: no job has given it a tool."
        raise Invalid.for_field("with_tools", reason, "Name an adapter as the model.")
    with reading(db) as session:
        adapter, job = get_adapter(session, project_id, writer.adapter_id)
        iteration, _ = get_iteration(session, job.id, adapter.iteration_number)
        tool = config_of(job, iteration).tools.python
    if tool is None:
        reason = f"The job of {writer.adapter_id} gave its model no tool: `tools.python` is not set."
        raise Invalid.for_field("with_tools", reason, "Leave it out, or name an adapter of another job.")
    if tool.runtime == "embedded":
        return writer
    able = [server for server in writer.servers if server.sandbox == SANDBOX_OK]
    if not able:
        none = f"No server of {writer.model_id} has a sandbox that has passed its probe."
        if any(server.sandbox is None for server in writer.servers):
            raise Unavailable(f"{none} It is being probed.", code="no_sandbox")
        why = " ".join(sorted({server.sandbox or "" for server in writer.servers}))
        raise Conflict(f"{none} {why}", code="no_sandbox")
    return replace(writer, servers=able)


def _find_verifier(db: Engine, project_id: str, writer: Writer, name: str | None) -> str:
    """The id of the verifier that is named, or of the newest one of the adapter's job.

    Raises Invalid where there is none, or it is of another base model; NotFound for one of other people's.
    """
    with reading(db) as session:
        job = None if writer.adapter_id is None else get_adapter(session, project_id, writer.adapter_id)[1]
        if name is None and job is None:
            reason = f"{writer.model_id} is a base model: no job of its own has trained a verifier."
            raise Invalid.for_field("verifier", reason, "Name one, or an adapter as the model.")
        own = AdapterRole.VERIFIER.value
        job_id, last = ("", 0) if job is None else (job.id, job.iteration)
        found = verifier_to_ask(session, project_id, job_id, last, name or own)
        if found is None or found.deleted_at is not None:
            reason = f"The job of {writer.adapter_id} has no trained verifier whose weights are there."
            fix = "Name another job's, or train one: trained_verifier in the job's settings."
            raise Invalid.for_field("verifier", reason, fix)
        model_id = session.get_one(Job, found.job_id).model_id
    if model_id != writer.model_id:
        reason = f"{found.id} reads with the base model {model_id}; these texts are of {writer.model_id}."
        raise Invalid.for_field("verifier", reason, f"Name a verifier of {writer.model_id}.")
    return found.id


async def _ask(client: httpx2.AsyncClient, writer: Writer, project_id: str, sent: Asked) -> httpx2.Response:
    """The head of the answer of the first server that can be reached."""
    path = "/v1/chat/completions" if isinstance(sent, ChatIn) else "/v1/completions"
    headers = {
        "Content-Type": "application/json",
        "X-Star-Model": writer.model_id,
        "X-Star-Project": project_id,
    }
    if writer.adapter_id is not None:
        headers["X-Star-Adapter"] = writer.adapter_id
    if writer.verifier_id is not None:
        headers["X-Star-Verifier"] = writer.verifier_id
    body = sent.model_dump_json(exclude_unset=True).encode()
    for server in writer.servers:
        own = headers | {"Authorization": f"Bearer {server.token}"}
        request = client.build_request("POST", f"{server.url}{path}", headers=own, content=body)
        try:
            return await client.send(request, stream=True)
        except httpx2.ConnectError:
            log.warning("server_not_reached", server=server.id)
        except httpx2.HTTPError as problem:
            raise lost(problem) from problem
    raise Unavailable(f"The servers of {writer.model_id} cannot be reached. Try again in a moment.")


async def passed_on(answer: httpx2.Response) -> AsyncIterator[bytes]:
    """The body of a server's answer, and its end."""
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


async def refusal(answer: httpx2.Response) -> Problem:
    """What a server says of why it did not answer."""
    try:
        await answer.aread()
        told = answer.json()
        code, message = str(told["code"]), str(told["message"])
    except (httpx2.HTTPError, ValueError, LookupError) as problem:
        return lost(problem)
    finally:
        await answer.aclose()
    kinds: dict[int, type[Problem]] = {404: NotFound, 422: Invalid, 429: RateLimited}
    return kinds.get(answer.status_code, Unavailable)(message, code=code)


def lost(problem: Exception) -> Unavailable:
    """A server that was reached, and ended."""
    log.warning("server_lost", error=type(problem).__name__)
    return Unavailable(
        "The server of the model ended while it wrote this. Send it again.", code="server_lost"
    )
