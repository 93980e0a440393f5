"""Datasets, prompt sets, models and rationales."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from star_client.interop.rows import DataFrame, as_json_lines
from star_client.interop.yaml_files import read_prompt_set
from star_client.objects import (
    BaseModelInfo,
    Dataset,
    DatasetPreview,
    Example,
    Fields,
    Page,
    Preset,
    PromptSet,
    Rationale,
)
from star_client.objects_results import DatasetStatistics, HeldOutAnswer, Override, PromptPreview
from star_client.transport import Request, Transport, once

LARGEST_PAGE = 1000
FETCHED = ("s3://", "hf:")  # by the server
CONTENT_TYPES = {
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".md": "text/plain",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

F = TypeVar("F", bound=Fields)


def every(
    transport: Transport,
    path: str,
    of: type[F],
    params: Mapping[str, Any] | None = None,
    cursor: Callable[[Page[F]], Any] = lambda page: page.last_id,
) -> Iterator[F]:
    """All objects of a list, page by page as they are consumed. `cursor`: what comes as `after`."""
    after: Any = None
    while True:
        answer = transport.send(Request("GET", path, {**(params or {}), "after": after}))
        page: Page[F] = Page[of].model_validate_json(answer.content)  # type: ignore[valid-type]  # at run time
        yield from page.data
        if not page.has_more:
            return
        after = cursor(page)


class Datasets:
    """Uploaded questions with answers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def upload(
        self,
        source: str | Path | Iterable[Mapping[str, Any]] | DataFrame,
        *,
        kind: str | None = None,
        name: str | None = None,
        validation: int = 0,
        seed: int = 0,
        format: str | None = None,  # noqa: A002 - its name over HTTP
        map: Mapping[str, str | Sequence[str]] | None = None,  # noqa: A002 - its name over HTTP
        allow_overlap: bool = False,
        skip_bad_rows: bool = False,
        corrections: Mapping[int, Mapping[str, Any] | None] | None = None,
    ) -> Dataset:
        """Upload JSONL, a JSON array, CSV, Parquet or an Excel workbook (.xlsx), also as .gz or .zst; or rows
        (dicts) or a DataFrame of pandas or polars, which need a `name`; or what lies at s3://BUCKET/KEY,
        which the server fetches where its operator allows that bucket; or a public dataset of the hub that
        its operator names: hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT], as in
        hf:openai/gsm8k/main/train+test=validation.

        kind: scratchpad, numeric, choice, exact, math, pattern, date, code, program or remote; or documents,
        ordinary text without questions, whose rows have `text`, or which is a plain text file (.txt). Only
        documents are known without it. A row has question, answer (of kind code: tests) and, where wanted,
        choices, solution, id, group and split; `map` names columns that are called otherwise, as in
        `{"question": "prompt", "choices": ["A", "B"]}`. format: jsonl, json, csv, parquet, xlsx or text; left
        out, the server looks. allow_overlap: take held-out rows whose question is trained on. validation:
        how many rows to hold out, where no row has a split. The same file read in the same way is the same
        dataset: it is not stored twice. Raises Refused, whose `errors` name each bad line; then nothing is
        stored. skip_bad_rows: leave those out instead. corrections: by line what to change, as in
        `{15: {"answer": "4"}}`; None leaves the row out.
        """
        fetched, file = _fetched_or_file(source)
        if fetched is None and file is None and name is None:
            raise ValueError("Rows have no file whose name could be theirs: give `name`.")
        params = {
            "name": name or (_name_of(str(source)) if file or fetched else None),
            "source": fetched,
            **_reading(kind, validation, seed, format, map, allow_overlap, skip_bad_rows, corrections),
        }
        upload = _sent("/v1/datasets", params, file, b"" if fetched else source)
        return Dataset.model_validate_json(self._transport.send(upload).content)

    def preview(
        self,
        source: str | Path | Iterable[Mapping[str, Any]] | DataFrame,
        *,
        kind: str | None = None,
        validation: int = 0,
        seed: int = 0,
        format: str | None = None,  # noqa: A002 - its name over HTTP
        map: Mapping[str, str | Sequence[str]] | None = None,  # noqa: A002 - its name over HTTP
        allow_overlap: bool = False,
        skip_bad_rows: bool = False,
        corrections: Mapping[int, Mapping[str, Any] | None] | None = None,
    ) -> DatasetPreview:
        """Look at a file, rows, or what the server fetches, as `upload` would read them; nothing is stored.
        The kind, and which column is which, are guessed where they are left out. `bad` shows the first bad
        rows with what they hold. `source` of what comes back, uploaded, is the commit of a hub that was
        looked at.
        """
        fetched, file = _fetched_or_file(source)
        params = {
            "source": fetched,
            **_reading(kind, validation, seed, format, map, allow_overlap, skip_bad_rows, corrections),
        }
        body = _sent("/v1/dataset-previews", params, file, b"" if fetched else source)
        answer = self._transport.send(body)
        return DatasetPreview.model_validate_json(answer.content)

    def list(
        self,
        *,
        name: str | None = None,
        archived: bool = False,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[Dataset]:
        """Newest first. name: only the versions of this name. archived: those that are, and no others."""
        params = {"name": name, "archived": "true" if archived else None, "limit": limit, "after": after}
        request = Request("GET", "/v1/datasets", params)
        return Page[Dataset].model_validate_json(self._transport.send(request).content)

    def get(self, dataset_id: str) -> Dataset:
        return Dataset.model_validate_json(
            self._transport.send(Request("GET", f"/v1/datasets/{dataset_id}")).content
        )

    def delete(self, dataset_id: str) -> None:
        """Delete it for good. Raises Refused (409) while something needs it: `dependents` names what."""
        self._transport.send(Request("DELETE", f"/v1/datasets/{dataset_id}"))

    def archive(self, dataset_id: str, *, archived: bool = True) -> Dataset:
        """Leave it out of lists, or list it again. It can be read and used as before."""
        verb = "archive" if archived else "unarchive"
        request = Request("POST", f"/v1/datasets/{dataset_id}/{verb}", again=True)
        return Dataset.model_validate_json(self._transport.send(request).content)

    def examples(self, dataset_id: str, *, split: str | None = None) -> Iterator[Example]:
        """All examples, in file order."""
        path = f"/v1/datasets/{dataset_id}/examples"
        return every(self._transport, path, Example, {"split": split, "limit": LARGEST_PAGE})

    def statistics(
        self, dataset_id: str, *, model: str | None = None, prompt_set: str | None = None
    ) -> DatasetStatistics:
        """Return the counts made at upload. model: also lengths in its tokens. prompt_set: also which
        examples its few-shot examples show.
        """
        params = {"model": model, "prompt_set": prompt_set}
        answer = self._transport.send(Request("GET", f"/v1/datasets/{dataset_id}/statistics", params))
        return DatasetStatistics.model_validate_json(answer.content)


def _fetched_or_file(source: Any) -> tuple[str | None, Path | None]:
    """What the server fetches, or the file to send; neither of rows."""
    if isinstance(source, str) and source.startswith(FETCHED):
        return source, None
    return None, Path(source) if isinstance(source, str | Path) else None


def _sent(path: str, params: Mapping[str, Any], file: Path | None, source: Any) -> Request:
    """A file as a body, or rows as JSONL; bytes as they are."""
    suffix = _plain(file).suffix if file else ""
    headers = {"Content-Type": CONTENT_TYPES.get(suffix, "application/x-ndjson")}
    rows = None if file else source if isinstance(source, bytes) else as_json_lines(source)
    return Request("POST", path, params, headers, file=file, content=rows, again=True)


class PromptSets:
    """The handful of hand-written few-shot examples."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        source: str | Path | None = None,
        *,
        kind: str,
        name: str | None = None,
        examples: Sequence[Mapping[str, Any]] | None = None,
        text: str | None = None,
    ) -> PromptSet:
        """Give a file (.json, .yaml or a text), `examples` (question, rationale, answer, choices?, group?;
        or messages), or the published text format ("Q: ...\\nA: ..."). The name is the file's unless one is
        given. Raises Refused for an example whose own answer does not verify, BadFile for an unreadable file.
        """
        if [source, examples, text].count(None) != 2:
            raise ValueError("Give one of a file, `examples` and `text`.")
        if source is not None:
            content = read_prompt_set(Path(source))
        else:
            content = {"text": text} if examples is None else {"examples": list(examples)}
        if (name := name or (None if source is None else Path(source).stem)) is None:
            raise ValueError("Examples and texts have no name of their own: give `name`.")
        body = {"name": name, "kind": kind} | content
        request = Request(
            "POST", "/v1/prompt-sets", json=body, again=True
        )  # the same content is one prompt set
        return PromptSet.model_validate_json(self._transport.send(request).content)

    def list(self, *, name: str | None = None, limit: int = 20, after: str | None = None) -> Page[PromptSet]:
        """Newest first. name: only the versions of this name."""
        request = Request("GET", "/v1/prompt-sets", {"name": name, "limit": limit, "after": after})
        return Page[PromptSet].model_validate_json(self._transport.send(request).content)

    def get(self, prompt_set_id: str) -> PromptSet:
        request = Request("GET", f"/v1/prompt-sets/{prompt_set_id}")
        return PromptSet.model_validate_json(self._transport.send(request).content)

    def delete(self, prompt_set_id: str) -> None:
        """Delete it for good. Raises Refused (409) while a job uses it: `dependents` names them."""
        self._transport.send(Request("DELETE", f"/v1/prompt-sets/{prompt_set_id}"))

    def preview(
        self,
        prompt_set_id: str,
        *,
        example: Mapping[str, Any] | None = None,
        dataset: str | None = None,
        example_id: str | None = None,
        model: str | None = None,
        preset: str | None = None,
        config: Mapping[str, Any] | None = None,
        rationale: str | None = None,
    ) -> PromptPreview:
        """What a job would show for one example, given here or by its id in a dataset, and train on.

        model: count its tokens. rationale: what the model might write; else one of the set's stands in.
        """
        given = {
            "example": example,
            "dataset": dataset,
            "example_id": example_id,
            "model": model,
            "preset": preset,
            "config": config,
            "rationale": rationale,
        }
        body = {name: value for name, value in given.items() if value is not None}
        request = Request("POST", f"/v1/prompt-sets/{prompt_set_id}/preview", json=body, again=True)
        return PromptPreview.model_validate_json(self._transport.send(request).content)


class Models:
    """Base models, from which jobs start, and adapters that can be asked by the same names."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, kind: Literal["base", "adapter"] | None = "base", limit: int = 20, after: str | None = None
    ) -> Page[BaseModelInfo]:
        """kind: None for both, base models first."""
        request = Request("GET", "/v1/models", {"kind": kind, "limit": limit, "after": after})
        return Page[BaseModelInfo].model_validate_json(self._transport.send(request).content)

    def get(self, model_id: str) -> BaseModelInfo:
        return BaseModelInfo.model_validate_json(
            self._transport.send(Request("GET", f"/v1/models/{model_id}")).content
        )


class Presets:
    """Named settings to start from."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, kind: str) -> Page[Preset]:
        """All presets, with their settings for this kind of question."""
        request = Request("GET", "/v1/presets", {"kind": kind})
        return Page[Preset].model_validate_json(self._transport.send(request).content)


class Rationales:
    """Every try that a job ever made, and why it was kept or dropped."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, job_id: str, *, limit: int = 20, after: str | None = None, **filters: str | int | None
    ) -> Page[Rationale]:
        """Oldest first. Filters: iteration, route, verdict, decision, reason, example, text (in it)."""
        params = {"limit": limit, "after": after, **filters}
        request = Request("GET", f"/v1/jobs/{job_id}/rationales", params)
        return Page[Rationale].model_validate_json(self._transport.send(request).content)

    def every(self, job_id: str, **filters: str | int | None) -> Iterator[Rationale]:
        """As `list`, over all pages."""
        path = f"/v1/jobs/{job_id}/rationales"
        return every(self._transport, path, Rationale, {"limit": LARGEST_PAGE, **filters})

    def get(self, job_id: str, rationale_id: str) -> Rationale:
        """With its prompt, its hint and the training row that was made of it, if any."""
        request = Request("GET", f"/v1/jobs/{job_id}/rationales/{rationale_id}")
        return Rationale.model_validate_json(self._transport.send(request).content)

    def override(
        self,
        job_id: str,
        rationale_id: str,
        *,
        verdict: str,
        reason: str,
        idempotency_key: str | None = None,
    ) -> Override:
        """Judge this text of this example yourself: correct or wrong, from the next iteration or fork on.

        Each is kept, the newest counts. Sent with an Idempotency-Key, so that a retry records it once.
        """
        path = f"/v1/jobs/{job_id}/rationales/{rationale_id}/override"
        answer = self._transport.send(once(path, {"verdict": verdict, "reason": reason}, idempotency_key))
        return Override.model_validate_json(answer.content)

    def overrides(self, job_id: str, rationale_id: str) -> tuple[Override, ...]:
        """What reviewers have said of this text."""
        path = f"/v1/jobs/{job_id}/rationales/{rationale_id}/override"
        return tuple(every(self._transport, path, Override))


class Answers:
    """What a job's models answered to held-out examples."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, job_id: str, *, limit: int = 20, after: str | None = None, **filters: str | int | None
    ) -> Page[HeldOutAnswer]:
        """By iteration, mode and example. Filters: iteration, mode, verdict, example, dataset, changed
        (gained or lost), against (few_shot_cot, few_shot_direct or the number of an iteration)."""
        params = {"limit": limit, "after": after, **filters}
        request = Request("GET", f"/v1/jobs/{job_id}/answers", params)
        return Page[HeldOutAnswer].model_validate_json(self._transport.send(request).content)

    def every(self, job_id: str, **filters: str | int | None) -> Iterator[HeldOutAnswer]:
        """As `list`, over all pages."""
        path = f"/v1/jobs/{job_id}/answers"
        return every(self._transport, path, HeldOutAnswer, {"limit": LARGEST_PAGE, **filters})


def _name_of(source: str) -> str:
    """rows of a/rows.jsonl.gz; of a hub's dataset what it is called there."""
    if source.startswith("hf:"):
        return source.removeprefix("hf:")[:200]
    return _plain(Path(source)).stem


def _reading(
    kind: str | None,
    validation: int,
    seed: int,
    form: str | None,
    columns: Mapping[str, str | Sequence[str]] | None,
    allow_overlap: bool,
    skip_bad_rows: bool,
    corrections: Mapping[int, Mapping[str, Any] | None] | None,
) -> dict[str, Any]:
    """How a file is to be read, as the query says it."""
    return {
        "kind": kind,
        "validation": validation,
        "seed": seed,
        "format": form,
        "map": None if columns is None else json.dumps(columns),
        "allow_overlap": "true" if allow_overlap else None,
        "skip_bad_rows": "true" if skip_bad_rows else None,
        "corrections": None if corrections is None else json.dumps(corrections),
    }


def _plain(file: Path) -> Path:
    """Return the name without its compression suffix, which the server detects by itself."""
    return file.with_suffix("") if file.suffix in (".gz", ".zst") else file
