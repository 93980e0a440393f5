"""Adapters: the LoRA weights of an iteration, to look at and to download."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from app.http.auth import Reader, Submitter
from app.http.dependencies import Artifacts, Db, OfferedModels, Servers
from app.http.downloads import send_archive, send_file
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, After, Limit, Page
from app.results.adapters import (
    AdapterChanges,
    AdapterOut,
    change_adapter,
    delete_adapter,
    find_adapter_file,
    find_adapter_files,
    read_adapter,
    read_adapters,
    read_job_adapters,
)
from app.results.merged import MergedFormat, send_merged
from app.results.quality.receipts import ReceiptOut, read_adapter_receipt

router = api_router("adapters", "/v1")


@router.get("/jobs/{job_id}/adapters", summary="List the verified adapters of a job, oldest first")
def list_(caller: Reader, db: Db, job_id: str) -> Page[AdapterOut]:
    return read_job_adapters(db, caller.project_id, job_id)


@router.get("/adapters", summary="List the verified adapters of all jobs, newest first")
def list_all(
    caller: Reader, db: Db, model: str | None = None, limit: Limit = 20, after: After = None
) -> Page[AdapterOut]:
    return read_adapters(db, caller.project_id, model=model, after=after, limit=limit)


@router.get("/adapters/{adapter_id}", summary="Get an adapter")
def get(caller: Reader, db: Db, response: Response, adapter_id: str) -> AdapterOut:
    """`job_...:best`, `job_...:last` and `job_...:3` (an iteration) work wherever an adapter id does."""
    return tagged(response, read_adapter(db, caller.project_id, adapter_id))


@router.get("/adapters/{adapter_id}/receipt", summary="Get the receipt of an adapter")
def receipt(caller: Reader, db: Db, adapter_id: str) -> ReceiptOut:
    """Paired tests against the base model, few-shot prompting, its majority vote and direct fine-tuning on
    the same held-out questions, with n, interval and p; what was not run; and measures of collapse.
    """
    return read_adapter_receipt(db, caller.project_id, adapter_id)


@router.patch("/adapters/{adapter_id}", responses=CHANGED, summary="Pin or unpin an adapter")
def change(
    caller: Submitter,
    db: Db,
    expected: IfMatch,
    response: Response,
    adapter_id: str,
    sent: AdapterChanges,
) -> AdapterOut:
    return tagged(response, change_adapter(db, caller.project_id, adapter_id, sent, expected))


@router.delete("/adapters/{adapter_id}", responses=CHANGED, summary="Delete the weights of an adapter")
def delete(caller: Submitter, db: Db, expected: IfMatch, response: Response, adapter_id: str) -> AdapterOut:
    """Delete an adapter's weights. They can no longer be downloaded or asked; the bytes are removed an hour
    later.
    """
    return tagged(response, delete_adapter(db, caller.project_id, adapter_id, expected))


@router.get(
    "/adapters/{adapter_id}/files/{path:path}",
    summary="Download a file of an adapter",
    response_class=StreamingResponse,
)
def file(
    caller: Reader, db: Db, storage: Artifacts, request: Request, adapter_id: str, path: str
) -> Response:
    """Resumable: takes one Range, with If-Range. The ETag is the file's SHA-256."""
    found = find_adapter_file(db, caller.project_id, adapter_id, path)
    return send_file(request, storage, found, path.rpartition("/")[2])


@router.get(
    "/adapters/{adapter_id}/archive",
    summary="Download an adapter as one .tar",
    response_class=StreamingResponse,
)
def archive(caller: Reader, db: Db, storage: Artifacts, adapter_id: str) -> StreamingResponse:
    """Contains exactly the adapter's files; the bytes are the same every time."""
    return send_archive(storage, f"{adapter_id}.tar", find_adapter_files(db, caller.project_id, adapter_id))


@router.get(
    "/adapters/{adapter_id}/merged",
    summary="Download an adapter merged into its base model",
    response_class=StreamingResponse,
)
async def merged(
    caller: Submitter,
    db: Db,
    servers: Servers,
    offered: OfferedModels,
    adapter_id: str,
    format_: Annotated[
        MergedFormat,
        Query(alias="format", description="A .tar that `from_pretrained` loads, or one file for llama.cpp."),
    ] = MergedFormat.SAFETENSORS,
) -> Response:
    """Made while it is sent, by a server of models (`python -m worker.serving`), and not kept: an interrupted
    download begins again. Weights keep the type of the base model's. As GGUF: models of Llama, Qwen2 and
    Qwen3 with a byte-level tokenizer; others are refused with 422 and the reason.
    """
    return await send_merged(db, servers, caller, offered, adapter_id, format_)
