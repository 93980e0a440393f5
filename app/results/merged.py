"""An adapter merged into its base model: made by a process that has the base model's files, and passed on."""

from __future__ import annotations

from enum import StrEnum

import httpx2
import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine
from starlette.responses import Response, StreamingResponse

from app.errors import NotFound, Unavailable
from app.ledger.platform.keys import Caller
from app.results.completions import Writer, find_writer, lost, passed_on, refusal
from app.turns import give_turn_back

log = structlog.get_logger()

KEPT_HEADERS = ("Content-Length", "Content-Disposition", "Content-Type")


class MergedFormat(StrEnum):
    SAFETENSORS = "safetensors"
    GGUF = "gguf"


async def send_merged(
    db: Engine,
    client: httpx2.AsyncClient,
    caller: Caller,
    offered: frozenset[str],
    adapter_id: str,
    form: MergedFormat,
) -> Response:
    """The whole model as it is made. Raises NotFound, Gone, Invalid and Unavailable with the reason."""
    writer = await run_in_threadpool(find_writer, db, caller.project_id, offered, adapter_id)
    if writer.adapter_id is None:
        raise NotFound(f"There is no adapter {adapter_id}.")
    give_turn_back()  # it takes minutes, in another process
    answer = await _ask(client, writer, caller.project_id, form)
    if answer.status_code != httpx2.codes.OK:
        raise await refusal(answer)
    headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    headers["X-Content-Type-Options"] = "nosniff"
    return StreamingResponse(passed_on(answer), headers=headers)


async def _ask(
    client: httpx2.AsyncClient, writer: Writer, project_id: str, form: MergedFormat
) -> httpx2.Response:
    """The head of the answer of the first server that can be reached."""
    headers = {"X-Star-Model": writer.model_id, "X-Star-Project": project_id, "Accept-Encoding": "identity"}
    headers["X-Star-Adapter"] = writer.adapter_id or ""
    for server in writer.servers:
        own = headers | {"Authorization": f"Bearer {server.token}"}
        request = client.build_request("GET", f"{server.url}/v1/exports/{form}", headers=own)
        try:
            return await client.send(request, stream=True)
        except httpx2.ConnectError:
            log.warning("server_not_reached", server=server.id)
        except httpx2.HTTPError as problem:
            raise lost(problem) from problem
    raise Unavailable(f"The servers of {writer.model_id} cannot be reached. Try again in a moment.")
