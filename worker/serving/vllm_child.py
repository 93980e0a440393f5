"""vLLM's own OpenAI server as a child process: started, waited for, asked and ended.

It ends with this process, however that ends, and takes what it has started along (stdin is its death pipe:
star_engine/gpu/vllm_server.py). It listens on a Unix socket in a folder that is this user's alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import httpx2

from star_engine.gpu.vllm_server import MODULE, NAME, ServerSettings
from star_engine.protocols import BadAdapter
from star_engine.writing import Piece, WriteRequest
from worker.gpu.process import child_environment
from worker.serving.vllm_words import body_of, pieces_of, whole_of

POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
CONNECTIONS = 2048
TIMEOUT = httpx2.Timeout(connect=10.0, read=900.0, write=30.0, pool=None)


class ChildEnded(RuntimeError):
    """The server is gone, or does not answer as vLLM's does; its log says why."""


class VllmChild:
    """A server that starts at once. For the event loop that made it."""

    def __init__(
        self, settings: ServerSettings, log: Path, *, bos: str = "", command: Sequence[str] = ("-m", MODULE)
    ) -> None:
        """settings.socket is chosen here. `bos`: what a prompt begins with that needs no other one.

        `command`: what Python runs, with the settings as its last argument.
        """
        self.settings = settings
        self._bos = bos
        self._log = log
        self._lost = False
        self._tokenizer: Any = None  # once a text in parts is asked for
        self._tokenizing = Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="star-vllm-")  # short: a socket's path may have 107
        self.socket = str(Path(self._folder.name) / "socket")
        self._process = self._start(command)
        transport = httpx2.AsyncHTTPTransport(
            uds=self.socket, limits=httpx2.Limits(max_connections=CONNECTIONS)
        )
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://vllm", timeout=TIMEOUT)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._log.replace(self._log.with_name(self._log.name + ".1"))
        settings = json.dumps(asdict(self.settings) | {"socket": self.socket})
        with self._log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *command, settings],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=child_environment(self.settings.threads),
            )

    @property
    def pid(self) -> int:
        """Process id, which is its process group's id as well."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._lost and self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it serves. Raises ChildEnded where it ends instead."""
        while self.alive:
            with suppress(httpx2.HTTPError):
                if (await self._client.get("/health")).status_code == httpx2.codes.OK:
                    return
            await asyncio.sleep(POLL_SECONDS)
        raise self._ended()

    async def write(self, request: WriteRequest, adapter: str | None) -> AsyncIterator[Piece]:
        """Yield the pieces of a text. `adapter`: its name of `load`. Raises ChildEnded."""
        try:
            prompt = await self._prompt(request)
            if request.continued:
                prompt = await asyncio.to_thread(self._tokens, request, prompt)
            longest = self.settings.max_length
            body = body_of(request, prompt, adapter or NAME, longest, self._bos)
            async with self._client.stream("POST", "/v1/completions", json=body) as answer:
                if answer.status_code == httpx2.codes.BAD_REQUEST:
                    yield Piece(request.key, error=_said(await answer.aread()))
                elif answer.status_code != httpx2.codes.OK:
                    raise ChildEnded(f"vLLM answers {answer.status_code}: {_said(await answer.aread())}")
                elif request.stream:
                    said = ""
                    async for piece in pieces_of(request, answer.aiter_lines()):
                        said += piece.text
                        yield await self._told(request, prompt, said, piece)
                else:
                    whole = whole_of(request, json.loads(await answer.aread()))
                    yield await self._told(request, prompt, whole.text, whole)
        except _Refused as refused:
            yield Piece(request.key, error=str(refused))
        except (httpx2.HTTPError, ValueError, LookupError) as problem:
            raise self._ended(problem) from problem

    async def _prompt(self, request: WriteRequest) -> str | tuple[int, ...]:
        """A conversation as tokens, by the model's own template."""
        prompt = request.prompt
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            return prompt
        answer = await self._client.post("/tokenize", json={"model": NAME, "messages": list(prompt)})
        if answer.status_code != httpx2.codes.OK:
            raise _Refused(_said(answer.content))
        return tuple(answer.json()["tokens"])

    def _tokens(self, request: WriteRequest, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
        """A prompt as tokens, and those of each part behind it: see text_parts."""
        from star_engine.gpu.causal_lm import prompt_ids
        from star_engine.gpu.text_parts import parts_ids

        with self._tokenizing:
            tokenizer = self._own_tokenizer()
            head = prompt_ids(tokenizer, [prompt])[0] if isinstance(prompt, str) else list(prompt)
            return tuple(chain(head, *parts_ids(tokenizer, head, request.parts)))

    async def _told(
        self, request: WriteRequest, prompt: str | tuple[int, ...], said: str, piece: Piece
    ) -> Piece:
        """A piece; the last one of a text that may go on with its tokens as `Piece` describes them.

        said: the text up to there.
        """
        if not request.continued or not piece.ends or isinstance(prompt, str):
            return piece
        ids = await asyncio.to_thread(self._ids, prompt, said + (piece.stopped_by or ""), piece.ids or ())
        return replace(piece, ids=ids)

    def _ids(self, prompt: tuple[int, ...], said: str, generated: tuple[int, ...]) -> tuple[int, ...] | None:
        from star_engine.gpu.text_parts import sampled_ids

        with self._tokenizing:
            return sampled_ids(self._own_tokenizer(), prompt, said, generated)

    def _own_tokenizer(self) -> Any:
        from star_engine.gpu.causal_lm import load_tokenizer

        self._tokenizer = self._tokenizer or load_tokenizer(Path(self.settings.model))
        return self._tokenizer

    async def load(self, name: str, folder: Path) -> None:
        """Serve an adapter beside the base model. Raises BadAdapter or ChildEnded."""
        answer = await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        if answer.status_code != httpx2.codes.OK:
            raise BadAdapter(f"vLLM does not load the adapter: {_said(answer.content)}")

    async def unload(self, name: str) -> None:
        await self._post("/v1/unload_lora_adapter", {"lora_name": name})

    async def merge(self, folder: Path | None) -> None:
        """Serve the base model with this adapter merged into it, or alone. Nothing may run meanwhile.

        Raises BadAdapter, with the weights as they were, or ChildEnded.
        """
        asked = {"method": "use_merged", "args": [str(folder) if folder else ""]}
        answer = await self._post("/collective_rpc", asked)
        if answer.status_code != httpx2.codes.OK:
            raise ChildEnded(f"vLLM does not reload its weights: {_said(answer.content)}")
        for result in answer.json()["results"]:
            if "error" in result:
                raise BadAdapter(result["error"])
        if not (await self._post("/reset_prefix_cache", {})).json()["success"]:
            raise ChildEnded("vLLM kept its prefix cache: keys of the old weights would be served.")

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        try:
            return await self._client.post(path, json=body)
        except httpx2.HTTPError as problem:
            raise self._ended(problem) from problem

    def _ended(self, problem: Exception | None = None) -> ChildEnded:
        status = self._process.poll()
        self._lost = self._lost or isinstance(problem, httpx2.TransportError)  # it may not be reaped yet
        why = f"{type(problem).__name__}: {problem}" if status is None else f"it ended with status {status}"
        return ChildEnded(f"vLLM's server does not answer ({why}); see {self._log}.")

    async def close(self) -> None:
        """End the server and all that it has started, and wait until they are gone."""
        await self._client.aclose()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, KILL_SECONDS)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._folder.cleanup()


class _Refused(Exception):
    """vLLM cannot render a conversation; the message is for whoever sent it."""


def _said(content: bytes) -> str:
    """What vLLM says of an error."""
    try:
        told = json.loads(content)
        return str(told["error"]["message"] if "error" in told else told.get("message", told))
    except (ValueError, LookupError, TypeError, AttributeError):
        return content.decode(errors="replace")[:1000]
