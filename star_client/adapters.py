"""Adapters: the LoRA weights of one iteration, proven to load before they can be downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from uuid import uuid4

import httpx2

from star_client.downloads import save
from star_client.errors import Damaged, OtherBase, ServerFailed
from star_client.objects import Adapter, AdapterFile, Job, Page
from star_client.objects_results import Trial
from star_client.quality.chosen import Answered, By, Chosen, ToolAnswer, ToolAnswers
from star_client.quality.promotions import Promotion
from star_client.quality.receipts import Receipt
from star_client.resources import every
from star_client.transport import ATTEMPTS, Request, Transport, matching

Report = Callable[[AdapterFile, int], None]

CONFIG, MANIFEST = "adapter_config.json", "manifest.json"
LONGEST_WAIT = 30.0  # seconds: what the server lets `wait` be


class Adapters:
    """Wherever an adapter's id is asked for, `job_...:best`, `job_...:last` and `job_...:3` will do."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, job_id: str) -> tuple[Adapter, ...]:
        """The verified ones so far, in order of their iterations."""
        return tuple(every(self._transport, f"/v1/jobs/{job_id}/adapters", Adapter))

    def list_all(
        self, *, model: str | None = None, limit: int = 20, after: str | None = None
    ) -> Page[Adapter]:
        """List the adapters of all jobs, newest first."""
        request = Request("GET", "/v1/adapters", {"model": model, "limit": limit, "after": after})
        return Page[Adapter].model_validate_json(self._transport.send(request).content)

    def get(self, adapter_id: str) -> Adapter:
        return self._one(Request("GET", f"/v1/adapters/{adapter_id}"))

    def receipt(self, adapter_id: str) -> Receipt:
        """What it gained on held-out questions over the base model, few-shot prompting, its majority vote and
        direct fine-tuning, how sure that is, and what was not run.
        """
        answer = self._transport.send(Request("GET", f"/v1/adapters/{adapter_id}/receipt"))
        return Receipt.model_validate_json(answer.content)

    def promote(
        self,
        adapter_id: str,
        *,
        name: str = "default",
        stage: str = "production",
        force: bool = False,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Promotion:
        """Let it stand for `name@stage`, in place of the one that does.

        Raises Refused (409, `gain_not_shown`) where the interval of its gain over the base model covers 0,
        unless forced with a reason, which stands in the audit log.
        """
        body = {"name": name, "stage": stage, "force": force, "reason": reason}
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        path = f"/v1/adapters/{adapter_id}/promote"
        request = Request("POST", path, headers=headers, json=body, again=True)
        return Promotion.model_validate_json(self._transport.send(request).content)

    def pin(self, adapter_id: str, *, pinned: bool = True, if_match: str | None = None) -> Adapter:
        """Exempt the adapter from retention, or (pinned=False) no longer.

        `if_match`: only of the version with this `etag`; raises Refused (412) for another.
        """
        path, headers = f"/v1/adapters/{adapter_id}", matching(if_match)
        return self._one(Request("PATCH", path, headers=headers, json={"pinned": pinned}, again=True))

    def delete(self, adapter_id: str, *, if_match: str | None = None) -> Adapter:
        """Give up its weights; card and manifest stay. Refused (409) while it is pinned or in use."""
        path, headers = f"/v1/adapters/{adapter_id}", matching(if_match)
        return self._one(Request("DELETE", path, headers=headers, again=True))

    def generate(
        self,
        adapter_id: str,
        questions: Sequence[Mapping[str, Any] | str],
        *,
        kind: str | None = None,
        beside_base: bool = False,
        max_tokens: int | None = None,
        idempotency_key: str | None = None,
    ) -> Trial:
        """Ask it a few questions (at most 32), greedily; returns at once. See `trial` and `ask`.

        A question is its text, or `{"question", "choices"?, "answer"?, "group"?}`; with an answer it is
        judged. beside_base: ask the base model too, few-shot. kind: how an adapter that thinks between tokens
        is asked; else the text goes on as it stands. Sent with an Idempotency-Key, so that a retry makes one
        trial.
        """
        asked = [{"question": one} if isinstance(one, str) else dict(one) for one in questions]
        body: dict[str, Any] = {"questions": asked, "beside_base": beside_base}
        body |= {} if max_tokens is None else {"max_tokens": max_tokens}
        body |= {} if kind is None else {"kind": kind}
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        path = f"/v1/adapters/{adapter_id}/generate"
        answer = self._transport.send(Request("POST", path, headers=headers, json=body, again=True))
        return Trial.model_validate_json(answer.content)

    def trial(self, trial_id: str, *, wait: float = 0) -> Trial:
        """The answers so far; `wait`: at most so many seconds (30) for the last one."""
        request = Request("GET", f"/v1/trials/{trial_id}", {"wait": wait or None})
        return Trial.model_validate_json(self._transport.send(request).content)

    def ask(
        self,
        adapter_id: str,
        questions: Sequence[Mapping[str, Any] | str],
        *,
        kind: str | None = None,
        beside_base: bool = False,
        max_tokens: int | None = None,
        patience: float = 600.0,
    ) -> Trial:
        """Call `generate` and wait for the answers. Raises TimeoutError after `patience` seconds."""
        trial = self.generate(
            adapter_id, questions, kind=kind, beside_base=beside_base, max_tokens=max_tokens
        )
        deadline = time.monotonic() + patience
        while not trial.is_terminal:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{trial.id} is {trial.status} after {patience:g} s; it goes on.")
            trial = self.trial(trial.id, wait=min(left, LONGEST_WAIT))
        return trial

    def choose(
        self,
        adapter_id: str,
        question: str,
        *,
        of: int = 8,
        by: By = "majority",
        verifier: str | None = None,
        temperature: float = 1.0,
        max_tokens: int | None = None,
        patience: float = 600.0,
    ) -> Chosen:
        """Have several answers written by a server of models, and one of them chosen: by their vote, or by a
        trained verifier (None: the newest of the adapter's job). Raises Unreachable after `patience` seconds.
        """
        given: dict[str, Any] = {"n": of, "select": by, "verifier": verifier, "temperature": temperature}
        given |= {"max_completion_tokens": max_tokens, "messages": [{"role": "user", "content": question}]}
        body = {"model": adapter_id, **{name: value for name, value in given.items() if value is not None}}
        request = Request("POST", "/v1/chat/completions", json=body, patience=patience)
        return Answered.model_validate_json(self._transport.send(request).content).choices[0]

    def ask_with_tools(
        self,
        adapter_id: str,
        question: str,
        *,
        temperature: float = 0.0,
        max_tokens: int | None = None,
        patience: float = 600.0,
    ) -> ToolAnswer:
        """Have a server of models write an answer that may call the tool of the adapter's job.

        Raises Refused where the job has no tool or no server has a sandbox for it, Unreachable after
        `patience` seconds.
        """
        given: dict[str, Any] = {"temperature": temperature, "max_completion_tokens": max_tokens}
        given |= {"messages": [{"role": "user", "content": question}], "with_tools": True}
        body = {"model": adapter_id, **{name: value for name, value in given.items() if value is not None}}
        request = Request("POST", "/v1/chat/completions", json=body, patience=patience)
        return ToolAnswers.model_validate_json(self._transport.send(request).content).choices[0]

    def evaluate(
        self,
        adapter_id: str,
        dataset: str,
        *,
        split: str | None = None,
        max_examples: int | None = None,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Evaluate it on a held-out split (test, or validation) of a dataset, as a job whose only iteration
        carries the accuracy. Sent with an Idempotency-Key, so that a retry makes one job.
        """
        given = {"dataset": dataset, "split": split, "max_examples": max_examples, "name": name}
        body = {field: value for field, value in given.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        path = f"/v1/adapters/{adapter_id}/evaluate"
        answer = self._transport.send(Request("POST", path, headers=headers, json=body, again=True))
        return Job.model_validate_json(answer.content)

    def archive(self, adapter_id: str, file: Path) -> Path:
        """Download all files as one .tar. Unlike `download`, this cannot resume after an interruption."""
        return save(self._transport, Request("GET", f"/v1/adapters/{adapter_id}/archive"), file)

    def merged(
        self,
        adapter_id: str,
        file: Path,
        *,
        format: Literal["safetensors", "gguf"] = "safetensors",  # noqa: A002 - its name over HTTP
    ) -> Path:
        """Download it merged into its base model: as a .tar that `from_pretrained` loads, or as one GGUF.

        Made while it is sent, so this cannot resume. Raises Refused for what cannot be written so.
        """
        request = Request("GET", f"/v1/adapters/{adapter_id}/merged", {"format": format})
        return save(self._transport, request, file)

    def download(
        self,
        adapter_id: str,
        directory: Path,
        report: Report = lambda _file, _bytes: None,
        *,
        base: Path | None = None,
    ) -> tuple[Path, ...]:
        """Download all files into `directory`, which then loads with PEFT; returns their paths.

        A file appears under its name only when it is complete and has its sha256. One that is there already
        is not fetched again; a download that was cut goes on where it ended, in another process as well.
        `report` is told how many bytes of a file are there. Raises Damaged and Unreachable.

        base: the folder of the base model here. It is checked by the manifest, and written into
        `adapter_config.json`. Raises OtherBase.
        """
        adapter = self.get(adapter_id)
        paths = tuple(_inside(directory, file) for file in adapter.files)
        for file, path in zip(adapter.files, paths, strict=True):
            if not (path.is_file() and _sha256(path) == file.sha256):
                self._download_file(adapter, file, path, report)
            report(file, file.size_bytes)
        if base is not None:
            name_base(directory, base)
        return paths

    def _one(self, request: Request) -> Adapter:
        return Adapter.read_from(self._transport.send(request))

    def _download_file(self, adapter: Adapter, file: AdapterFile, path: Path, report: Report) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{file.sha256[:16]}.part")
        self._fetch(f"/v1/adapters/{adapter.id}/files/{file.path}", file, part, report)
        found = _sha256(part)
        if found != file.sha256:
            part.unlink()
            raise Damaged(
                f"{file.path} of {adapter.id} arrived damaged: its sha256 is {found}, not {file.sha256}. "
                "It was thrown away; download it again."
            )
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)

    def _fetch(self, url: str, file: AdapterFile, part: Path, report: Report) -> None:
        """Complete `part`. A cut connection is taken up again as long as something arrives now and then."""
        failures = 0
        while True:
            had = _size(part)
            try:
                return self._append(url, file, part, report)
            except (httpx2.TransportError, ServerFailed) as error:
                failures = failures + 1 if _size(part) == had else 1
                if failures == ATTEMPTS:
                    raise self._transport.unreachable(error) from error
            self._transport.pause(failures)

    def _append(self, url: str, file: AdapterFile, part: Path, report: Report) -> None:
        """Download over one connection. With If-Range, the server sends another version of the
        file in full.
        """
        with part.open("ab") as out:
            had = out.tell()
            if had == file.size_bytes:
                return
            headers = {"Accept-Encoding": "identity"}
            if 0 < had < file.size_bytes:
                headers |= {"Range": f"bytes={had}-", "If-Range": f'"sha256-{file.sha256}"'}
            with self._transport.stream(Request("GET", url, headers=headers)) as response:
                if response.status_code != 206:
                    out.seek(0)
                    out.truncate()
                for data in response.iter_bytes():
                    out.write(data)
                    report(file, out.tell())


def name_base(directory: Path, base: Path) -> None:
    """Write the base model's folder into the adapter's config, so that PEFT finds it there by itself.

    Raises OtherBase where a file there is not the one that the adapter was trained on, by its sha256.
    """
    files = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["base_model"]["files"]
    for name, expected in sorted(files.items()):
        path = base / name
        if not path.is_file():
            raise OtherBase(f"{base} has no {name}, which the adapter's base model has.")
        if _sha256(path) != expected:
            raise OtherBase(f"{path} is not the file that the adapter was trained on: its sha256 differs.")
    config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": str(base.resolve()), "revision": None}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (directory / CONFIG).write_text(f"{text}\n", encoding="utf-8")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _inside(directory: Path, file: AdapterFile) -> Path:
    """Return the path of a file. Raises Damaged for a path that would leave the directory."""
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise Damaged(f"The adapter names a file {file.path!r}, which lies outside the directory.")
    return directory / path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
