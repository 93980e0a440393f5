"""A small OpenID Connect provider over HTTP: discovery, keys, code with PKCE, device flow, id tokens."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID, CLIENT_SECRET = "star", "of the client"


@dataclass
class OidcProvider:
    issuer: str = ""
    redirect_uri: str = ""  # the one that is registered
    person: dict[str, Any] = field(default_factory=dict)  # claims of who is signed in at the provider
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    forged: dict[str, Any] = field(default_factory=dict)  # laid over the claims of the next tokens
    codes: dict[str, dict[str, str]] = field(default_factory=dict)  # what each was asked for with
    devices: dict[str, bool] = field(default_factory=dict)  # whether the person has agreed

    def id_token(self, nonce: str | None = None) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, **self.person}
        claims |= {} if nonce is None else {"nonce": nonce}
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, {**claims, **self.forged}, self.key)

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser of somebody who is signed in is sent back to."""
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == self.redirect_uri
        assert asked["response_type"] == "code"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{self.redirect_uri}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        known = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {known}":
            return 401, {"error": "invalid_client"}
        nonce = None
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)  # once
            digest = sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if asked is None or asked["code_challenge"] != challenge:
                return 400, {"error": "invalid_grant"}
            nonce = asked["nonce"]
        elif form["device_code"] not in self.devices:
            return 400, {"error": "expired_token"}
        elif not self.devices[form["device_code"]]:
            return 400, {"error": "authorization_pending"}
        else:
            del self.devices[form["device_code"]]
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token(nonce)}

    def device(self) -> dict[str, Any]:
        code = secrets.token_urlsafe(16)
        self.devices[code] = False
        where = f"{self.issuer}/activate"
        return {
            "device_code": code,
            "user_code": "WDJB-MJHT",
            "verification_uri": where,
            "verification_uri_complete": f"{where}?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": 1,
        }

    def agree(self) -> None:
        """What the person does in a browser elsewhere."""
        self.devices = dict.fromkeys(self.devices, True)


@contextmanager
def oidc_provider(redirect_uri: str = "http://testserver/dashboard/oidc/callback") -> Iterator[OidcProvider]:
    running = OidcProvider(redirect_uri=redirect_uri)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", running.authorize(dict(parse_qsl(asked.query))))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif asked.path == "/keys":
                self.answer(200, {"keys": [running.key.as_dict(private=False)]})
            else:
                self.answer(200, running.metadata())

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            if self.path == "/token":
                self.answer(*running.token(form, self.headers.get("Authorization", "")))
            else:
                self.answer(200, running.device())

        def answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
