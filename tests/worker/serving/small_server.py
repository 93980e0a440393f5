"""Stands in for vLLM where what is tested is how its server is kept: it answers with what it was asked.

A prompt's first word says what happens: `die` ends the process, `hang` never answers, `late` answers once the
file that it names is there; anything else is said back with the adapter that is in use.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from star_engine.gpu.vllm_server import NAME, ServerSettings, end_with_parent

MOST = 2  # adapters: more at once would be vLLM out of memory
loaded: dict[str, str] = {}
merged = ""


async def health(request: Request) -> Response:
    return Response()


async def completions(request: Request) -> Response:
    body = await request.json()
    order, _, rest = str(body["prompt"]).partition(" ")
    if order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while order == "hang" or (order == "late" and not os.path.exists(rest)):  # noqa: ASYNC110, ASYNC240, PTH110
        await asyncio.sleep(0.01)
    if body["model"] not in (NAME, *loaded):
        return JSONResponse({"error": {"message": "no such model"}}, 404)
    if order == "refuse":
        return JSONResponse({"error": {"message": "this prompt is too long"}}, 400)
    text = f"{loaded.get(body['model'], merged)}|{body['prompt']}|{os.getpid()}"
    usage = {"prompt_tokens": len(str(body["prompt"]).split()), "completion_tokens": 3}
    if not body["stream"]:
        return JSONResponse({"choices": [{"text": text, "finish_reason": "stop"}], "usage": usage})
    return StreamingResponse(_events(text, usage), media_type="text/event-stream")


async def _events(text: str, usage: dict[str, int]) -> AsyncIterator[str]:
    for part in text.split("|"):
        yield _event({"choices": [{"text": part, "finish_reason": None}]})
    yield _event({"choices": [{"text": "", "finish_reason": "length"}]})
    yield _event({"choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _event(body: object) -> str:
    return f"data: {json.dumps(body)}\n\n"


async def use_merged(request: Request) -> Response:
    global merged  # noqa: PLW0603 - the weights of this process
    (folder,) = (await request.json())["args"]
    merged = Path(folder).name
    return JSONResponse({"results": [{}]})


async def reset(request: Request) -> Response:
    return JSONResponse({"success": True})


async def load(request: Request) -> Response:
    body = await request.json()
    if len(loaded) == MOST:
        return JSONResponse({"error": {"message": "out of memory"}}, 500)
    loaded[body["lora_name"]] = Path(body["lora_path"]).name
    return Response()


async def unload(request: Request) -> Response:
    del loaded[(await request.json())["lora_name"]]
    return Response()


def main() -> None:
    settings = ServerSettings(**json.loads(sys.argv[-1]))
    Thread(target=end_with_parent, daemon=True).start()
    if settings.options.get("broken"):
        sys.exit("it does not start")
    paths = {
        "/v1/completions": completions,
        "/collective_rpc": use_merged,
        "/reset_prefix_cache": reset,
        "/v1/load_lora_adapter": load,
        "/v1/unload_lora_adapter": unload,
    }
    routes = [Route(path, answer, methods=["POST"]) for path, answer in paths.items()]
    app = Starlette(routes=[Route("/health", health), *routes])
    uvicorn.run(app, uds=settings.socket, log_level="error")


if __name__ == "__main__":
    main()
