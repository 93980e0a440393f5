"""The sandbox as a service of its own: `python -m worker.sandbox.service [--host 0.0.0.0] [--port 8900]`.

For hosts whose workers cannot confine programs, or where nothing that matters shall run beside them: this
process needs no database, no broker, no storage and no secret, and asks for none. It answers 503 until its
probe has passed, and for ever where it does not pass.

    POST /run      {"programs": [...], "owner": a project} -> {"executions": [...]}    asked by app/sandbox.py
    GET  /healthz  200 where programs are run, else 503 with the reason
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from star_engine.tasks.programs.execution import CodeRunner, Limits, Program, SandboxFailed, program_from
from worker.sandbox.local import LocalRunner
from worker.sandbox.probe import probe

MAX_BODY = 32 << 20
MAX_PROGRAMS = 64  # of a request
MOST = Limits(cpu_s=60, wall_s=300, memory_mb=4096, processes=32, output_bytes=1 << 20, disk_mb=256)


def service(runner: CodeRunner) -> Starlette:
    """The application. The probe runs here, before the first request."""
    problem = probe(runner)

    async def run(request: Request) -> Response:
        if problem is not None:
            return JSONResponse({"sandbox_failed": problem}, 503)
        try:
            sent = await _body(request)
            programs, owner = _programs(sent), str(sent.get("owner", ""))
        except (ValueError, TypeError, KeyError) as refused:
            return JSONResponse({"error": f"{type(refused).__name__}: {refused}"}, 422)
        try:
            found = await run_in_threadpool(lambda: list(runner.run(programs, owner)))
        except SandboxFailed as failure:
            return JSONResponse({"sandbox_failed": str(failure)}, 503)
        return JSONResponse({"executions": [one.as_json() for one in found]})

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"sandbox": problem or "ok"}, 200 if problem is None else 503)

    return Starlette(routes=[Route("/run", run, methods=["POST"]), Route("/healthz", healthz)])


async def _body(request: Request) -> Any:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise ValueError(f"more than {MAX_BODY} bytes")
    return json.loads(data)


def _programs(sent: Any) -> list[Program]:
    programs = [program_from(one) for one in sent["programs"]]
    if len(programs) > MAX_PROGRAMS:
        raise ValueError(f"more than {MAX_PROGRAMS} programs")
    return [replace(one, limits=_bounded(one.limits)) for one in programs]


def _bounded(asked: Limits) -> Limits:
    """No limit above this service's own, whoever asks."""
    bounds = {name: min(getattr(asked, name), getattr(MOST, name)) for name in MOST.__dataclass_fields__}
    return Limits(**bounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run programs in a sandbox, for workers that ask over HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--size", type=int, help="programs at once; by default the number of cores less one")
    arguments = parser.parse_args()
    uvicorn.run(
        service(LocalRunner(arguments.size)), host=arguments.host, port=arguments.port, log_level="warning"
    )


if __name__ == "__main__":
    main()
