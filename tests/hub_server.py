"""A small hub: speaks to the unmodified `huggingface_hub` client what the real one would, from folders."""

from __future__ import annotations

import json
import re
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet")  # kept by their SHA-256, as git-lfs does


@dataclass(slots=True)
class Repository:
    """One repository with one commit."""

    files: dict[str, bytes]
    license: str | None = None
    gated: bool = False
    private: bool = False
    announced: dict[str, bytes] = field(default_factory=dict)  # what the listing speaks of, where it lies
    moved: dict[str, str] = field(default_factory=dict)  # where else a file is, as hubs keep large ones

    @property
    def commit(self) -> str:
        digest = sha1(usedforsecurity=False)
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + sha256(content).digest())
        return digest.hexdigest()

    def listing(self, name: str) -> dict[str, object]:
        siblings = [_sibling(file, self.announced.get(file, self.files[file])) for file in sorted(self.files)]
        card = {"license": self.license} if self.license else {}
        return {"id": name, "modelId": name, "sha": self.commit, "siblings": siblings, "cardData": card}

    def tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": blob_id(content)}
            for name, content in sorted(self.files.items())
        ]


@dataclass(slots=True)
class Hub:
    """`repositories` by ORG/NAME, those of datasets by datasets/ORG/NAME. `asked`: the requests that came."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)  # headers that name who asks
    url: str = ""
    token: str = "hf_of_the_tests"  # who shows it may write
    uploaded: dict[str, bytes] = field(default_factory=dict)  # large files by their SHA-256, before a commit


def _sibling(name: str, content: bytes) -> dict[str, object]:
    known: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob_id(content)}
    if name.endswith(LARGE):
        known["lfs"] = {"sha256": sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return known


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "lfs" if file["path"].endswith(LARGE) else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}


def blob_id(content: bytes) -> str:
    """Git's name of a file's content."""
    return sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


@contextmanager
def running_hub(certificate: Path | None = None) -> Iterator[Hub]:
    """A hub on a port of its own, without repositories at first; by https where it has a certificate."""
    hub = Hub()

    class Answers(_Answers):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        hub.url = f"https://{certificate.stem}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def log_message(self, *_: object) -> None:
        """Nothing: stderr is the test's."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append(f"{self.command} {path}")
        self.served.credentials += [
            self.headers[name] for name in ("Authorization", "Cookie") if name in self.headers
        ]
        if found := re.fullmatch(r"/api/(?:models/|(?=datasets/))(.+?)/tree/([^/]+)", path):
            self._tell(found[1], found[2], tree=True)
        elif found := re.fullmatch(r"/api/(?:models/|(?=datasets/))(.+?)(?:/revision/([^/]+))?", path):
            self._tell(found[1], found[2])
        elif found := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self._send_file(found[1], found[2], found[3])
        else:
            self._refuse(404, None)

    def do_POST(self) -> None:
        """What `upload_folder` asks: a repository, how each file is sent, and one commit."""
        path, body = unquote(urlsplit(self.path).path), self._body()
        self.served.asked.append(f"{self.command} {path}")
        if self.headers.get("Authorization") != f"Bearer {self.served.token}":
            self._refuse(401, None)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/(?:models/|(?=datasets/))(.+?)/preupload/[^/]+", path):
            self._json({"files": [_mode(file) for file in json.loads(body)["files"]]})
        elif re.fullmatch(r"/(.+?)\.git/info/lfs/objects/batch", path):
            self._json(
                {"transfer": "basic", "objects": list(map(self._upload_to, json.loads(body)["objects"]))}
            )
        elif found := re.fullmatch(r"/api/(?:models/|(?=datasets/))(.+?)/commit/[^/]+", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._refuse(404, None)

    def do_PUT(self) -> None:
        content = self._body()
        self.served.uploaded[sha256(content).hexdigest()] = content
        self._send(200, {"Content-Length": "0"}, b"")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        name = name if wanted.get("type", "model") == "model" else f"{wanted['type']}s/{name}"
        if name in self.served.repositories:
            self._refuse(409, None)
            return
        self.served.repositories[name] = Repository(
            {}, private=wanted.get("visibility") == "private" or bool(wanted.get("private"))
        )
        self._json({"url": f"{self.served.url}/{name}", "name": name, "id": name})

    def _upload_to(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.served.url}/upload/{wanted['oid']}"}
        return {**wanted, "authenticated": True, "actions": {"upload": upload}}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        known = self.served.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                known.files[value["path"]] = b64decode(value["content"])
            elif line["key"] == "lfsFile":
                known.files[value["path"]] = self.served.uploaded[value["oid"]]
        url = f"{self.served.url}/{name}/commit/{known.commit}"
        self._json({"success": True, "commitOid": known.commit, "commitUrl": url, "hookOutput": ""})

    def _json(self, body: object) -> None:
        content = json.dumps(body).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(content))}, content)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _repository(self, name: str, revision: str | None) -> Repository | None:
        known = self.served.repositories.get(name)
        if known is None:
            self._refuse(404, "RepoNotFound")
        elif known.gated:
            self._refuse(403, "GatedRepo")
        elif revision not in (None, "main", known.commit):
            self._refuse(404, "RevisionNotFound")
        else:
            return known
        return None

    def _tell(self, name: str, revision: str | None, tree: bool = False) -> None:
        if known := self._repository(name, revision):
            body = json.dumps(known.tree() if tree else known.listing(name)).encode()
            self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _send_file(self, name: str, revision: str, file: str) -> None:
        if not (known := self._repository(name, revision)):
            return
        if (elsewhere := known.moved.get(file)) is not None:
            self._send(302, {"Location": elsewhere, "Content-Length": "0"}, b"")
            return
        if (content := known.files.get(file)) is None:
            self._refuse(404, "EntryNotFound")
            return
        large = file.endswith(LARGE)
        etag = sha256(content).hexdigest() if large else blob_id(content)
        linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))} if large else {}
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": known.commit, "Content-Length": str(len(content))}
        self._send(200, headers | linked, content)

    def _refuse(self, status: int, code: str | None) -> None:
        self._send(status, {"Content-Length": "0"} | ({"X-Error-Code": code} if code else {}), b"")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
