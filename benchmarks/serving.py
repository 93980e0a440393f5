"""What the platform costs between a client and vLLM: tokens a second of /v1/completions, side by side.

    python -m benchmarks.serving [--model examples/carry/model] [--rounds 5] [--requests 96]

writes docs/benchmarks/serving.md. 32 clients send the same requests, greedily, to vLLM's own OpenAI server
and to the platform, which has started it, in turns: what else the machine does falls on both alike. The ratio
of a round is that of its own windows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil

from benchmarks.measuring import interleaved, machine, median_and_range, notes_beside, significant, table
from benchmarks.served import database, served
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.gpu.vllm_server import NAME
from tests.databases import PROJECT

PAGE = PROJECT / "docs" / "benchmarks" / "serving.md"
MODEL = "asked"
CLIENTS, GOAL = 32, 0.9
READY_SECONDS = 1800.0
BARE, PLATFORM, STREAMED = "vLLM's own server", "the platform", "the platform, streamed"
WORDS = ("apples", "pens", "boxes", "trains", "letters", "shops", "birds", "rows", "coins", "trees", "cards")


@dataclass(frozen=True)
class Server:
    """Who is asked. `processes`: whose time is counted."""

    model: str
    url: str
    processes: tuple[psutil.Process, ...]
    socket: str | None = None
    key: str = ""
    stream: bool = False

    def client(self) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        transport = httpx2.AsyncHTTPTransport(uds=self.socket)
        return httpx2.AsyncClient(transport=transport, base_url=self.url, headers=headers, timeout=1800)


@dataclass
class Windows:
    """What was seen of a server over all windows, beside its tokens a second."""

    seconds: list[float] = field(default_factory=list)  # of a request
    cpu: list[float] = field(default_factory=list)  # milliseconds that its processes take for a request
    text: dict[int, str] = field(default_factory=dict)  # of each request


def requests(count: int, tokens: int, seed: int = 0) -> list[dict[str, Any]]:
    """Questions of 40 to 80 words, no two alike, each answered with at most so many tokens."""
    source = random.Random(seed)
    asked = []
    for number in range(count):
        things = [f"{source.randint(2, 99)} {source.choice(WORDS)}" for _ in range(source.randint(20, 40))]
        prompt = f"Q: {number}. Somebody has {' '.join(things)}. How many are there?\nA:"
        asked.append({"prompt": prompt, "max_tokens": tokens, "temperature": 0})
    return asked


async def window(server: Server, asked: list[dict[str, Any]], seen: Windows) -> float:
    """All requests by CLIENTS clients; generated tokens a second."""
    left = list(enumerate(asked))[::-1]
    tokens = 0
    async with server.client() as client:

        async def one() -> None:
            nonlocal tokens
            while left:
                number, body = left.pop()
                began = time.perf_counter()
                text, told = await _ask(client, body | {"model": server.model}, stream=server.stream)
                seen.seconds.append(time.perf_counter() - began)
                seen.text[number] = text
                tokens += told

        cpu, began = _cpu(server), time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CLIENTS)))
        took = time.perf_counter() - began
    seen.cpu.append(1000 * (_cpu(server) - cpu) / len(asked))
    return tokens / took


async def _ask(client: httpx2.AsyncClient, body: dict[str, Any], *, stream: bool) -> tuple[str, int]:
    if not stream:
        answer = await client.post("/v1/completions", json=body)
        answer.raise_for_status()
        told = answer.json()
        return told["choices"][0]["text"], told["usage"]["completion_tokens"]
    text, tokens = "", 0
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                text += "".join(choice["text"] for choice in event["choices"])
                tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return text, tokens


def _cpu(server: Server) -> float:
    times = [process.cpu_times() for process in server.processes]
    return sum(one.user + one.system for one in times)


@contextmanager
def servers(home: Path, options: argparse.Namespace) -> Iterator[dict[str, Server]]:
    """API and serving process at the priority of this one, and the vLLM that they have started."""
    models = home / "models.yaml"
    one = {"id": MODEL, "location": str(options.model.resolve()), "context_length": options.length}
    models.write_text(json.dumps([one]))
    settings = {"STAR_MODELS_FILE": str(models), "STAR_SERVING": "vllm", "STAR_DEVICE": "cpu"}
    settings |= {"STAR_THREADS": str(options.threads), "STAR_SERVING_NICE": "0"}
    settings |= dict.fromkeys(("STAR_RATE_LIMIT", "STAR_PROJECT_RATE_LIMIT"), "1000000/minute")
    with database("sqlite", home) as url, served(url, home, **settings) as (client, api):
        own = os.environ | settings | {"STAR_DATABASE_URL": url, "STAR_HOME": str(home)}
        log = (home / "serving.log").open("wb")
        command = [sys.executable, "-m", "worker.serving"]
        with subprocess.Popen(command, cwd=PROJECT, env=own, stdout=log, stderr=log) as serving:
            try:
                _until_ready(client, serving)
                vllm, socket = _vllm(home / "serving.log")
                between = (api, psutil.Process(serving.pid))
                key = client.headers["Authorization"].removeprefix("Bearer ")
                asked = partial(Server, MODEL, str(client.base_url), between, key=key)
                yield {
                    BARE: Server(NAME, "http://vllm", (vllm, *vllm.children(recursive=True)), socket),
                    PLATFORM: asked(),
                    STREAMED: asked(stream=True),
                }
            finally:
                serving.terminate()


def _until_ready(client: httpx2.Client, serving: subprocess.Popen[bytes]) -> None:
    """Until a text is written: the model is loaded when it is first asked for."""
    body = {"model": MODEL, "prompt": "Q:", "max_tokens": 1}
    until = time.monotonic() + READY_SECONDS
    while (answer := client.post("/v1/completions", json=body)).status_code != httpx2.codes.OK:
        if serving.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"nothing is served: {answer.text}")
        time.sleep(1.0)


def _vllm(log: Path) -> tuple[psutil.Process, str]:
    """The server that the serving process has started, and where it listens."""
    for line in log.read_text().splitlines():
        if '"model_process_started"' in line:
            process = psutil.Process(json.loads(line)["pid"])
            return process, str(json.loads(process.cmdline()[-1])["socket"])
    raise RuntimeError("the platform has started no vLLM")


def measure(options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, Windows]]:
    asked = requests(options.requests, options.tokens)
    home = Path(tempfile.mkdtemp(prefix="star-serving-"))
    with servers(home, options) as found:
        for server in found.values():  # caches are warm, and every kind of answer was given once
            asyncio.run(window(server, asked[:CLIENTS], Windows()))
        seen = {name: Windows() for name in found}

        def run(name: str) -> float:
            rate = asyncio.run(window(found[name], asked, seen[name]))
            sys.stderr.write(f"{name}: {rate:.1f} tokens a second\n")
            return rate

        return interleaved({name: partial(run, name) for name in found}, options.rounds), seen


def report(options: argparse.Namespace, measured: dict[str, list[float]], seen: dict[str, Windows]) -> str:
    rows = []
    for name, rates in measured.items():
        ratios = [rate / alone for rate, alone in zip(rates, measured[BARE], strict=True)]
        ratio = median(ratios)
        shown = f"**{ratio:.2f}**" if name == PLATFORM and ratio < GOAL else f"{ratio:.2f}"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        waited, cpu = significant(median(seen[name].seconds)), significant(median(seen[name].cpu))
        rows.append([name, median_and_range(rates), f"{shown} ({spread})", waited, cpu])
    same = sum(seen[BARE].text[n] == seen[PLATFORM].text[n] for n in seen[BARE].text)
    words = (
        f"{CLIENTS} clients send {options.requests} requests to `/v1/completions`, each for at most "
        f"{options.tokens} tokens, greedily, {options.rounds} times in turns: to vLLM's own OpenAI server "
        f"(float32, {options.threads} threads), as the platform has started it, at its socket; and to the "
        f"platform: API, serving process, the same server. Goal: at least {GOAL} of its tokens a second. "
        "Ratios are of windows of one round. `ms of CPU` is what a request costs: of vLLM in the first row, "
        f"else of API and serving process. {same} of {options.requests} texts are the same to the byte."
    )
    asked = f"python -m benchmarks.serving {' '.join(sys.argv[1:])}".rstrip()
    lines = ["# Serving", "", "```sh", asked, "```", "", words, ""]
    lines += machine("httpx2", "fastapi", "uvicorn")
    lines += ["", table(["asked", "tokens/s", "/ vLLM", "median s a request", "ms of CPU"], rows), ""]
    return "\n".join([*lines, notes_beside(PAGE)]).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--length", type=int, default=1024, help="tokens of the context")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    options.out.write_text(report(options, *measure(options)))


if __name__ == "__main__":
    main()
